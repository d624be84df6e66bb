"""Effective rules for an organization's codes: its own, otherwise the installation's defaults."""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings

from otp.models import OtpSettings


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits of codes to one number, and the countries that codes may go to.

    `ten_minutes` and `day` are maximum numbers of codes. `countries`: ISO 3166 codes that operators
    allow; empty means every country with a route and a price. `chosen`: the organization's own
    restriction of these; empty means none. `enforces`: whether prefixes with suspected SMS pumping
    are held.
    """

    cooldown: timedelta
    ten_minutes: int
    day: int
    countries: frozenset[str]
    chosen: frozenset[str]
    enforces: bool

    def allow(self, country: str) -> bool:
        """Return whether codes may go to that country (ISO 3166)."""
        return all(not named or country in named for named in (self.countries, self.chosen))


def rules_of(organization_id: uuid.UUID) -> Rules:
    """Return the rules that currently apply to an organization."""
    own = OtpSettings.objects.filter(organization_id=organization_id).first() or OtpSettings()
    cooldown = settings.OTP_COOLDOWN if own.cooldown is None else own.cooldown
    return Rules(
        timedelta(seconds=cooldown),
        own.ten_minutes or settings.OTP_LIMIT_TEN_MINUTES,
        own.day or settings.OTP_LIMIT_DAY,
        frozenset(own.countries or settings.OTP_COUNTRIES),
        frozenset(own.chosen_countries),
        (own.pumping or settings.OTP_PUMPING) == "enforce",
    )
