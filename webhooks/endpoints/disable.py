"""Automatic disabling of failing endpoints, with an event to the other endpoints and a notice."""

import functools
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from imissive.core import clock, ids, wakeups
from imissive.core.problems import english
from webhooks.endpoints.reasons import DisabledReason
from webhooks.events import outbox
from webhooks.models import Endpoint, EventType

FAILING_TOO_LONG = timedelta(days=5)
"""If no post has succeeded for so long, the next failure disables the endpoint."""


def fails_too_long(failing_since: datetime | None) -> bool:
    """Return whether an endpoint has been failing for so long that the next failure disables it."""
    return failing_since is not None and failing_since < clock.now() - FAILING_TOO_LONG


def disable_gone(endpoint_id: uuid.UUID) -> bool:
    """Disable an endpoint whose receiver responded with 410 Gone; return whether this call did."""
    return _disable(DisabledReason.GONE, id=endpoint_id)


def disable_failing(endpoint_id: uuid.UUID) -> bool:
    """Disable an endpoint that is still failing for too long; return whether this call did."""
    before = clock.now() - FAILING_TOO_LONG
    return _disable(DisabledReason.FAILED_TOO_LONG, id=endpoint_id, failing_since__lt=before)


def _disable(reason: DisabledReason, **which: Any) -> bool:
    """Disable the endpoint, record `endpoint.disabled` for the others, and make a notice due.

    All in one transaction. No effect where the endpoint is disabled already or no longer matches
    the conditions `which`.
    """
    with transaction.atomic():
        found = Endpoint.objects.select_for_update(no_key=True).filter(enabled=True, **which)
        endpoint = found.first()
        if endpoint is None:
            return False
        now = clock.now()
        endpoint.enabled = False
        endpoint.disabled_reason = reason.name
        endpoint.notice_due_at = now
        endpoint.save(update_fields=["enabled", "disabled_reason", "notice_due_at"])
        event = outbox.NewEvent(
            endpoint.organization_id,
            EventType.ENDPOINT_DISABLED,
            now,
            None,
            {
                "endpoint_id": ids.public_id(ids.ENDPOINT, endpoint.id),
                "url": endpoint.url,
                "reason": english(reason.problem()),
            },
            endpoint.test,
        )
        outbox.record_and_wake_on_commit([event])
        transaction.on_commit(functools.partial(_wake_for_notice, endpoint.id))
    return True


def _wake_for_notice(endpoint_id: uuid.UUID) -> None:
    wakeups.wake("webhooks.tasks.tell_people", queue="webhooks", arguments=(endpoint_id.hex,))
