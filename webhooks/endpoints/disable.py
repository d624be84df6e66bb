"""Endpoints that are disabled because their receiver does not work: others are told, people too."""

import functools
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from imissive.core import ids, wakeups
from imissive.core.problems import english
from webhooks.endpoints.reasons import DisabledReason
from webhooks.events import outbox
from webhooks.models import Endpoint, EventType

FAILING_TOO_LONG = timedelta(days=5)
"""An endpoint where no post succeeded for so long is disabled by the next one that fails."""


def fails_too_long(failing_since: datetime | None) -> bool:
    """Whether it has been failing since so long ago that the next failure disables it."""
    return failing_since is not None and failing_since < timezone.now() - FAILING_TOO_LONG


def disable_gone(endpoint_id: uuid.UUID) -> bool:
    """Disable an endpoint whose receiver answered 410. Whether this call did it."""
    return _disable(DisabledReason.GONE, id=endpoint_id)


def disable_failing(endpoint_id: uuid.UUID) -> bool:
    """Disable an endpoint that fails too long, if it still does. Whether this call did it."""
    before = timezone.now() - FAILING_TOO_LONG
    return _disable(DisabledReason.FAILED_TOO_LONG, id=endpoint_id, failing_since__lt=before)


def _disable(reason: DisabledReason, **which: Any) -> bool:
    """Post nothing more to the endpoint, tell the organization's others, and owe its people a mail.

    One transaction. Where it is disabled already, or not such any more: no effect.
    """
    with transaction.atomic():
        found = Endpoint.objects.select_for_update(no_key=True).filter(enabled=True, **which)
        endpoint = found.first()
        if endpoint is None:
            return False
        now = timezone.now()
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
        )
        outbox.record_and_wake_on_commit([event])
        transaction.on_commit(functools.partial(_wake_for_notice, endpoint.id))
    return True


def _wake_for_notice(endpoint_id: uuid.UUID) -> None:
    wakeups.wake("webhooks.tasks.tell_people", queue="webhooks", arguments=(endpoint_id.hex,))
