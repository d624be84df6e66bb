"""The price list of an organization: the price of one part by destination."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import pgettext

from imissive.core.countries import countries_of, name_of
from messaging.numbers import characters
from messaging.routing.cache import tables

_COUNTRIES_NAMED = 3


@dataclass(frozen=True, slots=True)
class AppliedPrice:
    """The price of one part, in micro-credits, for a prefix.

    `own`: it is the organization's own price. `served`: at least some of the numbers have a route.
    """

    prefix: str
    micro: int
    own: bool
    served: bool

    @property
    def countries(self) -> Sequence[str]:
        """The codes of the prefix's countries."""
        return countries_of(self.prefix)

    @property
    def named(self) -> str:
        """The names of its first countries; empty for the price of all other destinations."""
        separator = pgettext("between names", ", ")
        return separator.join(name_of(country) for country in self.countries[:_COUNTRIES_NAMED])

    @property
    def more(self) -> int:
        """The number of further countries."""
        return max(0, len(self.countries) - _COUNTRIES_NAMED)

    def matches_country(self, query: str) -> bool:
        """Return whether one of its countries has that code, or a name that contains the query.

        The query is in lower case.
        """
        if len(query) == 2 and query.isascii():
            return query.upper() in self.countries
        return any(query in name_of(country).casefold() for country in self.countries)


def price_list(organization_id: uuid.UUID) -> list[AppliedPrice]:
    """Return all prices that apply to the organization, by country and prefix."""
    routing = tables()
    rows = [
        AppliedPrice(prefix, micro, own, routing.routes.meets(prefix, organization_id))
        for prefix, micro, own in routing.prices.applying(organization_id)
    ]
    return sorted(rows, key=lambda row: (not row.prefix, row.named, row.prefix))


_NUMBER_DIGITS = 7
"""A query with at least this many digits is a number, not a prefix."""


def search(rows: Sequence[AppliedPrice], query: str) -> Sequence[AppliedPrice]:
    """Return the prices of a country by name or code, of a prefix, or the one price of a number."""
    digits = characters.digits(query).removeprefix("00")
    if not digits:
        return [row for row in rows if row.matches_country(query.casefold())]
    covering = [row for row in rows if digits.startswith(row.prefix)]
    if len(digits) >= _NUMBER_DIGITS:
        return sorted(covering, key=lambda row: len(row.prefix))[-1:]
    return [row for row in rows if row in covering or row.prefix.startswith(digits)]
