"""REST API of the delivery log and of replays."""

import uuid
from typing import Annotated, Literal, get_args

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from pydantic import Field
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.authentication import caller_of
from accounts.api.view import ApiView
from accounts.roles import Scope
from imissive.core import ids
from imissive.core.api.pagination import PAGE
from imissive.core.api.requests import (
    Body,
    Limit,
    Moment,
    Query,
    parse_body,
    parse_no_body,
    parse_query,
)
from imissive.core.cursors import (
    CURSOR,
    decode_cursor,
    encode_cursor,
    page_of,
)
from imissive.core.errors import ApiError
from webhooks.api.endpoints import TAGS, WEBHOOK_ID
from webhooks.api.representations import (
    EventName,
    StatusName,
    WebhookDeliveries,
    WebhookDelivery,
    WebhookReplay,
    delivery_json,
)
from webhooks.delivery import log, replay
from webhooks.delivery.reasons import DeliveryReason
from webhooks.endpoints import endpoints
from webhooks.models import EventType


class LogQuery(Query):
    status: StatusName | None = None
    event: EventName | None = None
    message_id: str | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    limit: Limit = 50
    cursor: str | None = None


# Strict bodies take no text for a time.
At = Annotated[Moment, Field(strict=False)]
Cursor = Annotated[str, Field(json_schema_extra={"pattern": ids.pattern(CURSOR)})]


class ReplayBody(Body):
    since: At = Field(alias="from", description="Deliveries that were made from then on")
    until: At = Field(alias="to", description="and before then.")
    status: Literal["failed", "all"] = Field(
        "failed",
        description="failed: events that failed and have not arrived since; all: those that"
        " arrived too. What is still on its way is not doubled.",
    )
    events: list[EventName] = Field([], max_length=50, description="Only these; none means all.")
    cursor: Cursor | None = Field(None, description="The `next_cursor` of the call before.")


DELIVERY_ID = OpenApiParameter(
    "delivery_id", str, OpenApiParameter.PATH, description="The delivery's id, `dlv_…`."
)
FILTERS = [
    OpenApiParameter("status", str, enum=list(get_args(StatusName))),
    OpenApiParameter("event", str, enum=list(EventType.values)),
    OpenApiParameter(
        "message_id",
        {"type": "string", "pattern": ids.pattern(ids.MESSAGE)},
        description="Events about this message.",
    ),
    OpenApiParameter(
        "created_after", OpenApiTypes.DATETIME, description="Made then or later; with its offset."
    ),
    OpenApiParameter(
        "created_before", OpenApiTypes.DATETIME, description="Made earlier; with its offset."
    ),
]


class DeliveriesView(ApiView):
    """`GET /v1/webhooks/{webhook_id}/deliveries`"""

    required_scope = Scope.WEBHOOKS

    @extend_schema(
        operation_id="list_webhook_deliveries",
        tags=TAGS,
        summary="Read the delivery log",
        parameters=[WEBHOOK_ID, *FILTERS, *PAGE],
        responses={200: WebhookDeliveries},
    )
    def get(self, request: Request, webhook_id: str) -> Response:
        """The endpoint's deliveries, newest first: request, each attempt, and when the next is."""
        query = parse_query(request, LogQuery)
        wanted = log.Filter(
            status=query.status,
            event_type=query.event,
            message_id=_message_id(query.message_id),
            after=query.created_after,
            until=query.created_before,
            below=None if query.cursor is None else decode_cursor(query.cursor),
        )
        found = ids.parse_id(ids.ENDPOINT, webhook_id)
        endpoint = endpoints.find(caller_of(request).organization_id, found)
        rows = log.newest(endpoint.id, wanted, query.limit + 1)
        page, next_cursor = page_of(rows, query.limit)
        return Response({"data": [delivery_json(one) for one in page], "next_cursor": next_cursor})


class DeliveryView(ApiView):
    """`GET /v1/webhooks/deliveries/{delivery_id}`"""

    required_scope = Scope.WEBHOOKS

    @extend_schema(
        operation_id="get_webhook_delivery",
        tags=TAGS,
        summary="Read one delivery",
        parameters=[DELIVERY_ID],
        responses={200: WebhookDelivery},
    )
    def get(self, request: Request, delivery_id: str) -> Response:
        """One event on its way to one endpoint."""
        found = ids.parse_id(ids.DELIVERY, delivery_id)
        delivery = log.find(caller_of(request).organization_id, found)
        return Response(delivery_json(delivery))


class ReplayView(ApiView):
    """`POST /v1/webhooks/deliveries/{delivery_id}/replay`"""

    required_scope = Scope.WEBHOOKS

    @extend_schema(
        operation_id="replay_webhook_delivery",
        tags=TAGS,
        summary="Deliver an event again",
        parameters=[DELIVERY_ID],
        request=None,
        responses={202: WebhookDelivery},
    )
    def post(self, request: Request, delivery_id: str) -> Response:
        """A new delivery of the same event, with the same `webhook-id` and body.

        409 `CONFLICT` while the event is still on its way to the endpoint, or where the endpoint
        is disabled.
        """
        parse_no_body(request)
        organization_id = caller_of(request).organization_id
        found = ids.parse_id(ids.DELIVERY, delivery_id)
        delivery = log.find(organization_id, found)
        new_id = replay.replay(organization_id, delivery)
        return Response(delivery_json(log.find(organization_id, new_id)), status=202)


class ReplayPeriodView(ApiView):
    """`POST /v1/webhooks/{webhook_id}/replay`"""

    required_scope = Scope.WEBHOOKS

    @extend_schema(
        operation_id="replay_webhook_deliveries",
        tags=TAGS,
        summary="Deliver the events of a span again",
        parameters=[WEBHOOK_ID],
        request=ReplayBody,
        responses={202: WebhookReplay},
    )
    def post(self, request: Request, webhook_id: str) -> Response:
        """Each event once, the oldest first, with its own `webhook-id` and body.

        A call looks at 10,000 deliveries at most. Where there are more in the span, the answer has
        a `next_cursor`: repeat the call with it as `cursor`, until it is null. 409 `CONFLICT` where
        the endpoint is disabled.
        """
        body = parse_body(request, ReplayBody)
        if body.since >= body.until:
            raise ApiError(DeliveryReason.EMPTY_PERIOD, "to")
        period = replay.ReplayPeriod(
            since=body.since,
            until=body.until,
            delivered_too=body.status == "all",
            event_types=body.events,
            above=None if body.cursor is None else decode_cursor(body.cursor),
        )
        replayed, last = replay.replay_period(
            caller_of(request).organization_id, ids.parse_id(ids.ENDPOINT, webhook_id), period
        )
        next_cursor = None if last is None else encode_cursor(last)
        return Response({"replayed": replayed, "next_cursor": next_cursor}, status=202)


def _message_id(text: str | None) -> uuid.UUID | None:
    if text is None:
        return None
    found = ids.parse_id(ids.MESSAGE, text)
    if found is None:
        raise ApiError(DeliveryReason.MESSAGE_ID, "message_id")
    return found
