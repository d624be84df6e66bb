"""Models of messages: batches, messages, parts, unmatched receipts, unsuccessful submits."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import ApiKey, Organization
from imissive.core import ids
from messaging.models.carriers import Carrier
from messaging.states import Status

UNFINISHED = [Status.SCHEDULED, Status.QUEUED, Status.SENDING, Status.SENT]

# With the labels that people read.
STATUSES = [
    (str(Status.SCHEDULED), _("Scheduled")),
    (str(Status.QUEUED), _("Queued")),
    (str(Status.SENDING), _("Sending")),
    (str(Status.SENT), _("Sent")),
    (str(Status.DELIVERED), _("Delivered")),
    (str(Status.FAILED), _("Failed")),
    (str(Status.EXPIRED), _("Expired")),
    (str(Status.CANCELED), _("Canceled")),
]

OUTCOMES = [
    ("throttled", _("Throttled")),
    ("refused for now", _("Refused for now")),
    ("refused", _("Refused")),
    ("unanswered", _("Unanswered")),
    ("held", _("Held back")),
]


class Batch(models.Model):
    """The messages that one bulk call or one campaign sent together."""

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    organization = models.ForeignKey(
        Organization, models.PROTECT, related_name="batches", verbose_name=_("organization")
    )
    # The mode of all its messages.
    test = models.BooleanField(_("test"), default=False, db_default=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("batch")
        verbose_name_plural = _("batches")

    def __str__(self) -> str:
        return ids.public_id(ids.BATCH, self.id)


class Message(models.Model):
    """One text to one number.

    `due_at` is the row's only timer. Its meaning depends on the status: scheduled, release it then;
    queued, do not submit it before then; sending, its worker counts as dead then; sent, it expires
    then. One index therefore serves every sweep.
    """

    STATUSES = STATUSES

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    organization = models.ForeignKey(
        Organization,
        models.PROTECT,
        related_name="messages",
        db_index=False,
        verbose_name=_("organization"),
    )
    batch = models.ForeignKey(
        Batch,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="messages",
        db_index=False,
        verbose_name=_("batch"),
    )
    # No constraint: a key may be deleted long before its messages.
    api_key = models.ForeignKey(
        ApiKey,
        models.DO_NOTHING,
        null=True,
        blank=True,
        db_index=False,
        db_constraint=False,
        verbose_name=_("API key"),
    )
    source = models.CharField(_("source"), max_length=10)
    test = models.BooleanField(_("test"), default=False)
    to = models.CharField(_("to"), max_length=16)
    country = models.CharField(_("country"), max_length=2)
    sender = models.CharField(_("sender ID"), max_length=16)
    text = models.TextField(_("text"))
    # Shown to people instead of a `text` with a one-time password. A trigger replaces `text` by it
    # as soon as the text is no longer needed to submit the message.
    masked_text = models.TextField(blank=True, default="")
    encoding = models.CharField(_("encoding"), max_length=4)
    parts = models.PositiveSmallIntegerField(_("parts"))
    price = models.BigIntegerField(_("price"), help_text=_("Micro-credits, all parts."))
    reference = models.CharField(_("reference"), max_length=100, blank=True, default="")
    urgent = models.BooleanField(_("urgent"), default=False)

    status = models.CharField(_("status"), max_length=10, choices=STATUSES)
    due_at = models.DateTimeField(_("due"), null=True, blank=True)
    carrier = models.ForeignKey(Carrier, models.PROTECT, db_index=False, verbose_name=_("carrier"))
    # The carriers that were tried since the route was last started from its first carrier.
    tried = models.JSONField(null=True, blank=True)
    lease = models.UUIDField(null=True, blank=True)
    submits = models.PositiveSmallIntegerField(_("submits"), default=0)
    unanswered = models.PositiveSmallIntegerField(_("unanswered"), default=0)

    created_at = models.DateTimeField(_("created"))
    scheduled_at = models.DateTimeField(_("scheduled"), null=True, blank=True)
    expires_at = models.DateTimeField(_("expires"))
    # The end of the sending hours of the country's rules. After it, the message is held until they
    # start again.
    window_closes_at = models.DateTimeField(null=True, blank=True)
    queued_at = models.DateTimeField(_("queued"), null=True, blank=True)
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)
    final_at = models.DateTimeField(_("final"), null=True, blank=True)
    error_code = models.CharField(_("error code"), max_length=40, blank=True, default="")
    error_message = models.CharField(_("error"), max_length=200, blank=True, default="")

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = pgettext_lazy("model", "messages")
        indexes = [
            models.Index(F("organization"), F("id").desc(), name="message_of_organization"),
            # For the lists of test keys, which must not read through live messages. Live ones are
            # not in it, so they do not pay for it.
            models.Index(
                F("organization"),
                F("id").desc(),
                F("status"),
                F("sender"),
                name="message_in_test",
                condition=Q(test=True),
            ),
            # For the lists, which are read by descending id (messaging.log.query). Columns after
            # the id are compared in the index. Each of these indexes is written at each change of a
            # message.
            models.Index(
                F("batch"),
                F("id").desc(),
                name="message_of_batch",
                condition=Q(batch__isnull=False),
            ),
            models.Index(
                F("organization"),
                F("to"),
                F("id").desc(),
                F("status"),
                F("sender"),
                name="message_by_number",
            ),
            models.Index(
                F("organization"),
                F("sender"),
                F("status"),
                F("id").desc(),
                name="message_by_sender_status",
            ),
            models.Index(
                F("organization"),
                F("reference"),
                F("id").desc(),
                F("status"),
                F("sender"),
                F("to"),
                name="message_by_reference",
                condition=~Q(reference=""),
            ),
            # A carrier worker claims messages in this order.
            models.Index(
                "carrier", "urgent", "due_at", name="message_due", condition=Q(status="queued")
            ),
            # For the sweep of queued messages whose validity is over.
            models.Index("expires_at", name="message_expiry", condition=Q(status="queued")),
            models.Index(
                "status",
                "due_at",
                name="message_sweep",
                condition=Q(status__in=["scheduled", "sending", "sent"]),
            ),
            models.Index(
                "window_closes_at",
                name="message_window",
                condition=Q(status__in=["scheduled", "queued"], window_closes_at__isnull=False),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=[str(status) for status in Status]), name="message_status"
            ),
            models.CheckConstraint(condition=Q(price__gte=0), name="message_price"),
            models.CheckConstraint(condition=Q(parts__gte=1, parts__lte=10), name="message_parts"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return ids.public_id(ids.MESSAGE, self.id)

    @property
    def shown_text(self) -> str:
        """The text as people may see it, without a one-time password."""
        return self.masked_text or self.text


class MessagePart(models.Model):
    """One part that a carrier accepted, with the carrier's id for it."""

    id = models.BigAutoField(primary_key=True)
    message = models.ForeignKey(
        Message, models.CASCADE, related_name="submitted_parts", db_index=False
    )
    number = models.PositiveSmallIntegerField(_("part"))
    carrier = models.ForeignKey(Carrier, models.PROTECT, db_index=False, verbose_name=_("carrier"))
    carrier_message_id = models.CharField(_("carrier's id"), max_length=255)
    status = models.CharField(_("status"), max_length=10, choices=STATUSES, default=Status.SENT)
    # The carrier's status word and code, such as `UNDELIV 027`, each of at most 20 characters.
    error_code = models.CharField(_("error code"), max_length=41, blank=True, default="")
    submitted_at = models.DateTimeField(_("submitted"))
    final_at = models.DateTimeField(_("final"), null=True, blank=True)

    class Meta:
        verbose_name = _("part")
        verbose_name_plural = _("parts")
        constraints = [models.UniqueConstraint("message", "number", name="part_once")]
        indexes = [models.Index("carrier", "carrier_message_id", name="part_by_carrier_id")]

    def __str__(self) -> str:
        return f"{self.message_id}/{self.number}"


