"""Models of API keys, and of the responses stored for idempotency keys."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models.organizations import Organization
from accounts.roles import Scope
from imissive.core import ids


class ApiKey(models.Model):
    """An API key with its mode (live or test), scopes, IP allow-list and lifetime.

    The secret is 256 random bits; the database holds only its SHA-256 and its last characters.
    """

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
    # Set by a rotation. Both keys work until the older one expires.
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
    """The stored response of a POST with an `Idempotency-Key`; see `accounts.api.idempotency`."""

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
