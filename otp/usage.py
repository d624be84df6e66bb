"""How many codes came back: conversion, by day or country."""

import uuid
from datetime import datetime
from typing import Literal

from imissive import ids
from imissive.sql import server_cursor

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
