"""SMS pumping protection: detection of prefixes with low conversion, and holds on them.

In SMS pumping (artificially inflated traffic), fraudsters who earn from messages to a range of
numbers make a site send codes there by the thousand. Its sign is a low conversion: hardly any of
the codes is verified. Completed verifications whose code a carrier accepted are therefore counted
by prefix (the calling code and some digits), and a prefix with too low a share of verified codes is
held: either only recorded, or blocked for codes.
"""

import uuid
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction

from accounts.audit import trail
from accounts.models import Organization, User
from imissive.core import clock, ids
from imissive.core.api.rendering import time_text
from imissive.core.errors import ApiError
from imissive.core.sql import server_cursor
from messaging.lifecycle.fragments import TAKEN
from messaging.numbers.e164 import Number
from otp.limits.reasons import LimitReason
from otp.models import HeldPrefix, PumpingMode

log = structlog.get_logger(__name__)

HOLD = timedelta(hours=12)
LONGEST_PERIOD = timedelta(days=1)
LONGEST_EXPIRY = timedelta(hours=1)
_LOCK = 0x6F7470_70756D70  # "otppump"


def prefix_of(number: Number) -> str:
    """Return the prefix of a number: `+`, its calling code, and OTP_PUMPING_DIGITS digits."""
    return number.e164[: 1 + len(str(number.calling_code)) + settings.OTP_PUMPING_DIGITS]


def check(organization_id: uuid.UUID, phone: str, now: datetime) -> None:
    """Raise ApiError DESTINATION_BLOCKED where the number's prefix is held at that time.

    `phone` is in E.164.
    """
    active = HeldPrefix.objects.filter(
        organization_id=organization_id, enforced=True, lifted_at=None, until__gt=now
    )
    for prefix, until in active.values_list("prefix", "until"):
        if phone.startswith(prefix):
            raise ApiError(
                LimitReason.PREFIX_HELD, "phone", prefix=prefix, until=time_text(until) or ""
            )


# Each organization has its own period, so the range of ids only limits the rows that are read. A
# verification counts once it is completed, so the period is extended by its expiry. A message that
# no carrier accepted, or that was undeliverable, says nothing about its recipient. After an
# operator has lifted a hold, counting starts again from zero.
_SUSPECTS = f"""
WITH known AS MATERIALIZED (
    SELECT organization_id, prefix, max(lifted_at) AS lifted_at,
           bool_or(lifted_at IS NULL AND until > %(now)s) AS recorded,
           bool_or(lifted_at IS NULL AND until > %(now)s AND enforced) AS held
      FROM otp_heldprefix GROUP BY organization_id, prefix
)
SELECT v.organization_id, v.prefix, rules.mode,
       count(*), count(*) FILTER (WHERE v.status = 'verified')
  FROM otp_verification v
  LEFT JOIN otp_otpsettings s ON s.organization_id = v.organization_id
 CROSS JOIN LATERAL (
       SELECT COALESCE(NULLIF(s.pumping, ''), %(mode)s) AS mode,
              COALESCE(s.pumping_minutes, %(minutes)s) * interval '1 minute' AS period,
              COALESCE(s.pumping_minimum, %(minimum)s) AS minimum,
              COALESCE(s.pumping_share, %(share)s) AS share) AS rules
  LEFT JOIN known ON known.organization_id = v.organization_id AND known.prefix = v.prefix
  LEFT JOIN {TAKEN} accepted ON accepted.id = v.message_id
 WHERE v.id >= %(first)s AND NOT v.test
   AND v.status <> 'pending' AND v.reason <> 'canceled'
   AND rules.mode <> 'off'
   AND v.created_at > %(now)s - rules.period - v.expiry * interval '1 second'
   AND (v.status = 'verified' OR accepted.id IS NOT NULL)
   AND v.created_at > COALESCE(known.lifted_at, '-infinity')
   AND (known.prefix IS NULL
        OR NOT CASE rules.mode WHEN 'record' THEN known.recorded ELSE known.held END)
 GROUP BY v.organization_id, v.prefix, rules.mode, rules.minimum, rules.share
HAVING count(*) >= rules.minimum
   AND count(*) FILTER (WHERE v.status = 'verified') * 100 < rules.share * count(*)
"""  # noqa: S608


def watch() -> list[HeldPrefix]:
    """Detect prefixes with suspected SMS pumping, hold or record the new ones, and return these."""
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
                "first": ids.first_id_at(now - LONGEST_PERIOD - LONGEST_EXPIRY),
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
    trail.record(
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
    """Lift a hold, so that codes are sent again; only codes sent from now on are counted.

    `address` is the operator's IP address. Raises ApiError CONFLICT where the hold is over.
    """
    now = clock.now()
    open_ones = HeldPrefix.objects.filter(pk=held.pk, lifted_at=None, until__gt=now)
    if not open_ones.update(lifted_at=now, lifted_by=actor, notice_due_at=None):
        raise ApiError(LimitReason.HOLD_OVER)
    trail.record(
        "otp.prefix_lifted",
        actor=actor,
        organization=held.organization,
        target=held.prefix,
        detail={"id": held.pk},
        address=address,
    )
