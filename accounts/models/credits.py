"""Models of credits: a balance and its append-only ledger."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models.organizations import Organization

MICRO = 1_000_000
"""Micro-credits in one credit. Amounts of money are always integers of micro-credits."""


class Balance(models.Model):
    """An organization's remaining credits, in micro-credits.

    A narrow table of its own, because its row is updated more often than any other.
    """

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


class CreditChange(models.Model):
    """A top-up or a correction that an operator requested; its id is the form's.

    A small one is applied at once, without `decided_by`. A large one waits for a second operator.
    """

    class Status(models.TextChoices):
        WAITING = "waiting", _("Waiting for approval")
        APPLIED = "applied", _("Applied")
        DECLINED = "declined", _("Declined")

    id = models.UUIDField(primary_key=True, editable=False)
    organization = models.ForeignKey(
        Organization, models.PROTECT, related_name="+", verbose_name=_("organization")
    )
    micro = models.BigIntegerField(_("amount"), help_text=_("Micro-credits, signed."))
    reason = models.CharField(_("reason"), max_length=200)
    status = models.CharField(_("status"), max_length=10, choices=Status.choices)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="+",
        db_index=False,
        verbose_name=_("requested by"),
    )
    created_at = models.DateTimeField(_("requested"), db_default=models.functions.Now())
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        verbose_name=_("decided by"),
    )
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)

    class Meta:
        verbose_name = _("top-up or correction")
        verbose_name_plural = _("top-ups and corrections")
        constraints = [
            models.CheckConstraint(condition=~Q(micro=0), name="credit_change_not_zero"),
            models.CheckConstraint(
                condition=~Q(status="applied")
                | Q(decided_by=None)
                | ~Q(decided_by=F("requested_by")),
                name="credit_change_second_operator",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.organization}: {self.micro / MICRO:+,.6f}"


class LedgerEntry(models.Model):
    """One change of a balance, in the order of `id`. A trigger refuses updates and deletes."""

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
        _("reference"),
        null=True,
        blank=True,
        help_text=_("The charged message or batch, or the operator's form."),
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
            # Only the rare kinds: charges are inserted with every message and need no such index.
            models.Index(
                F("organization"),
                F("kind"),
                F("id").desc(),
                name="ledger_but_charges",
                condition=~Q(kind="charge"),
            ),
        ]
        constraints = [
            # The database itself refuses to charge or refund the same message or batch twice.
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
