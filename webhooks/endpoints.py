"""Webhook endpoints: made, found, changed, deleted. What the API and the dashboard call."""

import functools
import uuid
from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet

from imissive import clock, outbound
from imissive.errors import ApiError
from webhooks import events
from webhooks.models import Endpoint
from webhooks.signing import new_secret

MOST = 50
"""Endpoints of one organization: each event is written and posted once for each of them."""
ROTATION = timedelta(hours=24)
"""How long the secret before the present one signs too."""


def endpoints_of(organization_id: uuid.UUID) -> QuerySet[Endpoint]:
    """The organization's endpoints, oldest first."""
    return Endpoint.objects.filter(organization_id=organization_id, deleted_at=None).order_by("id")


def find(organization_id: uuid.UUID, endpoint_id: uuid.UUID | None) -> Endpoint:
    """That endpoint of the organization. Raises ApiError NOT_FOUND, another's included."""
    return _found(endpoints_of(organization_id), endpoint_id)


def lock(organization_id: uuid.UUID, endpoint_id: uuid.UUID | None) -> Endpoint:
    """As `find`, held by the caller's transaction: nobody else changes it or replays to it."""
    # NO KEY: events may be written for it meanwhile.
    mine = endpoints_of(organization_id).select_for_update(no_key=True)
    return _found(mine, endpoint_id)


def _found(mine: QuerySet[Endpoint], endpoint_id: uuid.UUID | None) -> Endpoint:
    endpoint = None if endpoint_id is None else mine.filter(id=endpoint_id).first()
    if endpoint is None:
        raise ApiError("NOT_FOUND", "There is no such webhook endpoint.")
    return endpoint


def create(
    organization_id: uuid.UUID, url: str, *, description: str = "", events: Iterable[str] = ()
) -> Endpoint:
    """A new, enabled endpoint with a fresh secret, which its maker is told this once.

    `events` are of EventType; none means all. Raises ApiError: INVALID_URL for what may not be
    posted to, CONFLICT where there are too many already.
    """
    check_url(url)
    if endpoints_of(organization_id).count() >= MOST:
        raise ApiError("CONFLICT", f"An organization has at most {MOST} webhook endpoints.")
    return Endpoint.objects.create(
        organization_id=organization_id,
        url=url,
        description=description,
        events=list(dict.fromkeys(events)),
        secret=new_secret(),
    )


def change(
    organization_id: uuid.UUID,
    endpoint_id: uuid.UUID | None,
    *,
    url: str | None = None,
    description: str | None = None,
    events: Iterable[str] | None = None,
    enabled: bool | None = None,
) -> Endpoint:
    """Change what is not None. What waited for an endpoint that is enabled again goes out at once.

    Raises ApiError: NOT_FOUND, INVALID_URL.
    """
    with transaction.atomic():
        endpoint = lock(organization_id, endpoint_id)
        if url is not None and url != endpoint.url:
            check_url(url)
            endpoint.url = url
            # Another receiver, which did not fail yet.
            endpoint.failing_since = endpoint.paused_until = None
        if description is not None:
            endpoint.description = description
        if events is not None:
            endpoint.events = list(dict.fromkeys(events))
        if enabled is not None and enabled is not endpoint.enabled:
            endpoint.enabled = enabled
            endpoint.disabled_reason = ""
            endpoint.failing_since = endpoint.paused_until = endpoint.notice_due_at = None
        endpoint.save()
        transaction.on_commit(functools.partial(_ring, endpoint))
    return endpoint


def _ring(endpoint: Endpoint) -> None:
    if endpoint.enabled:
        events.ring([endpoint.id])


def rotate_secret(
    organization_id: uuid.UUID, endpoint_id: uuid.UUID | None, overlap: timedelta = ROTATION
) -> Endpoint:
    """Give the endpoint a fresh secret, which the caller is told this once.

    The one before signs too for the overlap; the one before that no more. Raises ApiError
    NOT_FOUND.
    """
    with transaction.atomic():
        endpoint = lock(organization_id, endpoint_id)
        endpoint.previous_secret, endpoint.previous_secret_until = "", None
        if overlap:
            endpoint.previous_secret = endpoint.secret
            endpoint.previous_secret_until = clock.now() + overlap
        endpoint.secret = new_secret()
        endpoint.save(update_fields=["secret", "previous_secret", "previous_secret_until"])
    return endpoint


def delete(endpoint: Endpoint) -> None:
    """Post nothing more to the endpoint and show it to nobody. A sweep removes its deliveries."""
    Endpoint.objects.filter(id=endpoint.id).update(
        enabled=False,
        deleted_at=clock.now(),
        secret="",
        previous_secret="",
    )


def check_url(url: str) -> None:
    """Raises ApiError INVALID_URL where nothing may be posted there, as far as its text tells."""
    try:
        outbound.parse_url(url)
    except outbound.OutboundError as error:
        told = error.reason[0].upper() + error.reason[1:] + "."
        raise ApiError("INVALID_URL", told, field="url") from None
