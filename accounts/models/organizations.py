"""Models of organizations (tenants), members, invitations, and operators' impersonations."""

import uuid

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models.users import User
from accounts.roles import Role
from imissive.core import clock, ids

DEFAULT_COUNTRY = "SA"
"""The default country of a new organization, and of operators' searches."""


class Organization(models.Model):
    """A tenant. Limits per minute are None where the installation's default applies."""

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
    default_country = models.CharField(
        _("default country"),
        max_length=2,
        blank=True,
        default=DEFAULT_COUNTRY,
        db_default=DEFAULT_COUNTRY,
        help_text=_("The country of numbers that are written without + or 00."),
    )
    max_parts = models.PositiveSmallIntegerField(
        _("parts at most"), default=10, help_text=_("Parts that one message may have, 1 to 10.")
    )
    low_balance_threshold = models.BigIntegerField(
        _("low balance threshold"), default=0, help_text=_("In micro-credits.")
    )
    # Set when `balance.low` was recorded, cleared when the balance covers the threshold again.
    low_balance_told_at = models.DateTimeField(null=True, blank=True, editable=False)
    # A low-balance mail is due from then on; see `messaging.billing.low_balance`.
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
    """A user's membership of an organization, with a role."""

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

    impersonation: "Impersonation | None" = None
    """The impersonation, where this is an impersonating operator and not a row of the table."""

    class Meta:
        verbose_name = _("member")
        verbose_name_plural = _("members")
        constraints = [
            models.UniqueConstraint("organization", "user", name="member_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="member_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"


class Impersonation(models.Model):
    """One impersonation of a customer by an operator; see `accounts.operators.impersonation`."""

    operator = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+")
    reason = models.CharField(_("reason"), max_length=200)
    started_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "accounts_acting"
        verbose_name = _("acting as a customer")
        constraints = [models.CheckConstraint(condition=~Q(reason=""), name="acting_with_reason")]

    def __str__(self) -> str:
        return f"{self.operator} → {self.organization}"

    @property
    def is_over(self) -> bool:
        """Return whether it was ended or has expired."""
        return self.ended_at is not None or self.ends_at <= clock.now()


class Invitation(models.Model):
    """An open invitation; the row is deleted when the invitation is accepted or revoked.

    The mail contains a token of 256 random bits; the database holds only its SHA-256.
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
        return self.expires_at <= clock.now()


def member_organizations(user: User) -> models.QuerySet[Organization]:
    """Return the organizations of a user, oldest membership first."""
    return Organization.objects.filter(memberships__user=user).order_by("memberships__created_at")


def organization_of(user: User, organization_id: uuid.UUID) -> Organization | None:
    """Return the user's organization with that id, or None, also for another's organization."""
    return member_organizations(user).filter(id=organization_id).first()
