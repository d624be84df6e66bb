"""Sender IDs: what a handset shows as sender, usable once an operator approved it."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization
from imissive import ids


class SenderId(models.Model):
    class Status(models.TextChoices):
        PENDING = "pending", _("Pending")
        APPROVED = "approved", _("Approved")
        REJECTED = "rejected", _("Rejected")
        REVOKED = "revoked", _("Revoked")

    class Kind(models.TextChoices):
        ALPHANUMERIC = "alphanumeric", _("Alphanumeric")
        NUMERIC = "numeric", _("Numeric")

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="sender_ids")
    name = models.CharField(_("sender ID"), max_length=16)
    kind = models.CharField(_("kind"), max_length=12, choices=Kind.choices)
    status = models.CharField(
        _("status"), max_length=10, choices=Status.choices, default=Status.PENDING
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
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, editable=False
    )
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("requested"), auto_now_add=True)

    class Meta:
        verbose_name = _("sender ID")
        constraints = [
            models.UniqueConstraint("organization", "name", name="sender_once"),
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
