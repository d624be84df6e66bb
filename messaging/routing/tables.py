"""Routing tables: the carriers and the price of a number by longest prefix match. Pure.

An organization's own routes and prices take precedence, whatever the length of general prefixes.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from messaging.routing.sending_hours import SendingHours
from messaging.text import source_addresses

T = TypeVar("T")

Owner = uuid.UUID | None
LONGEST_PREFIX = 15


class PrefixTable(Generic[T]):
    """Values by owner and prefix. The owner None means all organizations."""

    def __init__(self, rows: Iterable[tuple[Owner, str, T]]) -> None:
        self._by_owner: dict[Owner, dict[str, T]] = {}
        for owner, prefix, value in rows:
            self._by_owner.setdefault(owner, {})[prefix] = value
        self._longest = {
            owner: max(map(len, prefixes)) for owner, prefixes in self._by_owner.items() if prefixes
        }

    @property
    def longest(self) -> int:
        """The number of digits of the longest prefix: later digits do not affect a lookup."""
        return max(self._longest.values(), default=0)

    def find(self, e164: str, owner: uuid.UUID) -> T | None:
        """Return the value for a number in E.164 (with '+'), or None: the owner's value first."""
        found = self.match(e164, owner)
        return found[2] if found else None

    def match(self, e164: str, owner: uuid.UUID) -> tuple[Owner, str, T] | None:
        """Return the value that `find` returns, with its owner and prefix before it, or None."""
        for candidate in (owner, None):
            prefixes = self._by_owner.get(candidate)
            if not prefixes:
                continue
            digits = e164[1 : self._longest[candidate] + 1]
            for length in range(len(digits), -1, -1):
                value = prefixes.get(digits[:length])
                if value is not None:
                    return candidate, digits[:length], value
        return None

    def applying(self, owner: uuid.UUID) -> list[tuple[str, T, bool]]:
        """Return all that `find` can return for an owner: prefix, value, and whether it is its own.

        General values under a prefix of the owner's own are never found, and left out.
        """
        own = self._by_owner.get(owner, {})
        rows = [(prefix, value, True) for prefix, value in own.items()]
        for prefix, value in self._by_owner.get(None, {}).items():
            if not any(prefix[:length] in own for length in range(len(prefix) + 1)):
                rows.append((prefix, value, False))
        return rows

    def meets(self, prefix: str, owner: uuid.UUID) -> bool:
        """Return whether some number under the prefix has a value."""
        return any(
            prefix.startswith(other) or other.startswith(prefix)
            for candidate in (owner, None)
            for other in self._by_owner.get(candidate, ())
        )


@dataclass(frozen=True, slots=True)
class CarrierChoice:
    """A carrier of a route: what accepting and queueing a message need of it."""

    id: int
    slug: str
    source_coding: str = source_addresses.LATIN_1

    def writes(self, sender: str) -> bool:
        """Return whether that sender ID can be written for the carrier."""
        return source_addresses.written(sender, self.source_coding) is not None


@dataclass(frozen=True, slots=True)
class Tables:
    """A snapshot of carriers, routes, prices and countries' rules.

    `routes` has enabled carriers only, in the order in which they are tried. `prices` are
    micro-credits for one part. `hours` are the sending hours by country.
    """

    carriers: Mapping[int, CarrierChoice]
    routes: PrefixTable[tuple[CarrierChoice, ...]] = field(
        default_factory=lambda: PrefixTable[tuple[CarrierChoice, ...]](())
    )
    prices: PrefixTable[int] = field(default_factory=lambda: PrefixTable[int](()))
    sandbox: CarrierChoice | None = None
    hours: Mapping[str, tuple[SendingHours, ...]] = field(default_factory=dict)

    def sending_hours(self, country: str, sender: str) -> SendingHours | None:
        """Return the sending hours of that sender for that country; None if there are none.

        Of several rules the one with the longest sender suffix applies.
        """
        found = [rule for rule in self.hours.get(country, ()) if rule.applies_to(sender)]
        return max(found, key=lambda rule: len(rule.sender_suffix)) if found else None

    def opens(self, country: str, sender: str, at: datetime) -> bool:
        """Return whether those hours open exactly at that time (aware)."""
        hours = self.sending_hours(country, sender)
        return hours is not None and hours.opens_at(at)

    def carriers_for(
        self, e164: str, organization_id: uuid.UUID, *, test: bool
    ) -> tuple[CarrierChoice, ...]:
        """Return the carriers to try, in order; empty where the number is not served."""
        if test:
            return (self.sandbox,) if self.sandbox else ()
        return self.routes.find(e164, organization_id) or ()

    def price(self, e164: str, organization_id: uuid.UUID, *, test: bool) -> int | None:
        """Return the price of one part in micro-credits, or None where no price is set."""
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
        """Return the next carrier for failover, or None: the route's first that is not `tried` and
        can write the sender ID."""
        excluded = set(tried)
        for carrier in self.carriers_for(e164, organization_id, test=test):
            if carrier.id not in excluded and carrier.writes(sender):
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
