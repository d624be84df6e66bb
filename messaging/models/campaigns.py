"""Models of campaigns, and of their rows as evaluated before sending."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, StoredFile
from imissive.core import ids
from messaging.models.audience import ContactList
from messaging.models.campaign_states import State
from messaging.models.messages import Batch


class Campaign(models.Model):
    """One text for many recipients.

    `due_at` is the row's only timer: a worker handles the campaign then, whatever its state. The
    evaluated rows are in CampaignChunk; `position` is how many of the valid ones were accepted, and
    moves in the transaction that accepts them.
    """

    class Pause(models.TextChoices):
        MEMBER = "member", _("Somebody paused it.")
        CREDITS = "credits", _("The credits did not suffice.")
        SUSPENDED = "suspended", _("The organization is suspended.")
        SENDER = "sender", _("The sender ID is not approved any more.")

    STATES = [(str(state), str(state).capitalize()) for state in State]

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    organization = models.ForeignKey(
        Organization, models.PROTECT, related_name="campaigns", db_index=False
    )
    name = models.CharField(_("name"), max_length=80)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(_("created"), db_default=models.functions.Now())
    state = models.CharField(_("state"), max_length=10, choices=STATES, default=State.DRAFT)
    pause = models.CharField(max_length=10, choices=Pause.choices, blank=True, default="")
    due_at = models.DateTimeField(null=True, blank=True)

    # The recipients: the rows of a file, or the contacts of lists.
    file = models.ForeignKey(StoredFile, models.SET_NULL, null=True, blank=True, related_name="+")
    lists = models.ManyToManyField(ContactList, blank=True, related_name="+")
    encoding = models.CharField(max_length=16, blank=True, default="")
    delimiter = models.CharField(max_length=1, blank=True, default="")
    has_header = models.BooleanField(default=True)
    columns = models.JSONField(default=list, blank=True)
    number_column = models.PositiveSmallIntegerField(null=True, blank=True)
    reference_column = models.PositiveSmallIntegerField(null=True, blank=True)
    # Of numbers without a country code; empty: each has its own.
    country = models.CharField(max_length=2, blank=True, default="", db_default="")

    sender = models.CharField(_("sender ID"), max_length=16, blank=True, default="")
    text = models.TextField(_("text"), blank=True, default="")
    scheduled_at = models.DateTimeField(_("scheduled"), null=True, blank=True)
    validity = models.PositiveIntegerField(
        _("validity"), null=True, blank=True, help_text=_("In seconds.")
    )
    per_minute = models.PositiveIntegerField(_("messages a minute"), null=True, blank=True)

    # The results of the check. `check_id` identifies the check that may write them.
    check_id = models.UUIDField(null=True, blank=True, editable=False)
    rows = models.PositiveIntegerField(_("rows"), default=0)
    good = models.PositiveIntegerField(_("messages"), default=0)
    parts = models.PositiveIntegerField(_("parts"), default=0)
    price = models.BigIntegerField(_("price"), default=0, help_text=_("Micro-credits."))
    findings = models.JSONField(default=dict, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)

    # Progress.
    batch = models.OneToOneField(
        Batch, models.PROTECT, null=True, blank=True, related_name="campaign"
    )
    position = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    charged = models.BigIntegerField(_("charged"), default=0, help_text=_("Micro-credits."))
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    # Its messages counted by result, from time to time, until all are completed.
    results = models.JSONField(default=dict, blank=True)
    counted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("campaign")
        indexes = [
            models.Index(F("organization"), F("id").desc(), name="campaign_of_organization"),
            models.Index("due_at", name="campaign_due", condition=Q(due_at__isnull=False)),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=[str(state) for state in State]), name="campaign_state"
            ),
            models.CheckConstraint(
                condition=Q(position__lte=F("good"), refused__lte=F("position")),
                name="campaign_position",
            ),
            models.CheckConstraint(
                condition=~Q(state="paused") | ~Q(pause=""), name="campaign_paused_for_a_reason"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def public_id(self) -> str:
        return ids.public_id(ids.CAMPAIGN, self.id)

    @property
    def accepted(self) -> int:
        """The number of its messages that were accepted."""
        return self.position - self.refused


class CampaignChunk(models.Model):
    """A block of a campaign's evaluated rows, compressed; see campaigns.chunks."""

    id = models.BigAutoField(primary_key=True)
    campaign = models.ForeignKey(Campaign, models.CASCADE, related_name="chunks", db_index=False)
    number = models.PositiveIntegerField()
    rows = models.BinaryField()
    problems = models.BinaryField()
    # Rows that were refused when they were accepted, although the check had passed them.
    refused = models.JSONField(default=list, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint("campaign", "number", name="campaign_chunk_once")]

    def __str__(self) -> str:
        return f"{self.campaign_id}/{self.number}"
