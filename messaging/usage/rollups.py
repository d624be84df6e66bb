"""Hourly usage rollups, which beat writes once for each organization's hour after it is over.

They cost nothing on the path of a message. An hour that is over gets no new messages, and its
completed messages never change: these are summed. The few others are recorded by id as open, and
counted from their own rows until they complete; then one statement deletes the record and adds them
to the rollup. Each statement sees one snapshot, so no message is counted twice or missed. Hours
without a rollup are counted from the messages: a late rollup costs time, not accuracy.
"""

import uuid
from datetime import datetime, timedelta

from django.db import transaction

from accounts.credits.fragments import REFUNDS
from accounts.models import Organization
from imissive.core import clock
from imissive.core.sql import server_cursor
from messaging.log.query import CLOCKS_DIFFER
from messaging.models import Message, UsageMark
from messaging.usage.usage import (
    FINAL_STATUSES,
    LIVE,
    REFUNDABLE_STATUSES,
    floor_hour,
    live_parameters,
)

OVER_AFTER = timedelta(minutes=15)
"""An hour is rolled up this long after its end: messages accepted then may be committed later."""
STEP = timedelta(days=1)
"""The most hours that one statement rolls up."""
ORGANIZATIONS_PER_RUN = 200
"""The most organizations that one run rolls up."""
ADDED_PER_STATEMENT, STATEMENTS_PER_RUN = 1_000, 50
"""The most completed messages that one statement adds, and the most such statements in one run."""

# One snapshot, so that a message that completes in the meantime is open in both parts.
_SUM = f"""
WITH summed AS (
    INSERT INTO messaging_usagesum
           (organization_id, hour, status, sender, country, messages, parts, credits)
    SELECT %(organization)s, date_bin('1 hour', at, '2000-01-01T00:00Z'::timestamptz), status,
           sender, country, sum(messages), sum(parts), sum(credits)
      FROM ({LIVE.format(name="all")}) AS live
     WHERE status = ANY(%(final)s)
     GROUP BY 2, 3, 4, 5
), opened AS (
    INSERT INTO messaging_usageopen (message_id, organization_id, hour)
    SELECT m.id, m.organization_id,
           date_bin('1 hour', m.created_at, '2000-01-01T00:00Z'::timestamptz)
      FROM messaging_message m
     WHERE m.organization_id = %(organization)s AND NOT m.test
       AND m.id >= %(all_first)s AND m.id < %(all_last)s
       AND m.created_at >= %(all_start)s AND m.created_at < %(all_end)s
       AND m.status <> ALL(%(final)s)
)
UPDATE messaging_usagemark SET upto = %(all_end)s WHERE organization_id = %(organization)s
"""  # noqa: S608

_ADD_COMPLETED = f"""
WITH completed AS (
    DELETE FROM messaging_usageopen o USING messaging_message m
     WHERE m.id = o.message_id AND m.status = ANY(%(final)s) AND o.message_id IN (
           SELECT other.message_id FROM messaging_usageopen other
             JOIN messaging_message own ON own.id = other.message_id
            WHERE own.status = ANY(%(final)s)
            LIMIT %(limit)s)
    RETURNING o.organization_id, o.hour, m.status, m.sender, m.country, m.parts, m.price, m.id
), priced AS (
    SELECT c.*, c.price - COALESCE((
               SELECT sum(r.amount) FROM {REFUNDS} r
                WHERE r.reference = c.id
                  AND c.status = ANY(%(refundable)s) AND c.price > 0), 0) AS credits
      FROM completed c
), added AS (
    INSERT INTO messaging_usagesum AS s
           (organization_id, hour, status, sender, country, messages, parts, credits)
    SELECT organization_id, hour, status, sender, country, count(*), sum(parts), sum(credits)
      FROM priced GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT (organization_id, hour, status, sender, country) DO UPDATE
       SET messages = s.messages + EXCLUDED.messages, parts = s.parts + EXCLUDED.parts,
           credits = s.credits + EXCLUDED.credits
)
SELECT count(*) FROM completed
"""  # noqa: S608


def roll_up(now: datetime | None = None) -> None:
    """Roll up hours that are over, and add messages that completed since: a limited number of each.

    `now` (aware) is the current time by default.
    """
    until = floor_hour((now or clock.now()) - OVER_AFTER)
    behind = (
        Organization.objects.exclude(usagemark__upto__gte=until)
        .order_by("usagemark__upto")
        .values_list("id", flat=True)
    )
    for organization_id in behind[:ORGANIZATIONS_PER_RUN]:
        while roll_up_hours(organization_id, until):
            pass
    for _ in range(STATEMENTS_PER_RUN):
        if add_completed(ADDED_PER_STATEMENT) < ADDED_PER_STATEMENT:
            break


def roll_up_hours(organization_id: uuid.UUID, until: datetime) -> bool:
    """Roll up the organization's next hours before `until`, STEP at most.

    Return whether there are more.
    """
    with transaction.atomic():
        start = _locked_mark(organization_id, until)
        if start is None or start >= until:
            return False
        end = min(start + STEP, until)
        with server_cursor() as cursor:
            cursor.execute(
                _SUM,
                {
                    "organization": organization_id,
                    "test": False,
                    "refundable": REFUNDABLE_STATUSES,
                    "final": FINAL_STATUSES,
                    **live_parameters("all", start, end),
                },
            )
    return end < until


def _locked_mark(organization_id: uuid.UUID, until: datetime) -> datetime | None:
    """Lock and return the time from which on the organization is to be rolled up.

    None while another process holds the lock. An organization without rollups starts with the hour
    of its first message.
    """
    first = Message.objects.filter(organization=organization_id).order_by("id")
    created = first.values_list("created_at", flat=True).first()
    # Ids follow the clocks of several machines: another message may have been created earlier, by
    # CLOCKS_DIFFER at most.
    start = until if created is None else min(floor_hour(created - CLOCKS_DIFFER), until)
    UsageMark.objects.get_or_create(organization_id=organization_id, defaults={"upto": start})
    locked = UsageMark.objects.select_for_update(skip_locked=True)
    mark = locked.filter(organization=organization_id).first()
    return mark.upto if mark else None


def add_completed(limit: int) -> int:
    """Add up to `limit` open messages that have completed to their hours' rollups.

    Return their number.
    """
    with server_cursor() as cursor:
        cursor.execute(
            _ADD_COMPLETED,
            {"final": FINAL_STATUSES, "refundable": REFUNDABLE_STATUSES, "limit": limit},
        )
        return int(cursor.fetchone()[0])
