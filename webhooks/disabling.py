"""Endpoints that are disabled because their receiver does not work: others are told, people too."""

import functools
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils.translation import gettext_noop

from imissive import bell, clock, ids
from webhooks import events
from webhooks.models import Endpoint, EventType

FAILING_TOO_LONG = timedelta(days=5)
"""An endpoint where no post succeeded for so long is disabled by the next one that fails."""

# Kept in English; the mail translates them.
GONE = gettext_noop("The receiver answered 410 Gone.")
FAILED_TOO_LONG = gettext_noop("Every post to the receiver failed for five days.")


def fails_too_long(failing_since: datetime | None) -> bool:
    """Whether it has been failing since so long ago that the next failure disables it."""
    return failing_since is not None and failing_since < clock.now() - FAILING_TOO_LONG


def disable_gone(endpoint_id: uuid.UUID) -> bool:
    """Disable an endpoint whose receiver answered 410. Whether this call did it."""
    return _disable(GONE, id=endpoint_id)


def disable_failing(endpoint_id: uuid.UUID) -> bool:
    """Disable an endpoint that fails too long, if it still does. Whether this call did it."""
    before = clock.now() - FAILING_TOO_LONG
    return _disable(FAILED_TOO_LONG, id=endpoint_id, failing_since__lt=before)


def _disable(reason: str, **which: Any) -> bool:
    """Post nothing more to the endpoint, tell the organization's others, and owe its people a mail.

    One transaction. Where it is disabled already, or not such any more: no effect.
    """
    with transaction.atomic():
        found = Endpoint.objects.select_for_update(no_key=True).filter(enabled=True, **which)
        endpoint = found.first()
        if endpoint is None:
            return False
        now = clock.now()
        endpoint.enabled = False
        endpoint.disabled_reason = reason
        endpoint.notice_due_at = now
        endpoint.save(update_fields=["enabled", "disabled_reason", "notice_due_at"])
        event = events.NewEvent(
            endpoint.organization_id,
            EventType.ENDPOINT_DISABLED,
            now,
            None,
            {
                "endpoint_id": ids.public_id(ids.ENDPOINT, endpoint.id),
                "url": endpoint.url,
                "reason": reason,
            },
        )
        events.record_and_ring_on_commit([event])
        transaction.on_commit(functools.partial(_ring_for_notice, endpoint.id))
    return True


def _ring_for_notice(endpoint_id: uuid.UUID) -> None:
    bell.ring("webhooks.tasks.tell_people", queue="webhooks", arguments=(endpoint_id.hex,))
