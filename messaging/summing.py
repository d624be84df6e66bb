"""Sums of organizations' hours: made once, when an hour is over, by beat.

Nothing is written for it on the path of a message. An hour that is over gets no new messages, so
those of it that have come to an end never change any more: they are summed. The few that have not
are written down by their ids, and counted from their own rows until they end; then they are added,
once, by the statement that strikes them off. Statements that sum see one moment, so that no message
is in both or in neither. What beat has not done yet is counted from the messages: being late costs
time and no truth.
"""

import uuid
from datetime import datetime, timedelta

from django.db import transaction

from accounts.models import Organization
from imissive import clock
from imissive.sql import server_cursor
from messaging.listing import CLOCKS_DIFFER
from messaging.models import Message, UsageMark
from messaging.usage import BACK, ENDED, LIVE, floor_hour, live_parameters

OVER_AFTER = timedelta(minutes=15)
"""How long after its end an hour is over: who accepts at its end may commit some time later."""
STEP = timedelta(days=1)
"""The most hours that are summed by one statement."""
AT_ONCE = 200
"""Organizations that are summed in one run."""
ADDED, ADDED_STEPS = 1_000, 50
"""Messages that one statement adds to sums, and how many such statements are in one run."""

# Of one snapshot, so that a message that ends meanwhile is an open one for both.
_SUM = f"""
WITH summed AS (
    INSERT INTO messaging_usagesum
           (organization_id, hour, status, sender, country, messages, parts, credits)
    SELECT %(organization)s, date_bin('1 hour', at, '2000-01-01T00:00Z'::timestamptz), status,
           sender, country, sum(messages), sum(parts), sum(credits)
      FROM ({LIVE.format(name="all")}) AS live
     WHERE status = ANY(%(ended)s)
     GROUP BY 2, 3, 4, 5
), opened AS (
    INSERT INTO messaging_usageopen (message_id, organization_id, hour)
    SELECT m.id, m.organization_id,
           date_bin('1 hour', m.created_at, '2000-01-01T00:00Z'::timestamptz)
      FROM messaging_message m
     WHERE m.organization_id = %(organization)s AND NOT m.test
       AND m.id >= %(all_first)s AND m.id < %(all_last)s
       AND m.created_at >= %(all_start)s AND m.created_at < %(all_end)s
       AND m.status <> ALL(%(ended)s)
)
UPDATE messaging_usagemark SET upto = %(all_end)s WHERE organization_id = %(organization)s
"""  # noqa: S608

_FOLD = """
WITH closed AS (
    DELETE FROM messaging_usageopen o USING messaging_message m
     WHERE m.id = o.message_id AND m.status = ANY(%(ended)s) AND o.message_id IN (
           SELECT other.message_id FROM messaging_usageopen other
             JOIN messaging_message own ON own.id = other.message_id
            WHERE own.status = ANY(%(ended)s)
            LIMIT %(limit)s)
    RETURNING o.organization_id, o.hour, m.status, m.sender, m.country, m.parts, m.price, m.id
), priced AS (
    SELECT c.*, c.price - COALESCE((
               SELECT sum(r.amount) FROM accounts_ledgerentry r
                WHERE r.kind = 'refund' AND r.reference = c.id
                  AND c.status = ANY(%(back)s) AND c.price > 0), 0) AS credits
      FROM closed c
), added AS (
    INSERT INTO messaging_usagesum AS s
           (organization_id, hour, status, sender, country, messages, parts, credits)
    SELECT organization_id, hour, status, sender, country, count(*), sum(parts), sum(credits)
      FROM priced GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT (organization_id, hour, status, sender, country) DO UPDATE
       SET messages = s.messages + EXCLUDED.messages, parts = s.parts + EXCLUDED.parts,
           credits = s.credits + EXCLUDED.credits
)
SELECT count(*) FROM closed
"""


def sum_up(now: datetime | None = None) -> None:
    """Sum what hours are over, and add what has come to an end since: some of both."""
    until = floor_hour((now or clock.now()) - OVER_AFTER)
    behind = (
        Organization.objects.exclude(usagemark__upto__gte=until)
        .order_by("usagemark__upto")
        .values_list("id", flat=True)
    )
    for organization_id in behind[:AT_ONCE]:
        while sum_hours(organization_id, until):
            pass
    for _ in range(ADDED_STEPS):
        if add_ended(ADDED) < ADDED:
            break


def sum_hours(organization_id: uuid.UUID, until: datetime) -> bool:
    """Sum the organization's next hours before `until`, STEP at most; whether there are more."""
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
                    "back": list(BACK),
                    "ended": ENDED,
                    **live_parameters("all", start, end),
                },
            )
    return end < until


def _locked_mark(organization_id: uuid.UUID, until: datetime) -> datetime | None:
    """From when on it is to be summed; None while another does it.

    An organization that was never summed begins with its first message.
    """
    first = Message.objects.filter(organization=organization_id).order_by("id")
    created = first.values_list("created_at", flat=True).first()
    # Ids follow the clock as closely as that: another may have been created a moment before.
    begins = until if created is None else min(floor_hour(created - CLOCKS_DIFFER), until)
    UsageMark.objects.get_or_create(organization_id=organization_id, defaults={"upto": begins})
    locked = UsageMark.objects.select_for_update(skip_locked=True)
    mark = locked.filter(organization=organization_id).first()
    return mark.upto if mark else None


def add_ended(limit: int) -> int:
    """Add messages to their hours' sums that have ended since those were made; how many."""
    with server_cursor() as cursor:
        cursor.execute(_FOLD, {"ended": ENDED, "back": list(BACK), "limit": limit})
        return int(cursor.fetchone()[0])
