"""Conversion: the share of verifications that were completed with the right code."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from imissive.core import ids
from imissive.core.sql import server_cursor

_BY = {"day": "(created_at AT TIME ZONE %(zone)s)::date", "country": "country"}


def conversion_by(
    organization_id: uuid.UUID,
    start: datetime,
    end: datetime,
    group: Literal["day", "country"],
    zone: str = "UTC",
    *,
    test: bool = False,
) -> dict[str, tuple[int, int]]:
    """Return the numbers of started and verified verifications of a mode, by day or country.

    Counts verifications started from `start` (included) to `end` (excluded), both aware. Keys are
    days in `zone` (`2027-01-15`) or countries (ISO 3166). Repeated codes count once.
    """
    with server_cursor() as cursor:
        cursor.execute(
            f"SELECT {_BY[group]}, count(*), count(*) FILTER (WHERE status = 'verified')"  # noqa: S608
            " FROM otp_verification"
            " WHERE organization_id = %(organization)s AND id >= %(first)s AND id < %(last)s"
            " AND test = %(test)s GROUP BY 1 ORDER BY 1",
            {
                "test": test,
                "organization": organization_id,
                "first": ids.first_id_at(start),
                "last": ids.first_id_at(end),
                "zone": zone,
            },
        )
        return {str(value): (sent, verified) for value, sent, verified in cursor.fetchall()}


MAX_COUNTED = 20_000
"""Maximum number of verifications that the dashboard's conversion counts."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """Country, started and verified verifications, the most started first.

    `capped`: the limit of MAX_COUNTED was reached, so older verifications were not counted.
    """

    countries: Sequence[tuple[str, int, int]]
    capped: bool


def recent_conversion(organization_id: uuid.UUID, since: datetime) -> Conversion:
    """Return the conversion by country of the newest verifications since then, test keys' not."""
    with server_cursor() as cursor:
        cursor.execute(
            "SELECT country, count(*) AS started, count(*) FILTER (WHERE status = 'verified')"
            "  FROM (SELECT country, status FROM otp_verification"
            "         WHERE organization_id = %s AND id >= %s AND NOT test"
            "         ORDER BY id DESC LIMIT %s) newest"
            " GROUP BY country ORDER BY started DESC, country",
            [organization_id, ids.first_id_at(since), MAX_COUNTED],
        )
        countries = cursor.fetchall()
    return Conversion(countries, sum(started for _, started, _ in countries) >= MAX_COUNTED)
