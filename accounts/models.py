"""Organizations, people, API keys, and money: a balance with its append-only ledger."""

import uuid
from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.roles import Role, Scope
from imissive.core import ids

MICRO = 1_000_000
"""Micro-credits in one credit. Money is only ever an integer number of these."""


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: object) -> "User":
        """A user who logs in by e-mail. Addresses differing only in case are one address."""
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: object) -> "User":
        """An operator who may do everything in the admin."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=(username or "").strip().lower())


class User(AbstractBaseUser, PermissionsMixin):
    email = models.EmailField(_("e-mail"), unique=True)
    name = models.CharField(_("name"), max_length=120, blank=True)
    language = models.CharField(_("language"), max_length=8, default="en")
    time_zone = models.CharField(
        _("time zone"), max_length=40, blank=True, help_text=_("Empty: the browser's own.")
    )
    # The name that was asked for at sign-up; the organization is opened at the first login, which
    # needs a verified address, so that what a stranger types makes no organization.
    wanted_organization = models.CharField(max_length=120, blank=True, editable=False)
    is_staff = models.BooleanField(_("operator"), default=False)
    is_active = models.BooleanField(_("active"), default=True)
    date_joined = models.DateTimeField(_("date joined"), default=timezone.now, editable=False)

    objects: ClassVar[UserManager] = UserManager()
    USERNAME_FIELD = "email"

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_any_case")]

    def __str__(self) -> str:
        return self.email

    def get_full_name(self) -> str:
        return self.name or self.email


class Organization(models.Model):
    class Status(models.TextChoices):
        ACTIVE = "active", _("Active")
        SUSPENDED = "suspended", _("Suspended")
        CLOSED = "closed", _("Closed")

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    name = models.CharField(_("name"), max_length=120)
    status = models.CharField(
        _("status"), max_length=10, choices=Status.choices, default=Status.ACTIVE
    )
    suspended_because = models.CharField(
        _("why it is suspended"), max_length=200, blank=True, default="", editable=False
    )
    max_parts = models.PositiveSmallIntegerField(
        _("parts at most"), default=10, help_text=_("Parts that one message may have, 1 to 10.")
    )
    low_balance_threshold = models.BigIntegerField(
        _("low balance threshold"), default=0, help_text=_("In micro-credits.")
    )
    # Set when `balance.low` was told, cleared when the balance covers the threshold again.
    low_balance_told_at = models.DateTimeField(null=True, blank=True, editable=False)
    # A mail about it is owed from then on; see `messaging.billing.low_balance`.
    low_balance_mail_due_at = models.DateTimeField(null=True, blank=True, editable=False)
    send_per_minute = models.PositiveIntegerField(
        _("single messages a minute"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("One-time passwords too. Empty: the installation's default."),
    )
    bulk_per_minute = models.PositiveIntegerField(
        _("bulk messages a minute"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Empty: the installation's default."),
    )
    calls_per_minute = models.PositiveIntegerField(
        _("other calls a minute"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Empty: the installation's default."),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, through="Member")

    class Meta:
        verbose_name = pgettext_lazy("model", "organization")
        verbose_name_plural = _("organizations")
        permissions = [("act_as_customer", "Can act as a customer")]
        constraints = [
            models.CheckConstraint(
                condition=Q(max_parts__gte=1, max_parts__lte=10), name="organization_max_parts"
            ),
            models.CheckConstraint(
                condition=(Q(send_per_minute=None) | Q(send_per_minute__gte=1))
                & (Q(bulk_per_minute=None) | Q(bulk_per_minute__gte=1))
                & (Q(calls_per_minute=None) | Q(calls_per_minute__gte=1)),
                name="organization_limits",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Member(models.Model):
    organization = models.ForeignKey(
        Organization,
        models.CASCADE,
        related_name="memberships",
        verbose_name=_("organization"),
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        related_name="memberships",
        verbose_name=_("user"),
    )
    role = models.CharField(_("role"), max_length=10, choices=Role.choices, default=Role.VIEWER)
    created_at = models.DateTimeField(auto_now_add=True)

    acting: "Acting | None" = None
    """Set where this is an operator who acts as the customer, and no row of the table."""

    class Meta:
        verbose_name = _("member")
        verbose_name_plural = _("members")
        constraints = [
            models.UniqueConstraint("organization", "user", name="member_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="member_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"


class Acting(models.Model):
    """An operator acting as a customer, once; see `accounts.operators.impersonation`."""

    operator = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+")
    reason = models.CharField(_("reason"), max_length=200)
    started_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("acting as a customer")
        constraints = [models.CheckConstraint(condition=~Q(reason=""), name="acting_with_reason")]

    def __str__(self) -> str:
        return f"{self.operator} → {self.organization}"

    @property
    def over(self) -> bool:
        return self.ended_at is not None or self.ends_at <= timezone.now()


class Invitation(models.Model):
    """An open invitation: it is deleted when it is accepted or revoked.

    The mail holds 256 random bits; the database holds only their SHA-256.
    """

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="invitations")
    email = models.EmailField(_("e-mail"))
    role = models.CharField(_("role"), max_length=10, choices=Role.choices, default=Role.VIEWER)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    invited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    sent_at = models.DateTimeField()
    expires_at = models.DateTimeField(_("expires"))

    class Meta:
        verbose_name = _("invitation")
        constraints = [
            models.UniqueConstraint("organization", Lower("email"), name="invitation_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="invitation_role"),
        ]

    def __str__(self) -> str:
        return f"{self.email} ({self.role})"

    @property
    def expired(self) -> bool:
        return self.expires_at <= timezone.now()


class ApiKey(models.Model):
    """A key is 256 random bits; the database holds only its SHA-256 and its last characters."""

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="api_keys", verbose_name=_("organization")
    )
    name = models.CharField(_("name"), max_length=80)
    test = models.BooleanField(_("test key"), default=False)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    hint = models.CharField(_("hint"), max_length=20, editable=False)
    scopes = ArrayField(
        models.CharField(max_length=20, choices=Scope.choices),
        default=list,
        blank=True,
        verbose_name=_("scopes"),
    )
    networks = ArrayField(
        models.CharField(max_length=43),
        default=list,
        blank=True,
        verbose_name=_("addresses"),
        help_text=_("Addresses and networks it may be used from; none listed means everywhere."),
    )
    # Both work until the older one expires.
    replaces = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="replaced_by",
        verbose_name=_("replaces"),
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        verbose_name=_("created by"),
    )
    created_at = models.DateTimeField(_("time created"), auto_now_add=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    last_used_address = models.GenericIPAddressField(
        _("last used from"), null=True, blank=True, editable=False
    )

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")

    def __str__(self) -> str:
        return f"{self.name} ({self.hint})"

    @property
    def public_id(self) -> str:
        return ids.public_id(ids.KEY, self.id)


class IdempotencyRecord(models.Model):
    """What a POST with an `Idempotency-Key` answered; see `accounts.api.idempotency`."""

    id = models.BigAutoField(primary_key=True)
    api_key = models.ForeignKey(ApiKey, models.CASCADE, db_index=False)
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32)
    status = models.PositiveSmallIntegerField()
    body = models.BinaryField()
    created_at = models.DateTimeField(db_default=models.functions.Now())

    class Meta:
        constraints = [models.UniqueConstraint("api_key", "key", name="idempotency_once")]
        indexes = [models.Index("created_at", name="idempotency_age")]

    def __str__(self) -> str:
        return self.key


class Balance(models.Model):
    """What an organization has left. A narrow table of its own: its row is the hottest."""

    organization = models.OneToOneField(
        Organization,
        models.PROTECT,
        primary_key=True,
        related_name="balance",
        verbose_name=_("organization"),
    )
    micro = models.BigIntegerField(_("balance"), default=0)

    class Meta:
        verbose_name = pgettext_lazy("model", "balance")
        verbose_name_plural = _("balances")
        constraints = [
            models.CheckConstraint(condition=Q(micro__gte=0), name="balance_not_negative")
        ]

    def __str__(self) -> str:
        return f"{self.micro / MICRO:,.6f}"


class LedgerEntry(models.Model):
    """One change of a balance, in the order of `id`. A trigger refuses any later change."""

    class Kind(models.TextChoices):
        TOP_UP = "top_up", _("Top-up")
        CORRECTION = "correction", _("Correction")
        CHARGE = "charge", _("Charge")
        REFUND = "refund", _("Refund")

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(
        Organization,
        models.PROTECT,
        related_name="ledger",
        db_index=False,
        verbose_name=_("organization"),
    )
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    amount = models.BigIntegerField(_("amount"), help_text=_("Micro-credits, signed."))
    balance_after = models.BigIntegerField(_("balance after"))
    reference = models.UUIDField(
        _("reference"), null=True, blank=True, help_text=_("The charged message or batch.")
    )
    reason = models.CharField(_("reason"), max_length=200, blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        db_index=False,
        verbose_name=_("actor"),
    )
    created_at = models.DateTimeField(_("time"), db_default=models.functions.Now())

    class Meta:
        verbose_name = _("ledger entry")
        verbose_name_plural = _("ledger entries")
        indexes = [
            models.Index(F("organization"), F("id").desc(), name="ledger_of_organization"),
            # The kinds that few rows have. Charges are written with messages, and not in it.
            models.Index(
                F("organization"),
                F("kind"),
                F("id").desc(),
                name="ledger_but_charges",
                condition=~Q(kind="charge"),
            ),
        ]
        constraints = [
            # The database itself refuses to charge or refund one thing twice.
            models.UniqueConstraint(
                "kind", "reference", name="ledger_once", condition=Q(reference__isnull=False)
            ),
            models.CheckConstraint(
                condition=Q(kind="charge", amount__lte=0)
                | Q(kind__in=["refund", "top_up"], amount__gte=0)
                | Q(kind="correction"),
                name="ledger_sign",
            ),
            models.CheckConstraint(
                condition=Q(balance_after__gte=0), name="ledger_balance_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount / MICRO:+,.6f}"


class AuditEntry(models.Model):
    """Who did what to whom. Append-only, as the ledger is."""

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(
        Organization,
        models.PROTECT,
        null=True,
        blank=True,
        db_index=False,
        verbose_name=_("organization"),
    )
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, verbose_name=_("actor")
    )
    action = models.CharField(_("action"), max_length=60)
    target = models.CharField(_("target"), max_length=120, blank=True)
    detail = models.JSONField(_("detail"), default=dict, blank=True)
    address = models.GenericIPAddressField(_("address"), null=True, blank=True)
    created_at = models.DateTimeField(_("time"), db_default=models.functions.Now())

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        indexes = [models.Index(F("organization"), F("id").desc(), name="audit_of_organization")]

    def __str__(self) -> str:
        return f"{self.action} {self.target}"


class StoredFile(models.Model):
    """A file that an organization gave or is to fetch: in the database, since several machines
    read and write it, and nothing but PostgreSQL holds what matters.

    See `accounts.ui.stored_files`."""

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="files")
    name = models.CharField(_("name"), max_length=200)
    content_type = models.CharField(_("type"), max_length=100)
    size = models.BigIntegerField(_("size"), help_text=_("In bytes."))
    created_at = models.DateTimeField(_("time"), db_default=models.functions.Now())
    expires_at = models.DateTimeField(
        _("kept until"), null=True, blank=True, help_text=_("Empty: until it is deleted.")
    )

    class Meta:
        verbose_name = _("file")
        indexes = [
            models.Index("expires_at", name="file_expiry", condition=Q(expires_at__isnull=False))
        ]
        constraints = [models.CheckConstraint(condition=Q(size__gte=0), name="file_size")]

    def __str__(self) -> str:
        return self.name


class FileChunk(models.Model):
    """A piece of a stored file; the pieces in the order of `position` are the file."""

    file = models.ForeignKey(StoredFile, models.CASCADE, related_name="chunks", db_index=False)
    position = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint("file", "position", name="chunk_once")]

    def __str__(self) -> str:
        return f"{self.file_id}/{self.position}"


def member_organizations(user: User) -> models.QuerySet[Organization]:
    """The organizations that a user belongs to, oldest membership first."""
    return Organization.objects.filter(memberships__user=user).order_by("memberships__created_at")


def organization_of(user: User, organization_id: uuid.UUID) -> Organization | None:
    """The user's organization with that id, or None: another's is as good as missing."""
    return member_organizations(user).filter(id=organization_id).first()
