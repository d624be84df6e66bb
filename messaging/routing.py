"""Which carriers serve a number and what a part to it costs: pure, on tables given beforehand.

The longest matching prefix wins. What is an organization's own (its routes, its prices) is looked
through first, whatever the length of the general prefixes.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from messaging import sender_names
from messaging.windows import Window

T = TypeVar("T")

Owner = uuid.UUID | None
LONGEST_PREFIX = 15


class PrefixTable(Generic[T]):
    """Values by (owner, prefix), where the owner None is everybody."""

    def __init__(self, rows: Iterable[tuple[Owner, str, T]]) -> None:
        self._of: dict[Owner, dict[str, T]] = {}
        for owner, prefix, value in rows:
            self._of.setdefault(owner, {})[prefix] = value
        self._longest = {
            owner: max(map(len, prefixes)) for owner, prefixes in self._of.items() if prefixes
        }

    @property
    def longest(self) -> int:
        """Digits of the longest prefix: no digit after them has a part in what is found."""
        return max(self._longest.values(), default=0)

    def find(self, e164: str, owner: uuid.UUID) -> T | None:
        """The value for a number in E.164 (with '+'): the owner's own, else everybody's."""
        found = self.match(e164, owner)
        return found[2] if found else None

    def match(self, e164: str, owner: uuid.UUID) -> tuple[Owner, str, T] | None:
        """That value, with the owner and the prefix that it is kept under."""
        for whose in (owner, None):
            prefixes = self._of.get(whose)
            if not prefixes:
                continue
            digits = e164[1 : self._longest[whose] + 1]
            for length in range(len(digits), -1, -1):
                value = prefixes.get(digits[:length])
                if value is not None:
                    return whose, digits[:length], value
        return None

    def applying(self, owner: uuid.UUID) -> list[tuple[str, T, bool]]:
        """All that `find` can find for that owner: prefix, value, and whether it is its own.

        What is everybody's under a prefix of the owner's own is never found, and left out.
        """
        own = self._of.get(owner, {})
        rows = [(prefix, value, True) for prefix, value in own.items()]
        for prefix, value in self._of.get(None, {}).items():
            if not any(prefix[:length] in own for length in range(len(prefix) + 1)):
                rows.append((prefix, value, False))
        return rows

    def meets(self, prefix: str, owner: uuid.UUID) -> bool:
        """Whether some number under the prefix has a value."""
        return any(
            prefix.startswith(known) or known.startswith(prefix)
            for whose in (owner, None)
            for known in self._of.get(whose, ())
        )


@dataclass(frozen=True, slots=True)
class CarrierChoice:
    """A carrier as far as accepting and queueing a message must know it."""

    id: int
    slug: str
    source_coding: str = sender_names.LATIN_1

    def writes(self, sender: str) -> bool:
        """Return whether that sender ID can be written for the carrier."""
        return sender_names.written(sender, self.source_coding) is not None


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything about carriers, routes, prices and countries' rules, as it stood at one moment.

    `routes` holds enabled carriers only, in the order in which they are tried.
    """

    carriers: Mapping[int, CarrierChoice]
    routes: PrefixTable[tuple[CarrierChoice, ...]] = field(
        default_factory=lambda: PrefixTable[tuple[CarrierChoice, ...]](())
    )
    prices: PrefixTable[int] = field(default_factory=lambda: PrefixTable[int](()))
    sandbox: CarrierChoice | None = None
    windows: Mapping[str, tuple[Window, ...]] = field(default_factory=dict)

    def window(self, country: str, sender: str) -> Window | None:
        """The hours in which messages of that sender may go to that country; None is always.

        Of several rules the one with the longest ending of the sender is meant.
        """
        found = [rule for rule in self.windows.get(country, ()) if rule.applies_to(sender)]
        return max(found, key=lambda rule: len(rule.sender_suffix)) if found else None

    def opens(self, country: str, sender: str, at: datetime) -> bool:
        """Whether those hours begin at that time."""
        window = self.window(country, sender)
        return window is not None and window.opens_at(at)

    def carriers_for(
        self, e164: str, organization_id: uuid.UUID, *, test: bool
    ) -> tuple[CarrierChoice, ...]:
        """The carriers to try, first choice first; none where the number is not served."""
        if test:
            return (self.sandbox,) if self.sandbox else ()
        return self.routes.find(e164, organization_id) or ()

    def price(self, e164: str, organization_id: uuid.UUID, *, test: bool) -> int | None:
        """Micro-credits for one part, or None where no price is set."""
        return 0 if test else self.prices.find(e164, organization_id)

    def after(
        self,
        e164: str,
        organization_id: uuid.UUID,
        tried: Iterable[int],
        *,
        test: bool,
        sender: str = "",
    ) -> CarrierChoice | None:
        """Return the next carrier of the route that can write the sender, or None."""
        seen = set(tried)
        for carrier in self.carriers_for(e164, organization_id, test=test):
            if carrier.id not in seen and carrier.writes(sender):
                return carrier
        return None

    def can_be_written(self, sender: str, organization_id: uuid.UUID) -> bool:
        """Return whether a carrier of the organization's routes, if any, can write the sender ID.

        Which one a message goes to is another question, of its number.
        """
        carriers = {
            carrier for _, found, _ in self.routes.applying(organization_id) for carrier in found
        }
        return not carriers or any(carrier.writes(sender) for carrier in carriers)
