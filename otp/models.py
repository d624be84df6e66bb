"""Models of verifications, sent codes, organizations' rules, and prefixes held for SMS pumping."""

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization
from imissive.core import ids
from otp.verification.codes import Secret

MAX_ATTEMPTS = 5
"""Maximum number of checks of one code; the verification fails with the last wrong one."""


class Verification(models.Model):
    """Verification of one phone number by one code, which may be sent several times.

    `status` is the public state; `reason` says why it is expired or failed. The secret that the
    code is derived from (`codes.Secret`) is deleted on completion.
    """

    class Status(models.TextChoices):
        PENDING = "pending", _("Pending")
        VERIFIED = "verified", _("Verified")
        EXPIRED = "expired", _("Expired")
        FAILED = "failed", _("Failed")

    class Reason(models.TextChoices):
        """Reason why a verification is expired or failed."""

        EXPIRED = "expired", _("Its time was over")
        SUPERSEDED = "superseded", _("A newer code took its place")
        TOO_MANY_ATTEMPTS = "too_many_attempts", _("Too many wrong codes")
        CANCELED = "canceled", _("Canceled")

    STATUS_OF: ClassVar[dict[str, str]] = {
        Reason.EXPIRED: Status.EXPIRED,
        Reason.SUPERSEDED: Status.EXPIRED,
        Reason.TOO_MANY_ATTEMPTS: Status.FAILED,
        Reason.CANCELED: Status.FAILED,
    }

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    organization = models.ForeignKey(
        Organization,
        models.PROTECT,
        related_name="verifications",
        db_index=False,
        verbose_name=_("organization"),
    )
    test = models.BooleanField(_("test"), default=False)
    phone = models.CharField(_("number"), max_length=16)
    country = models.CharField(_("country"), max_length=2)
    # SMS pumping is detected by this prefix, see otp/limits/sms_pumping.py.
    prefix = models.CharField(_("prefix"), max_length=16)
    # As requested; empty means the default sender ID.
    sender = models.CharField(_("sender ID"), max_length=50, blank=True, default="")
    length = models.PositiveSmallIntegerField(_("digits"))
    expiry = models.PositiveSmallIntegerField(_("expiry"), help_text=_("Seconds."))
    # Contains {code} as the placeholder of the code.
    text = models.TextField(_("text"))
    seed = models.BinaryField(max_length=16, editable=False)
    key_id = models.CharField(max_length=8, editable=False)
    digest = models.BinaryField(max_length=32, editable=False)
    status = models.CharField(
        _("status"), max_length=10, choices=Status.choices, default=Status.PENDING
    )
    reason = models.CharField(
        _("reason"), max_length=20, choices=Reason.choices, blank=True, default=""
    )
    attempts = models.PositiveSmallIntegerField(_("checks"), default=0)
    # The latest message with the code. No foreign key: messages may be deleted earlier.
    message_id = models.UUIDField()
    created_at = models.DateTimeField(_("created"))
    expires_at = models.DateTimeField(_("expires"))
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("verification")
        verbose_name_plural = _("verifications")
        indexes = [
            models.Index(F("organization"), F("id").desc(), name="verification_of_organization"),
            models.Index("expires_at", name="verification_expiring", condition=Q(status="pending")),
        ]
        constraints = [
            models.UniqueConstraint(
                "organization",
                "test",
                "phone",
                name="verification_one_live",
                condition=Q(status="pending"),
            ),
            models.CheckConstraint(
                condition=Q(status__in=["pending", "verified"], reason="")
                | Q(status="expired", reason__in=["expired", "superseded"])
                | Q(status="failed", reason__in=["too_many_attempts", "canceled"]),
                name="verification_status",
            ),
            models.CheckConstraint(
                condition=Q(status="pending", ended_at=None)
                | (~Q(status="pending") & Q(ended_at__isnull=False, seed=b"", digest=b"")),
                name="verification_ended",
            ),
            models.CheckConstraint(
                condition=Q(attempts__lte=MAX_ATTEMPTS), name="verification_attempts"
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return ids.public_id(ids.OTP, self.id)

    @property
    def secret(self) -> Secret:
        """Return the secret that the code is derived from; it exists only while pending."""
        return Secret(bytes(self.seed), self.key_id, bytes(self.digest))

    @property
    def attempts_left(self) -> int:
        """Return the number of checks left; 0 after completion."""
        return MAX_ATTEMPTS - self.attempts if self.status == self.Status.PENDING else 0


class CodeSend(models.Model):
    """One message with a code, first or repeated. The limits of a phone number count these rows."""

    id = models.BigAutoField(primary_key=True)
    verification = models.ForeignKey(Verification, models.CASCADE, related_name="sends")
    organization = models.ForeignKey(Organization, models.PROTECT, db_index=False)
    test = models.BooleanField()
    phone = models.CharField(max_length=16)
    message_id = models.UUIDField()
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index("phone", "at", name="codesend_of_number")]

    def __str__(self) -> str:
        return ids.public_id(ids.MESSAGE, self.message_id)


class PumpingMode(models.TextChoices):
    """Protection against SMS pumping: off, only record, or hold prefixes."""

    OFF = "off", _("Off")
    RECORD = "record", _("Only record")
    ENFORCE = "enforce", _("Hold")


_DEFAULT = _("Empty: the installation's default.")


class OtpSettings(models.Model):
    """An organization's own rules for codes. Empty fields use the installation's defaults."""

    organization = models.OneToOneField(
        Organization,
        models.CASCADE,
        primary_key=True,
        related_name="otp_settings",
        verbose_name=_("organization"),
    )
    cooldown = models.PositiveSmallIntegerField(
        _("cooldown"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(3600)],
        help_text=_("Seconds between two codes to one number. Empty: the installation's default."),
    )
    ten_minutes = models.PositiveSmallIntegerField(
        _("codes in ten minutes"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("To one number, repeated ones too. Empty: the installation's default."),
    )
    day = models.PositiveSmallIntegerField(
        _("codes in a day"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("To one number, repeated ones too. Empty: the installation's default."),
    )
    countries = ArrayField(
        models.CharField(
            max_length=2,
            validators=[RegexValidator(r"^[A-Z]{2}$", _("Two capital letters of ISO 3166."))],
        ),
        default=list,
        blank=True,
        verbose_name=_("countries"),
        help_text=_("That codes may go to, such as SA,AE. Empty: the installation's default."),
    )
    # The organization's own choice; it can only narrow `countries`, which operators set.
    chosen_countries = ArrayField(
        models.CharField(
            max_length=2,
            validators=[RegexValidator(r"^[A-Z]{2}$", _("Two capital letters of ISO 3166."))],
        ),
        default=list,
        blank=True,
        verbose_name=_("countries of their choice"),
        help_text=_("What the organization itself narrows that to. Empty: nothing."),
    )
    pumping = models.CharField(
        _("pumped traffic"),
        max_length=10,
        choices=PumpingMode.choices,
        blank=True,
        default="",
        help_text=_DEFAULT,
    )
    pumping_minutes = models.PositiveSmallIntegerField(
        _("minutes looked at"),
        null=True,
        blank=True,
        validators=[MinValueValidator(5), MaxValueValidator(1440)],
        help_text=_DEFAULT,
    )
    pumping_minimum = models.PositiveIntegerField(
        _("codes at least"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Fewer to a prefix are not judged. Empty: the installation's default."),
    )
    pumping_share = models.PositiveSmallIntegerField(
        _("share at least"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text=_("Percent verified that are no suspicion. Empty: the installation's default."),
    )

    class Meta:
        verbose_name = _("rules for codes")
        verbose_name_plural = _("rules for codes")

    def __str__(self) -> str:
        return str(self.organization)


class HeldPrefix(models.Model):
    """A prefix with suspected SMS pumping: too few of its codes were verified.

    If `enforced`, no codes are sent to its numbers before `until`.
    """

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(
        Organization,
        models.CASCADE,
        related_name="held_prefixes",
        db_index=False,
        verbose_name=_("organization"),
    )
    prefix = models.CharField(_("prefix"), max_length=16)
    enforced = models.BooleanField(_("held"))
    sent = models.PositiveIntegerField(_("codes"))
    verified = models.PositiveIntegerField(_("verified"))
    created_at = models.DateTimeField(_("since"))
    until = models.DateTimeField(_("until"))
    lifted_at = models.DateTimeField(_("lifted"), null=True, blank=True)
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        verbose_name=_("lifted by"),
    )
    # A mail to the organization is due from then on; the worker that sends it first moves this
    # forward, as a lease.
    notice_due_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("held prefix")
        verbose_name_plural = _("held prefixes")
        indexes = [
            models.Index("organization", "prefix", name="heldprefix_of_organization"),
            models.Index(
                "notice_due_at", name="heldprefix_owed", condition=Q(notice_due_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return self.prefix
