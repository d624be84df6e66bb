"""Model of the audit log."""

from django.conf import settings
from django.db import models
from django.db.models import F
from django.utils.translation import gettext_lazy as _

from accounts.models.organizations import Organization


class AuditEntry(models.Model):
    """One action of a person or of the platform. Append-only, like the ledger."""

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
