"""Models of webhook endpoints, events, deliveries, and their failed attempts."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization
from imissive.core import ids
from imissive.core.crypto import EncryptedTextField


class EventType(models.TextChoices):
    """The type of an event, as subscribed to by endpoints and named in payloads."""

    MESSAGE_QUEUED = "message.queued"
    MESSAGE_SENT = "message.sent"
    MESSAGE_DELIVERED = "message.delivered"
    MESSAGE_FAILED = "message.failed"
    MESSAGE_EXPIRED = "message.expired"
    MESSAGE_CANCELED = "message.canceled"
    OTP_VERIFIED = "otp.verified"
    OTP_FAILED = "otp.failed"
    SENDER_APPROVED = "sender_id.approved"
    SENDER_REJECTED = "sender_id.rejected"
    BALANCE_LOW = "balance.low"
    WEBHOOK_TEST = "webhook.test"
    ENDPOINT_DISABLED = "endpoint.disabled"


class Endpoint(models.Model):
    """A customer's URL that events are posted to, with its signing secret and its health."""

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="endpoints", verbose_name=_("organization")
    )
    # Only events of its mode are posted to it. The mode never changes.
    test = models.BooleanField(_("test"), default=False, db_default=False)
    url = models.URLField(_("URL"), max_length=500)
    description = models.CharField(_("description"), max_length=200, blank=True)
    events = ArrayField(
        models.CharField(max_length=40, choices=EventType.choices),
        default=list,
        blank=True,
        verbose_name=_("events"),
        help_text=_("The events it wants; none listed means all."),
    )
    secret = EncryptedTextField(_("signing secret"))
    previous_secret = EncryptedTextField(blank=True, default="")
    previous_secret_until = models.DateTimeField(null=True, blank=True)
    enabled = models.BooleanField(_("enabled"), default=True)
    disabled_reason = models.CharField(_("why it is disabled"), max_length=200, blank=True)
    failing_since = models.DateTimeField(_("failing since"), null=True, blank=True)
    # The receiver asked for a pause (Retry-After): no delivery is claimed before then.
    paused_until = models.DateTimeField(_("paused until"), null=True, blank=True)
    # A mail about the disabling is due from then on; the worker that sends it first moves this
    # forward, as a lease.
    notice_due_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("time created"), auto_now_add=True)
    # A deleted endpoint is hidden everywhere; its row stays until its deliveries, possibly
    # millions, are purged.
    deleted_at = models.DateTimeField(_("deleted"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("webhook endpoint")
        verbose_name_plural = _("webhook endpoints")
        constraints = [
            models.CheckConstraint(
                condition=Q(deleted_at=None) | Q(enabled=False), name="endpoint_deleted_is_off"
            )
        ]

    def __str__(self) -> str:
        return self.url

    @property
    def public_id(self) -> str:
        return ids.public_id(ids.ENDPOINT, self.id)


class Event(models.Model):
    """An event that at least one endpoint is subscribed to.

    `body` is the JSON payload as signed and posted, the same bytes on every attempt.
    """

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, db_index=False)
    type = models.CharField(max_length=40, choices=EventType.choices)
    message_id = models.UUIDField(null=True, blank=True)
    body = models.TextField()
    created_at = models.DateTimeField(db_default=models.functions.Now())

    class Meta:
        indexes = [
            models.Index(
                "message_id", name="event_of_message", condition=Q(message_id__isnull=False)
            )
        ]

    def __str__(self) -> str:
        return f"{self.type} {ids.public_id(ids.EVENT, self.id)}"


class Delivery(models.Model):
    """The delivery of one event to one endpoint. The row holds the time of the next attempt."""

    class Status(models.TextChoices):
        PENDING = "pending", _("Pending")
        SENDING = "sending", _("Sending")
        DELIVERED = "delivered", _("Delivered")
        FAILED = "failed", _("Failed")

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    event = models.ForeignKey(Event, models.CASCADE, related_name="deliveries")
    endpoint = models.ForeignKey(
        Endpoint,
        models.CASCADE,
        related_name="deliveries",
        db_index=False,
        verbose_name=_("webhook endpoint"),
    )
    # A copy of the event's type, because the log is filtered by it.
    event_type = models.CharField(_("event"), max_length=40, choices=EventType.choices)
    status = models.CharField(
        _("status"), max_length=10, choices=Status.choices, default=Status.PENDING
    )
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    # While `sending`: the end of the lease, after which its worker counts as dead. While
    # `pending`: the time at which it is due.
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True, blank=True)
    # The worker that claimed it last, see webhooks/delivery/worker_liveness.py.
    holder = models.IntegerField(null=True, blank=True, editable=False)
    # The last attempt: its start, the signature header as sent, and the response.
    attempted_at = models.DateTimeField(null=True, blank=True)
    signature = models.CharField(max_length=100, blank=True, default="")
    response_status = models.PositiveSmallIntegerField(_("response status"), null=True, blank=True)
    response_body = models.TextField(blank=True, default="")
    error = models.CharField(_("error"), max_length=200, blank=True, default="")
    duration_ms = models.PositiveIntegerField(_("milliseconds"), null=True, blank=True)
    created_at = models.DateTimeField(_("time created"), db_default=models.functions.Now())
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)

    class Meta:
        verbose_name = _("webhook delivery")
        verbose_name_plural = _("webhook deliveries")
        indexes = [
            models.Index(
                "endpoint",
                "next_attempt_at",
                name="delivery_due",
                condition=Q(status__in=["pending", "sending"]),
            ),
            # The delivery log, newest first. Neither index has a column that changes while a
            # delivery is under way, so neither fills with dead entries as a queue's index does.
            models.Index("endpoint", "event_type", "id", name="delivery_log"),
            models.Index(
                "endpoint",
                "status",
                "event_type",
                "id",
                name="delivery_log_ended",
                condition=Q(status__in=["delivered", "failed"]),
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return ids.public_id(ids.DELIVERY, self.id)


class FailedAttempt(models.Model):
    """A failed attempt of a delivery. A delivery whose first attempt succeeds has none.

    The result of the last attempt, failed or not, is in the delivery's own row too.
    """

    pk = models.CompositePrimaryKey("delivery_id", "number")
    delivery = models.ForeignKey(
        Delivery, models.CASCADE, related_name="failed_attempts", db_index=False
    )
    number = models.PositiveSmallIntegerField()
    at = models.DateTimeField()
    response_status = models.PositiveSmallIntegerField(null=True)
    response_body = models.TextField()
    error = models.CharField(max_length=200)
    duration_ms = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.number} of {ids.public_id(ids.DELIVERY, self.delivery_id)}"
