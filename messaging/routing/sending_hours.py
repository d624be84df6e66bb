"""When a country's rules let a message go out: pure, on rules given beforehand.

A rule is data (messaging.models.SendingRule). In Saudi Arabia a sender that ends in `-AD` is an
advertiser's, and its messages are sent between 09:00 and 19:00 Riyadh time only.
"""

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.utils.translation import gettext

HELD = "held"
"""The outcome of a message's Attempt that was none, because the hours had closed."""


@dataclass(frozen=True, slots=True)
class SendingHours:
    """The hours of the day, [opens, closes) by the clock of `zone`, for senders that end so.

    Hours that close before they open hold midnight. `sender_suffix` is compared in any case; an
    empty one means every sender.
    """

    country: str
    sender_suffix: str
    opens: time
    closes: time
    zone: ZoneInfo

    def applies_to(self, sender: str) -> bool:
        """Whether the rule is about messages of that sender."""
        return sender.upper().endswith(self.sender_suffix.upper())

    def is_open(self, at: datetime) -> bool:
        """Whether messages may go at that time (aware)."""
        clock = at.astimezone(self.zone).time()
        if self.opens < self.closes:
            return self.opens <= clock < self.closes
        return clock >= self.opens or clock < self.closes

    def opening(self, at: datetime) -> datetime:
        """Return `at` if they are open then, else when they open next. UTC."""
        # Once a year an hour is left out, and with it what opens and closes in it.
        while not self.is_open(at):
            at = self._next(at, self.opens)
        return at

    def closing(self, at: datetime) -> datetime:
        """Return when the hours that are open at that time close. UTC."""
        return self._next(at, self.closes)

    def opens_at(self, at: datetime) -> bool:
        """Whether that time is an opening."""
        return at.astimezone(self.zone).time() == self.opens

    def __str__(self) -> str:
        """Return the hours in the reader's language, such as `09:00 to 19:00 (Asia/Riyadh)`."""
        return gettext("%(opens)s to %(closes)s (%(zone)s)") % self.parameters()

    def parameters(self) -> dict[str, str]:
        """Return the hours by the clock and the zone, for a sentence that names them."""
        return {
            "opens": f"{self.opens:%H:%M}",
            "closes": f"{self.closes:%H:%M}",
            "zone": self.zone.key,
        }

    def _next(self, after: datetime, clock: time) -> datetime:
        """When the clock shows that time next, later than `after`."""
        today = after.astimezone(self.zone).date()
        for days in itertools.count():
            local = datetime.combine(today + timedelta(days), clock, self.zone)
            # Once a year a time comes twice: fold 1 is the second.
            for fold in (0, 1):
                found = local.replace(fold=fold).astimezone(UTC)
                if found > after:
                    return found
        raise AssertionError("days never end")
