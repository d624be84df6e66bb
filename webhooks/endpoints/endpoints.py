"""Webhook endpoints: create, find, change, rotate the secret, delete. Used by API and dashboard.

`test` is the mode, live or test, which belongs to an endpoint's scope as its organization does: of
the other mode nothing is found. None is both, for pages, where a member sees both.
"""

import functools
import uuid
from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet

from imissive.core import clock, outbound
from imissive.core.errors import ApiError
from imissive.core.lookups import existing_row
from webhooks.endpoints.reasons import EndpointReason
from webhooks.endpoints.signing import new_secret
from webhooks.events import outbox
from webhooks.models import Endpoint

MOST = 50
"""Maximum number of an organization's endpoints in each mode: each event is posted to all."""
ROTATION = timedelta(hours=24)
"""Overlap after a rotation, in which the previous secret signs too."""


def endpoints_of(organization_id: uuid.UUID, *, test: bool | None) -> QuerySet[Endpoint]:
    """Return the organization's endpoints, oldest first."""
    mine = Endpoint.objects.filter(organization_id=organization_id, deleted_at=None)
    return (mine if test is None else mine.filter(test=test)).order_by("id")


def find(
    organization_id: uuid.UUID, endpoint_id: uuid.UUID | None, *, test: bool | None
) -> Endpoint:
    """Return the organization's endpoint with that id. Raises ApiError NOT_FOUND."""
    mine = endpoints_of(organization_id, test=test)
    return existing_row(mine, endpoint_id, EndpointReason.NO_SUCH_ENDPOINT)


def lock(
    organization_id: uuid.UUID, endpoint_id: uuid.UUID | None, *, test: bool | None
) -> Endpoint:
    """Find the endpoint and lock it against changes and replays until the transaction ends."""
    # NO KEY UPDATE: events may be recorded for it meanwhile.
    mine = endpoints_of(organization_id, test=test).select_for_update(no_key=True)
    return existing_row(mine, endpoint_id, EndpointReason.NO_SUCH_ENDPOINT)


def create(
    organization_id: uuid.UUID,
    url: str,
    *,
    test: bool,
    description: str = "",
    events: Iterable[str] = (),
) -> Endpoint:
    """Create an enabled endpoint with a new signing secret, which is to be shown only once.

    `events` are values of EventType; empty means all. Raises ApiError: INVALID_URL for a URL that
    must not be posted to, CONFLICT where the organization has too many endpoints already.
    """
    check_url(url)
    if endpoints_of(organization_id, test=test).count() >= MOST:
        raise ApiError(EndpointReason.TOO_MANY, most=MOST)
    return Endpoint.objects.create(
        organization_id=organization_id,
        test=test,
        url=url,
        description=description,
        events=list(dict.fromkeys(events)),
        secret=new_secret(),
    )


def change(
    organization_id: uuid.UUID,
    endpoint_id: uuid.UUID | None,
    *,
    test: bool | None,
    url: str | None = None,
    description: str | None = None,
    events: Iterable[str] | None = None,
    enabled: bool | None = None,
) -> Endpoint:
    """Change the fields that are not None and return the endpoint.

    Pending deliveries of a re-enabled endpoint are posted immediately. Raises ApiError: NOT_FOUND,
    INVALID_URL.
    """
    with transaction.atomic():
        endpoint = lock(organization_id, endpoint_id, test=test)
        if url is not None and url != endpoint.url:
            check_url(url)
            endpoint.url = url
            # Another receiver, which has not failed yet.
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
        transaction.on_commit(functools.partial(_wake, endpoint))
    return endpoint


def _wake(endpoint: Endpoint) -> None:
    if endpoint.enabled:
        outbox.wake([endpoint.id])


def rotate_secret(
    organization_id: uuid.UUID,
    endpoint_id: uuid.UUID | None,
    overlap: timedelta = ROTATION,
    *,
    test: bool | None,
) -> Endpoint:
    """Give the endpoint a new signing secret, which is to be shown only once.

    The previous secret signs too during the overlap; the one before that stops immediately. Raises
    ApiError NOT_FOUND.
    """
    with transaction.atomic():
        endpoint = lock(organization_id, endpoint_id, test=test)
        endpoint.previous_secret, endpoint.previous_secret_until = "", None
        if overlap:
            endpoint.previous_secret = endpoint.secret
            endpoint.previous_secret_until = clock.now() + overlap
        endpoint.secret = new_secret()
        endpoint.save(update_fields=["secret", "previous_secret", "previous_secret_until"])
    return endpoint


def delete(endpoint: Endpoint) -> None:
    """Mark the endpoint as deleted: disabled and hidden. A sweep removes its deliveries later."""
    Endpoint.objects.filter(id=endpoint.id).update(
        enabled=False,
        deleted_at=clock.now(),
        secret="",
        previous_secret="",
    )


def check_url(url: str) -> None:
    """Raise ApiError INVALID_URL for a URL that must not be posted to, judged by its text alone."""
    try:
        outbound.parse_url(url)
    except outbound.UrlRefused as error:
        raise ApiError.of(error.problem.at("url")) from None
