"""What people do with webhooks on the dashboard: as the API does it, and in the audit log.

The log is kept for ever and holds of a URL only its origin: customers put secrets into the path.
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
    """The URL without what may be secret in it, such as `https://example.com`."""
    return str(URL(url).origin())


@transaction.atomic
def create(
    member: Member, address: str, url: str, *, description: str, events: Iterable[str]
) -> Endpoint:
    """As `endpoints.create`."""
    endpoint = endpoints.create(member.organization_id, url, description=description, events=events)
    _record("webhook.added", member, address, endpoint, events=endpoint.events)
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
    """As `endpoints.change`; where nothing changes, nothing is recorded."""
    changed = endpoints.change(
        member.organization_id, endpoint.id, url=url, description=description, events=events
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
    """Post to the endpoint from now on, or not; doing it again changes nothing."""
    endpoints.change(member.organization_id, endpoint.id, enabled=enabled)
    if endpoint.enabled is not enabled:
        action = "webhook.enabled" if enabled else "webhook.disabled"
        _record(action, member, address, endpoint)


@transaction.atomic
def rotate(member: Member, address: str, endpoint: Endpoint, overlap: timedelta) -> Endpoint:
    """As `endpoints.rotate_secret`."""
    rotated = endpoints.rotate_secret(member.organization_id, endpoint.id, overlap)
    hours = int(overlap.total_seconds() // 3600)
    _record("webhook.secret_rotated", member, address, rotated, overlap_hours=hours)
    return rotated


@transaction.atomic
def delete(member: Member, address: str, endpoint: Endpoint) -> None:
    """As `endpoints.delete`."""
    endpoints.delete(endpoint)
    _record("webhook.deleted", member, address, endpoint)


@transaction.atomic
def replay(member: Member, address: str, delivery: Delivery) -> uuid.UUID:
    """As `replaying.replay`."""
    new_id = event_replay.replay(member.organization_id, delivery)
    detail = {"delivery": delivery.public_id}
    _record("webhook.replayed", member, address, delivery.endpoint, **detail)
    return new_id


@transaction.atomic
def replay_span(
    member: Member, address: str, endpoint: Endpoint, span: event_replay.Span
) -> tuple[int, uuid.UUID | None]:
    """As `replaying.replay_span`."""
    replayed, last = event_replay.replay_span(member.organization_id, endpoint.id, span)
    if replayed:
        times = {"from": span.since.isoformat(), "to": span.until.isoformat()}
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
