"""What one part costs an organization, and where: the price list that applies to it."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import pgettext

from messaging.numbers.countries import countries_of, name_of
from messaging.routing.cache import tables

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Applied:
    """The price of one part, in micro-credits, to the numbers under a prefix.

    `own`: agreed with this organization. `served`: there is a carrier for these numbers, or at
    least for some.
    """

    prefix: str
    micro: int
    own: bool
    served: bool

    @property
    def countries(self) -> Sequence[str]:
        return countries_of(self.prefix)

    @property
    def named(self) -> str:
        """The names of its countries, or of the first few; empty for every other destination."""
        between = pgettext("between names", ", ")
        return between.join(name_of(country) for country in self.countries[:_NAMED])

    @property
    def more(self) -> int:
        """How many countries are not named."""
        return max(0, len(self.countries) - _NAMED)

    def is_of(self, wanted: str) -> bool:
        """Whether one of its countries is called so, in a piece at least, or has that code."""
        if len(wanted) == 2 and wanted.isascii():
            return wanted.upper() in self.countries
        return any(wanted in name_of(country).casefold() for country in self.countries)


def price_list(organization_id: uuid.UUID) -> list[Applied]:
    """Every price that a number of the organization's can have, by country and prefix."""
    found = tables()
    rows = [
        Applied(prefix, micro, own, found.routes.meets(prefix, organization_id))
        for prefix, micro, own in found.prices.applying(organization_id)
    ]
    return sorted(rows, key=lambda row: (not row.prefix, row.named, row.prefix))


_WHOLE_NUMBER = 7
"""Digits from which on somebody looks for a number and not for a prefix."""


def search(rows: Sequence[Applied], query: str) -> Sequence[Applied]:
    """The prices of a country by its name or code, under a prefix, or the one of a number."""
    digits = "".join(str(int(one)) for one in query if one.isdecimal()).removeprefix("00")
    if not digits:
        return [row for row in rows if row.is_of(query.casefold())]
    covering = [row for row in rows if digits.startswith(row.prefix)]
    if len(digits) >= _WHOLE_NUMBER:
        return sorted(covering, key=lambda row: len(row.prefix))[-1:]
    return [row for row in rows if row in covering or row.prefix.startswith(digits)]
