"""Audited actions on webhooks: the dashboard's changes, each recorded in the audit log.

The log is kept forever, so it holds only the origin of a URL: customers put secrets into the path.
"""

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import transaction
from yarl import URL

from accounts.audit import trail
from accounts.models import Member
from webhooks.delivery import replay as event_replay
from webhooks.endpoints import endpoints
from webhooks.models import Delivery, Endpoint


def origin(url: str) -> str:
    """Return the origin of a URL, such as `https://example.com`, without secrets in the path."""
    return str(URL(url).origin())


@transaction.atomic
def create(
    member: Member, address: str, url: str, *, test: bool, description: str, events: Iterable[str]
) -> Endpoint:
    """Create an endpoint as `endpoints.create` does, and record it."""
    endpoint = endpoints.create(
        member.organization_id, url, test=test, description=description, events=events
    )
    _record("webhook.added", member, address, endpoint, events=endpoint.events, test=test)
    return endpoint


@transaction.atomic
def change(
    member: Member,
    address: str,
    endpoint: Endpoint,
    *,
    url: str,
    description: str,
    events: Iterable[str],
) -> None:
    """Change an endpoint as `endpoints.change` does, and record the changed fields, if any."""
    changed = endpoints.change(
        member.organization_id,
        endpoint.id,
        test=None,
        url=url,
        description=description,
        events=events,
    )
    detail: dict[str, Any] = {}
    if changed.url != endpoint.url:
        detail["url"] = {"from": origin(endpoint.url), "to": origin(changed.url)}
    for field in ("description", "events"):
        before, after = getattr(endpoint, field), getattr(changed, field)
        if before != after:
            detail[field] = {"from": before, "to": after}
    if detail:
        _record("webhook.changed", member, address, changed, **detail)


@transaction.atomic
def switch(member: Member, address: str, endpoint: Endpoint, *, enabled: bool) -> None:
    """Enable or disable an endpoint, and record it unless nothing changes."""
    endpoints.change(member.organization_id, endpoint.id, test=None, enabled=enabled)
    if endpoint.enabled is not enabled:
        action = "webhook.enabled" if enabled else "webhook.disabled"
        _record(action, member, address, endpoint)


@transaction.atomic
def rotate(member: Member, address: str, endpoint: Endpoint, overlap: timedelta) -> Endpoint:
    """Rotate the signing secret as `endpoints.rotate_secret` does, and record it."""
    rotated = endpoints.rotate_secret(member.organization_id, endpoint.id, overlap, test=None)
    hours = int(overlap.total_seconds() // 3600)
    _record("webhook.secret_rotated", member, address, rotated, overlap_hours=hours)
    return rotated


@transaction.atomic
def delete(member: Member, address: str, endpoint: Endpoint) -> None:
    """Delete an endpoint as `endpoints.delete` does, and record it."""
    endpoints.delete(endpoint)
    _record("webhook.deleted", member, address, endpoint)


@transaction.atomic
def replay(member: Member, address: str, delivery: Delivery) -> uuid.UUID:
    """Replay a delivery as `webhooks.delivery.replay.replay` does, and record it."""
    new_id = event_replay.replay(member.organization_id, delivery)
    detail = {"delivery": delivery.public_id}
    _record("webhook.replayed", member, address, delivery.endpoint, **detail)
    return new_id


@transaction.atomic
def replay_period(
    member: Member, address: str, endpoint: Endpoint, period: event_replay.ReplayPeriod
) -> tuple[int, uuid.UUID | None]:
    """Replay a period as `webhooks.delivery.replay.replay_period` does, and record it."""
    replayed, last = event_replay.replay_period(
        member.organization_id, endpoint.id, period, test=None
    )
    if replayed:
        times = {"from": period.since.isoformat(), "to": period.until.isoformat()}
        _record("webhook.span_replayed", member, address, endpoint, events=replayed, **times)
    return replayed, last


def _record(
    action: str, member: Member, address: str, endpoint: Endpoint, **detail: object
) -> None:
    trail.record(
        action,
        actor=member.user,
        organization=member.organization,
        target=origin(endpoint.url),
        detail={"id": endpoint.public_id} | detail,
        address=address,
    )
