"""How many codes came back: conversion, by day or country, and lately by country."""

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
) -> dict[str, tuple[int, int]]:
    """Verifications begun from `start` to before `end` (aware), and how many were verified.

    By day of the zone (`2027-01-15`), or by country (ISO 3166). Repeated codes count once, those of
    test keys not at all.
    """
    with server_cursor() as cursor:
        cursor.execute(
            f"SELECT {_BY[group]}, count(*), count(*) FILTER (WHERE status = 'verified')"  # noqa: S608
            " FROM otp_verification"
            " WHERE organization_id = %(organization)s AND id >= %(first)s AND id < %(last)s"
            " AND NOT test GROUP BY 1 ORDER BY 1",
            {
                "organization": organization_id,
                "first": ids.first_id_at(start),
                "last": ids.first_id_at(end),
                "zone": zone,
            },
        )
        return {str(value): (sent, verified) for value, sent, verified in cursor.fetchall()}


NEWEST = 20_000
"""Verifications at most that the dashboard's conversion is counted of."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """Verifications begun and those verified, by country, the most begun first; `capped`: there
    are more than NEWEST, and only these were counted."""

    countries: Sequence[tuple[str, int, int]]
    capped: bool


def recent_conversion(organization_id: uuid.UUID, since: datetime) -> Conversion:
    """Of the newest verifications since then, test keys' not."""
    with server_cursor() as cursor:
        cursor.execute(
            "SELECT country, count(*) AS begun, count(*) FILTER (WHERE status = 'verified')"
            "  FROM (SELECT country, status FROM otp_verification"
            "         WHERE organization_id = %s AND id >= %s AND NOT test"
            "         ORDER BY id DESC LIMIT %s) newest"
            " GROUP BY country ORDER BY begun DESC, country",
            [organization_id, ids.first_id_at(since), NEWEST],
        )
        countries = cursor.fetchall()
    return Conversion(countries, sum(begun for _, begun, _ in countries) >= NEWEST)
