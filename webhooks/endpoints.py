"""Webhook endpoints: made, found, deleted. What the API and the dashboard call."""

import uuid
from collections.abc import Iterable

from django.db.models import QuerySet
from django.utils import timezone

from imissive import outbound
from imissive.errors import ApiError
from webhooks.models import Endpoint
from webhooks.signing import new_secret

MOST = 50
"""Endpoints of one organization: each event is written and posted once for each of them."""


def endpoints_of(organization_id: uuid.UUID) -> QuerySet[Endpoint]:
    """The organization's endpoints, oldest first."""
    return Endpoint.objects.filter(organization_id=organization_id, deleted_at=None).order_by("id")


def find(organization_id: uuid.UUID, endpoint_id: uuid.UUID | None) -> Endpoint:
    """That endpoint of the organization. Raises ApiError NOT_FOUND, another's included."""
    mine = endpoints_of(organization_id)
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
    try:
        outbound.parse_url(url)
    except outbound.OutboundError as error:
        told = error.reason[0].upper() + error.reason[1:] + "."
        raise ApiError("INVALID_URL", told, field="url") from None
    if endpoints_of(organization_id).count() >= MOST:
        raise ApiError("CONFLICT", f"An organization has at most {MOST} webhook endpoints.")
    return Endpoint.objects.create(
        organization_id=organization_id,
        url=url,
        description=description,
        events=list(dict.fromkeys(events)),
        secret=new_secret(),
    )


def delete(endpoint: Endpoint) -> None:
    """Post nothing more to the endpoint and show it to nobody. A sweep removes its deliveries."""
    Endpoint.objects.filter(id=endpoint.id).update(
        enabled=False,
        deleted_at=timezone.now(),
        secret="",
        previous_secret="",
    )
