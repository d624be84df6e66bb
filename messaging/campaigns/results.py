"""Results of a campaign: counted periodically by a worker, and stored in the campaign's row.

Counting 100,000 messages takes too long for a page.
"""

import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from accounts.credits.fragments import REFUNDS
from imissive.core import clock
from imissive.core.sql import server_cursor
from messaging.campaigns.transitions import move
from messaging.models import Campaign
from messaging.models.campaign_states import State
from messaging.states import FINAL, UNDELIVERED, Status, sql_list

SHORTEST, LONGEST = timedelta(seconds=2), timedelta(minutes=1)
"""The interval between two counts: short at the start, longer as the campaign ages."""
_AGE_SHARE: Final = 60

_COUNTED: Final = [str(state) for state in (State.RUNNING, State.PAUSED, State.DELIVERING,
                                            State.CANCELING, State.CANCELED)]  # fmt: skip

# A refund has its message's id; few messages have one.
_COUNTS = f"""
SELECT m.status, m.error_code, count(*), sum(m.parts), sum(m.price), COALESCE(sum(r.amount), 0)
  FROM messaging_message m
  LEFT JOIN {REFUNDS} r
    ON r.reference = m.id AND m.price > 0 AND m.status IN {sql_list(UNDELIVERED)}
 WHERE m.batch_id = %s
 GROUP BY m.status, m.error_code
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Results:
    """Messages by status, failed and expired ones also by reason; prices in micro-credits."""

    by_status: dict[str, int] = field(default_factory=dict)
    by_reason: dict[str, int] = field(default_factory=dict)
    parts: int = 0
    price: int = 0
    refunded: int = 0

    @property
    def messages(self) -> int:
        return sum(self.by_status.values())

    @property
    def unfinished(self) -> int:
        return sum(count for status, count in self.by_status.items() if status not in FINAL)

    @property
    def cancelable(self) -> int:
        return sum(self.by_status.get(s, 0) for s in (Status.SCHEDULED, Status.QUEUED))

    @property
    def failures(self) -> int:
        return sum(self.by_status.get(s, 0) for s in (Status.FAILED, Status.EXPIRED))

    @property
    def delivery_rate(self) -> float | None:
        """The percentage of delivered messages among the completed ones."""
        delivered = self.by_status.get(Status.DELIVERED, 0)
        completed = delivered + self.failures
        return 100 * delivered / completed if completed else None

    @property
    def cost(self) -> int:
        """The charged price less the refunds."""
        return self.price - self.refunded

    def as_json(self) -> dict[str, Any]:
        return {
            "by_status": self.by_status,
            "by_reason": self.by_reason,
            "parts": self.parts,
            "price": self.price,
            "refunded": self.refunded,
        }


def results_of(campaign: Campaign) -> Results:
    """Return the results of the last count."""
    return Results(**campaign.results)


def count(campaign_id: uuid.UUID) -> bool:
    """Count the messages of a campaign that is due; finish it when all are completed."""
    now = clock.now()
    due = Campaign.objects.filter(pk=campaign_id, state__in=_COUNTED, due_at__lte=now)
    campaign = due.first()
    if campaign is None or campaign.state in (State.RUNNING, State.CANCELING):
        return False
    current = counted(campaign.batch_id)
    settled = not current.unfinished
    if campaign.state == State.DELIVERING and settled:
        move(campaign_id, State.FINISHED, due_at=None, results=current.as_json(), counted_at=now)
    else:
        # A paused or canceled campaign is counted again only while messages are unfinished.
        again = None if settled else now + _interval(campaign, now)
        same = Campaign.objects.filter(pk=campaign_id, state=campaign.state)
        same.update(due_at=again, results=current.as_json(), counted_at=now)
    return True


def refresh(campaign_id: uuid.UUID) -> None:
    """Count a running campaign, unless it was counted a moment ago."""
    now = clock.now()
    campaign = Campaign.objects.only("counted_at", "batch_id").get(pk=campaign_id)
    if campaign.counted_at is not None and now - campaign.counted_at < SHORTEST:
        return
    current = counted(campaign.batch_id)
    Campaign.objects.filter(pk=campaign_id).update(results=current.as_json(), counted_at=now)


def _interval(campaign: Campaign, now: datetime) -> timedelta:
    age = now - (campaign.ended_at or campaign.started_at or now)
    return min(max(SHORTEST, age / _AGE_SHARE), LONGEST)


def counted(batch_id: uuid.UUID | None) -> Results:
    """Return the results of a batch, counted from its messages."""
    if batch_id is None:
        return Results()
    with server_cursor() as cursor:
        cursor.execute(_COUNTS, [batch_id])
        rows = cursor.fetchall()
    statuses, reasons = Counter[str](), Counter[str]()
    for status, code, number, *_ in rows:
        statuses[status] += number
        if status in (Status.FAILED, Status.EXPIRED):
            reasons[code or status.upper()] += number
    parts, price, refunded = (int(sum(row[column] for row in rows)) for column in (3, 4, 5))
    return Results(dict(statuses), dict(reasons.most_common(20)), parts, price, refunded)
