"""Housekeeping: deletion of old verifications and holds, in bounded batches."""

from datetime import timedelta

from django.conf import settings

from imissive.core import clock
from imissive.core.ids import first_id_at
from imissive.core.sql import server_cursor

STEP = 5_000

# Ids are ordered by time, so the primary key finds the oldest.
_PURGE = """
WITH old AS MATERIALIZED (
    SELECT id FROM otp_verification WHERE id < %(before)s AND status <> 'pending'
     ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), sends AS (
    DELETE FROM otp_codesend USING old WHERE verification_id = old.id
)
DELETE FROM otp_verification v USING old WHERE v.id = old.id
"""


def purge(limit: int = STEP) -> int:
    """Delete up to `limit` verifications older than OTP_KEEP_DAYS; return their number.

    Holds that ended before then are deleted too.
    """
    before = clock.now() - timedelta(days=settings.OTP_KEEP_DAYS)
    with server_cursor() as cursor:
        cursor.execute(_PURGE, {"before": first_id_at(before), "limit": limit})
        purged: int = cursor.rowcount
        cursor.execute("DELETE FROM otp_heldprefix WHERE until < %s", [before])
    return purged
