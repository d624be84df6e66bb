"""Health of an organization's webhook endpoints: failures, waiting deliveries, last success."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from imissive.core.sql import server_cursor
from webhooks.models import EventType

MAX_COUNTED = 10_000
"""Maximum number of waiting deliveries that are counted for one endpoint."""

# Both subqueries use existing indexes: waiting deliveries that of the queue, and the last success
# that of the log, in which each event type is a range of its own.
_HEALTH = """
SELECT e.id, e.url, e.enabled, e.disabled_reason, e.failing_since, e.paused_until,
       (SELECT count(*) FROM (
            SELECT 1 FROM webhooks_delivery d
             WHERE d.endpoint_id = e.id AND d.status IN ('pending', 'sending')
             LIMIT %(counted)s) AS waiting),
       (SELECT max(newest.finished_at) FROM unnest(%(types)s::text[]) AS type
         CROSS JOIN LATERAL (
               SELECT d.finished_at FROM webhooks_delivery d
                WHERE d.endpoint_id = e.id AND d.status = 'delivered' AND d.event_type = type
                ORDER BY d.id DESC LIMIT 1) AS newest)
  FROM webhooks_endpoint e
 WHERE e.organization_id = %(organization)s AND e.deleted_at IS NULL
 ORDER BY e.id
"""


@dataclass(frozen=True, slots=True)
class Health:
    """State of an endpoint; `waiting` is its number of unfinished deliveries, up to MAX_COUNTED."""

    endpoint_id: uuid.UUID
    url: str
    enabled: bool
    disabled_reason: str
    failing_since: datetime | None
    paused_until: datetime | None
    waiting: int
    last_success: datetime | None

    @property
    def state(self) -> str:
        """Return `disabled`, `failing` or `working`."""
        if not self.enabled:
            return "disabled"
        return "failing" if self.failing_since is not None else "working"

    @property
    def many(self) -> bool:
        """Return whether more deliveries may wait than were counted."""
        return self.waiting >= MAX_COUNTED


def health_of(organization_id: uuid.UUID) -> list[Health]:
    """Return the health of the organization's endpoints, oldest first, in one statement."""
    with server_cursor() as cursor:
        cursor.execute(
            _HEALTH,
            {
                "organization": organization_id,
                "counted": MAX_COUNTED,
                "types": list(EventType.values),
            },
        )
        return [Health(*row) for row in cursor.fetchall()]
