"""Sending hours (quiet hours): the times at which a country's rules allow messages. Pure.

A rule is data (messaging.models.SendingRule). In Saudi Arabia a sender that ends in `-AD` is an
advertiser's, and its messages are sent between 09:00 and 19:00 Riyadh time only.
"""

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.utils.translation import gettext

HELD = "held"
"""The outcome of an Attempt in which nothing was submitted, because the hours had closed."""


@dataclass(frozen=True, slots=True)
class SendingHours:
    """The hours [opens, closes) of a day in `zone`, for senders with that suffix.

    Hours that close before they open include midnight. `sender_suffix` is compared without case;
    an empty one means every sender.
    """

    country: str
    sender_suffix: str
    opens: time
    closes: time
    zone: ZoneInfo

    def applies_to(self, sender: str) -> bool:
        """Return whether the rule applies to messages of that sender."""
        return sender.upper().endswith(self.sender_suffix.upper())

    def is_open(self, at: datetime) -> bool:
        """Return whether messages may be sent at that time (aware)."""
        clock = at.astimezone(self.zone).time()
        if self.opens < self.closes:
            return self.opens <= clock < self.closes
        return clock >= self.opens or clock < self.closes

    def opening(self, at: datetime) -> datetime:
        """Return `at` (aware) if they are open then, else the next opening, in UTC."""
        # Hours inside the hour that summer time skips do not open on that day.
        while not self.is_open(at):
            at = self._next(at, self.opens)
        return at

    def closing(self, at: datetime) -> datetime:
        """Return the closing that follows that time (aware), in UTC."""
        return self._next(at, self.closes)

    def opens_at(self, at: datetime) -> bool:
        """Return whether that time (aware) is exactly an opening."""
        return at.astimezone(self.zone).time() == self.opens

    def __str__(self) -> str:
        """Return the hours in the reader's language, such as `09:00 to 19:00 (Asia/Riyadh)`."""
        return gettext("%(opens)s to %(closes)s (%(zone)s)") % self.parameters()

    def parameters(self) -> dict[str, str]:
        """Return the parameters of a sentence that names the hours and the zone."""
        return {
            "opens": f"{self.opens:%H:%M}",
            "closes": f"{self.closes:%H:%M}",
            "zone": self.zone.key,
        }

    def _next(self, after: datetime, clock: time) -> datetime:
        """Return when the zone's clock shows that time for the first time after `after`, in UTC."""
        today = after.astimezone(self.zone).date()
        for days in itertools.count():
            local = datetime.combine(today + timedelta(days), clock, self.zone)
            # When summer time ends, an hour comes twice; fold 1 is the second one.
            for fold in (0, 1):
                found = local.replace(fold=fold).astimezone(UTC)
                if found > after:
                    return found
        raise AssertionError("days never end")
