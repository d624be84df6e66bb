"""Models of sending rules: a country's sending hours, and the suppression list."""

import zoneinfo

import phonenumbers
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization
from imissive.core import ids


def _check_zone(name: str) -> None:
    if name not in zoneinfo.available_timezones():
        raise ValidationError(_("Name a time zone such as Asia/Riyadh."))


class SendingRule(models.Model):
    """A country's sending hours for sender IDs with that suffix; see messaging.routing."""

    country = models.CharField(
        _("country"),
        max_length=2,
        validators=[RegexValidator(r"^[A-Z]{2}$", _("Two capital letters of ISO 3166."))],
    )
    sender_suffix = models.CharField(
        _("sender ID ends in"),
        max_length=11,
        blank=True,
        help_text=_("What marks a promotional sender, such as -AD. Empty: every sender."),
    )
    opens = models.TimeField(_("from"))
    closes = models.TimeField(_("until"))
    time_zone = models.CharField(_("time zone"), max_length=40, validators=[_check_zone])
    enabled = models.BooleanField(_("enabled"), default=True)

    class Meta:
        verbose_name = _("country rule")
        verbose_name_plural = _("country rules")
        constraints = [
            models.UniqueConstraint("country", "sender_suffix", name="rule_once"),
            models.CheckConstraint(condition=~Q(opens=F("closes")), name="rule_has_hours"),
        ]

    def __str__(self) -> str:
        return f"{self.country} …{self.sender_suffix}"


class NumberRange(models.Model):
    """Numbers that phonenumbers does not know yet, or knows otherwise; see messaging.routing."""

    country = models.CharField(
        _("country"),
        max_length=2,
        validators=[RegexValidator(r"^[A-Z]{2}$", _("Two capital letters of ISO 3166."))],
    )
    prefix = models.CharField(
        _("begins with"),
        max_length=12,
        unique=True,
        validators=[RegexValidator(r"^[1-9]\d{1,11}$", _("Digits, such as 96657."))],
        help_text=_("The calling code and the next digits, without +, such as 96657."),
    )
    shortest = models.PositiveSmallIntegerField(
        _("fewest digits"), help_text=_("Of the whole number with its calling code.")
    )
    longest = models.PositiveSmallIntegerField(_("most digits"))
    reachable = models.BooleanField(
        _("receives SMS"),
        default=True,
        help_text=_("Otherwise these numbers are refused, whatever the phone library says."),
    )
    note = models.CharField(
        _("source"),
        max_length=200,
        help_text=_("Where it is announced, such as a regulator's page."),
    )
    enabled = models.BooleanField(
        _("enabled"), default=True, help_text=_("Turn it off once a release knows the range.")
    )

    class Meta:
        verbose_name = _("number range")
        verbose_name_plural = _("number ranges")
        constraints = [
            models.CheckConstraint(
                condition=Q(shortest__lte=F("longest"), longest__lte=15), name="range_lengths"
            )
        ]

    def __str__(self) -> str:
        return f"+{self.prefix}"

    def clean(self) -> None:
        code = str(phonenumbers.country_code_for_region(self.country))
        if code == "0":
            raise ValidationError({"country": _("No country has this code.")})
        if not (self.prefix.startswith(code) and len(self.prefix) > len(code)):
            wrong = _("It has to begin with %(code)s, the calling code of that country.")
            raise ValidationError({"prefix": wrong % {"code": code}})
        if not len(self.prefix) < (self.shortest or 0) <= (self.longest or 0) <= 15:
            wrong = _("More digits than the prefix has, and at most 15.")
            raise ValidationError({"shortest": wrong})


class Suppression(models.Model):
    """An entry of an organization's suppression list: a number whose owner has opted out."""

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    organization = models.ForeignKey(
        Organization,
        models.CASCADE,
        related_name="suppressions",
        db_index=False,
        verbose_name=_("organization"),
    )
    # An entry applies to messages of its mode only.
    test = models.BooleanField(_("test"), default=False, db_default=False)
    number = models.CharField(_("number"), max_length=16)
    reason = models.CharField(_("reason"), max_length=200, blank=True)
    source = models.CharField(_("source"), max_length=10)
    created_at = models.DateTimeField(_("time"), db_default=models.functions.Now())

    class Meta:
        verbose_name = _("suppression")
        verbose_name_plural = _("suppressions")
        constraints = [
            models.UniqueConstraint("organization", "number", "test", name="suppression_once"),
            models.CheckConstraint(
                condition=Q(number__regex=r"^\+[1-9][0-9]{1,14}$"), name="suppression_e164"
            ),
        ]
        indexes = [models.Index(F("organization"), F("id").desc(), name="suppression_list")]

    def __str__(self) -> str:
        return self.number

    @property
    def public_id(self) -> str:
        return ids.public_id(ids.SUPPRESSION, self.id)