class EarlyReceipt(models.Model):
    """A delivery receipt that completed no part: it arrived before its submit response was
    committed, matches no part, or is not accepted by its carrier's settings."""

    class Reason(models.TextChoices):
        UNMATCHED = "unmatched", _("No message has its id")
        UNKNOWN_WORD = "unknown_word", _("Its status word is not in the table")
        UNMARKED = "unmarked", _("Nothing marks it as a receipt (esm_class 0)")
        DATA_SM = "data_sm", _("It came as data_sm")
        CONTRADICTION = "contradiction", _("Its text is final, its message_state is not")
        UNREADABLE = "unreadable", _("Its id or its status cannot be read")
        UNWRITABLE = "unwritable", _("Its effect could not be stored")

    id = models.BigAutoField(primary_key=True)
    carrier = models.ForeignKey(Carrier, models.CASCADE, verbose_name=_("carrier"))
    reason = models.CharField(
        _("reason"),
        max_length=13,
        choices=Reason.choices,
        default=Reason.UNMATCHED,
        db_default=Reason.UNMATCHED,
    )
    carrier_message_id = models.CharField(_("carrier's id"), max_length=255, blank=True)
    status = models.CharField(
        _("status"), choices=STATUSES, max_length=10, blank=True, help_text=_("As it would end.")
    )
    error_code = models.CharField(_("error code"), max_length=41, blank=True, default="")
    word = models.CharField(_("status word"), max_length=20, blank=True, default="", db_default="")
    raw = models.CharField(
        _("as it came"),
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text=_("Its fields, without the message's text."),
    )
    received_at = models.DateTimeField(_("received"), db_default=models.functions.Now())

    class Meta:
        verbose_name = _("receipt not used")
        verbose_name_plural = _("receipts not used")
        indexes = [
            models.Index("carrier", "carrier_message_id", name="early_receipt_by_id"),
            # Counted by carrier and reason: on the carrier's page and for /metrics.
            models.Index("received_at", "carrier", "reason", name="early_receipt_by_time"),
            # Receipts that other settings of the carrier would accept, and unknown status words.
            models.Index(
                "carrier",
                "reason",
                "word",
                name="early_receipt_by_word",
                condition=~Q(reason="unmatched"),
            ),
        ]

    def __str__(self) -> str:
        return self.carrier_message_id or self.raw


class Attempt(models.Model):
    """An unsuccessful submit: throttled, refused, without a response, or held back.

    A successful submit leaves a MessagePart instead, so the ordinary path writes nothing here.
    """

    id = models.BigAutoField(primary_key=True)
    message = models.ForeignKey(Message, models.CASCADE, related_name="attempts")
    carrier = models.ForeignKey(Carrier, models.PROTECT, db_index=False, verbose_name=_("carrier"))
    outcome = models.CharField(_("outcome"), choices=OUTCOMES, max_length=20)
    command_status = models.PositiveIntegerField(_("command status"), null=True, blank=True)
    detail = models.CharField(_("detail"), max_length=200, blank=True, default="")
    at = models.DateTimeField(_("time"), db_default=models.functions.Now())

    class Meta:
        verbose_name = _("unsuccessful submit")
        verbose_name_plural = _("unsuccessful submits")

    def __str__(self) -> str:
        return f"{self.message_id} {self.outcome}"
