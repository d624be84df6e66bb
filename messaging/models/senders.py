"""Models of sender IDs, with the history of their approval and their documents."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import Organization, StoredFile
from imissive.core import ids


class LiveSenders(models.Manager["SenderId"]):
    """The sender IDs of live mode, which pages, operators and live messages use.

    Those requested by test keys are not reviewed and reach no handset.
    """

    def get_queryset(self) -> models.QuerySet["SenderId"]:
        return super().get_queryset().filter(test=False)


class SenderId(models.Model):
    """A sender ID: the sender that a handset shows. It is usable once an operator approved it.

    One of `test` mode was requested with a test key. It was approved at once, and only test keys
    see it.
    """

    class Status(models.TextChoices):
        PENDING = "pending", _("Pending")
        APPROVED = "approved", _("Approved")
        REJECTED = "rejected", _("Rejected")
        REVOKED = "revoked", _("Revoked")
        WITHDRAWN = "withdrawn", _("Withdrawn")

    class Kind(models.TextChoices):
        ALPHANUMERIC = "alphanumeric", _("Alphanumeric")
        NUMERIC = "numeric", _("Numeric")

    class Use(models.TextChoices):
        TRANSACTIONAL = "transactional", _("Transactional")
        PROMOTIONAL = "promotional", _("Promotional")

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    organization = models.ForeignKey(
        Organization, models.PROTECT, related_name="sender_ids", verbose_name=_("organization")
    )
    test = models.BooleanField(_("test"), default=False, db_default=False, editable=False)
    name = models.CharField(_("sender ID"), max_length=16)
    kind = models.CharField(_("kind"), max_length=12, choices=Kind.choices)
    status = models.CharField(
        _("status"), max_length=10, choices=Status.choices, default=Status.PENDING
    )
    use = models.CharField(
        _("use"),
        max_length=13,
        choices=Use.choices,
        blank=True,
        default="",
        help_text=_("Empty: it was not said, as in requests by the API."),
    )
    purpose = models.CharField(_("purpose"), max_length=200, blank=True)
    sample = models.TextField(_("sample message"), blank=True)
    reason = models.CharField(
        _("reason"), max_length=300, blank=True, help_text=_("Why it was rejected or revoked.")
    )
    is_default = models.BooleanField(
        _("default"), default=False, help_text=_("Used when a request names no sender.")
    )
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        verbose_name=_("decided by"),
    )
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("requested"), auto_now_add=True)

    objects = LiveSenders()
    in_any_mode: models.Manager["SenderId"] = models.Manager()

    class Meta:
        verbose_name = pgettext_lazy("model", "sender ID")
        verbose_name_plural = _("sender IDs")
        constraints = [
            models.UniqueConstraint("organization", "name", "test", name="sender_once"),
            models.UniqueConstraint(
                "organization", name="sender_one_default", condition=Q(is_default=True)
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["rejected", "revoked"]) | ~Q(reason=""),
                name="sender_refused_with_reason",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def public_id(self) -> str:
        return ids.public_id(ids.SENDER, self.id)


class SenderStep(models.Model):
    """One step of a sender ID's history: its new status, when, by whom and why.

    The customer is notified of a decision by an email, which is due from `mail_due_at` on, and by a
    notice on the dashboard until somebody dismisses it.
    """

    id = models.BigAutoField(primary_key=True)
    sender = models.ForeignKey(SenderId, models.CASCADE, related_name="steps")
    status = models.CharField(_("status"), max_length=10, choices=SenderId.Status.choices)
    reason = models.CharField(_("reason"), max_length=300, blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, db_index=False
    )
    at = models.DateTimeField(_("time"))
    mail_due_at = models.DateTimeField(null=True, blank=True)
    dismissed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("step of a sender ID")
        verbose_name_plural = _("steps of a sender ID")
        indexes = [
            models.Index(
                "mail_due_at", name="sender_mail_owed", condition=Q(mail_due_at__isnull=False)
            )
        ]

    def __str__(self) -> str:
        return f"{self.sender_id} {self.status}"


class SenderDocument(models.Model):
    """A document that proves the right to a sender ID; its bytes are a StoredFile."""

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    sender = models.ForeignKey(SenderId, models.CASCADE, related_name="documents")
    file = models.OneToOneField(StoredFile, models.CASCADE, related_name="+")

    class Meta:
        verbose_name = _("document")
        verbose_name_plural = _("documents")

    def __str__(self) -> str:
        return str(self.file)
