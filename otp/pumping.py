"""Traffic that somebody pumps: codes to a range of numbers that nobody ever types in.

Whoever owns such numbers, or shares in what calls to them cost, has a site send codes there by the
thousand. What gives it away: hardly any of the codes comes back. So numbers are looked at by
prefix (the calling code and some digits), those codes only that a carrier took and that have ended,
and a prefix with too small a share of right answers is held: recorded, or kept from codes as well.
"""

import uuid
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction

from accounts import audit
from accounts.models import Organization, User
from imissive import clock, ids
from imissive.errors import ApiError
from imissive.rendering import time_text
from imissive.sql import server_cursor
from messaging.numbers import Number
from otp.models import HeldPrefix, PumpingMode

log = structlog.get_logger(__name__)

HOLD = timedelta(hours=12)
LONGEST_WINDOW = timedelta(days=1)
LONGEST_EXPIRY = timedelta(hours=1)
_LOCK = 0x6F7470_70756D70  # "otppump"


def prefix_of(number: Number) -> str:
    """By what a number is looked at: `+`, its calling code, and OTP_PUMPING_DIGITS digits."""
    return number.e164[: 1 + len(str(number.calling_code)) + settings.OTP_PUMPING_DIGITS]


def check(organization_id: uuid.UUID, phone: str, now: datetime) -> None:
    """Raises ApiError DESTINATION_BLOCKED where the number's prefix is held at that time."""
    active = HeldPrefix.objects.filter(
        organization_id=organization_id, enforced=True, lifted_at=None, until__gt=now
    )
    for prefix, until in active.values_list("prefix", "until"):
        if phone.startswith(prefix):
            told = (
                f"Codes to numbers that begin with {prefix} are held until {time_text(until)}:"
                " too few of them were verified. Support can lift that."
            )
            raise ApiError("DESTINATION_BLOCKED", told, field="phone")


# The windows are the organizations' own, so the range of ids only bounds what is read. A code has
# its whole time before it counts. What no carrier took, or a carrier said it could not deliver,
# tells nothing of who would have got it. After an operator lifted a hold, counting begins anew.
_SUSPECTS = """
WITH rules AS MATERIALIZED (
    SELECT o.id AS organization_id,
           COALESCE(NULLIF(s.pumping, ''), %(mode)s) AS mode,
           COALESCE(s.pumping_minutes, %(minutes)s) * interval '1 minute' AS span,
           COALESCE(s.pumping_minimum, %(minimum)s) AS minimum,
           COALESCE(s.pumping_share, %(share)s) AS share
      FROM accounts_organization o LEFT JOIN otp_otpsettings s ON s.organization_id = o.id
), known AS MATERIALIZED (
    SELECT organization_id, prefix, max(lifted_at) AS lifted_at,
           bool_or(lifted_at IS NULL AND until > %(now)s) AS recorded,
           bool_or(lifted_at IS NULL AND until > %(now)s AND enforced) AS held
      FROM otp_heldprefix GROUP BY organization_id, prefix
)
SELECT v.organization_id, v.prefix, rules.mode,
       count(*), count(*) FILTER (WHERE v.status = 'verified')
  FROM otp_verification v
  JOIN rules ON rules.organization_id = v.organization_id AND rules.mode <> 'off'
  LEFT JOIN known ON known.organization_id = v.organization_id AND known.prefix = v.prefix
  LEFT JOIN messaging_message m ON m.id = v.message_id
 WHERE v.id >= %(first)s AND NOT v.test
   AND v.status <> 'pending' AND v.reason <> 'canceled'
   AND v.created_at > %(now)s - rules.span - v.expiry * interval '1 second'
   AND (v.status = 'verified' OR (m.sent_at IS NOT NULL AND m.status <> 'failed'))
   AND v.created_at > COALESCE(known.lifted_at, '-infinity')
   AND (known.prefix IS NULL
        OR NOT CASE rules.mode WHEN 'record' THEN known.recorded ELSE known.held END)
 GROUP BY v.organization_id, v.prefix, rules.mode, rules.minimum, rules.share
HAVING count(*) >= rules.minimum
   AND count(*) FILTER (WHERE v.status = 'verified') * 100 < rules.share * count(*)
"""


def watch() -> list[HeldPrefix]:
    """Look for prefixes that are pumped, and hold or record each that is not yet: the new ones."""
    now = clock.now()
    with transaction.atomic(), server_cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        [alone] = cursor.fetchone()
        if not alone:
            return []
        cursor.execute(
            _SUSPECTS,
            {
                "mode": settings.OTP_PUMPING,
                "minutes": settings.OTP_PUMPING_WINDOW,
                "minimum": settings.OTP_PUMPING_MINIMUM,
                "share": settings.OTP_PUMPING_SHARE,
                "first": ids.first_id_at(now - LONGEST_WINDOW - LONGEST_EXPIRY),
                "now": now,
            },
        )
        return [_hold(row, now) for row in cursor.fetchall()]


def _hold(row: Any, now: datetime) -> HeldPrefix:
    organization_id, prefix, mode, sent, verified = row
    enforced = mode == PumpingMode.ENFORCE
    held = HeldPrefix.objects.create(
        organization_id=organization_id,
        prefix=prefix,
        enforced=enforced,
        sent=sent,
        verified=verified,
        created_at=now,
        until=now + HOLD,
        notice_due_at=now if enforced else None,
    )
    audit.record(
        "otp.prefix_held" if enforced else "otp.prefix_suspected",
        actor=None,
        organization=Organization.objects.get(id=organization_id),
        target=prefix,
        detail={"sent": sent, "verified": verified, "until": time_text(held.until)},
    )
    log.warning(
        "otp_prefix_pumped",
        organization=str(organization_id),
        prefix=prefix,
        sent=sent,
        verified=verified,
        held=enforced,
    )
    return held


@transaction.atomic
def lift(held: HeldPrefix, actor: User, *, address: str | None = None) -> None:
    """Let codes through again, from now on judged by what is sent from now on.

    Raises ApiError CONFLICT where the hold is over.
    """
    now = clock.now()
    open_ones = HeldPrefix.objects.filter(pk=held.pk, lifted_at=None, until__gt=now)
    if not open_ones.update(lifted_at=now, lifted_by=actor, notice_due_at=None):
        raise ApiError("CONFLICT", "This hold is over already.")
    audit.record(
        "otp.prefix_lifted",
        actor=actor,
        organization=held.organization,
        target=held.prefix,
        detail={"id": held.pk},
        address=address,
    )
