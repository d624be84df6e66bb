"""The rules for an organization's codes: its own where an operator gave some, else the defaults."""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings

from otp.models import OtpSettings


@dataclass(frozen=True, slots=True)
class Rules:
    """How often codes go to one number, and where to.

    `countries`: ISO 3166, as operators allow it; none named means every country that has a route
    and a price. `chosen`: of these what the organization itself wants; none named means all.
    `enforces`: whether prefixes that look pumped are held.
    """

    cooldown: timedelta
    ten_minutes: int
    day: int
    countries: frozenset[str]
    chosen: frozenset[str]
    enforces: bool

    def allow(self, country: str) -> bool:
        """Whether codes may go to that country."""
        return all(not named or country in named for named in (self.countries, self.chosen))


def rules_of(organization_id: uuid.UUID) -> Rules:
    """The rules that hold for an organization right now."""
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
