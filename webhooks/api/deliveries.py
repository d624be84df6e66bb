"""REST API of the delivery log and of replays."""

import uuid
from typing import Annotated, Literal

from pydantic import Field
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.authentication import caller_of
from accounts.api.view import ApiView
from accounts.roles import Scope
from imissive.core import ids
from imissive.core.api.fields import Cursor, IdOf
from imissive.core.api.operation import PathId, operation
from imissive.core.api.pagination import PageQuery, page_of
from imissive.core.api.requests import (
    Body,
    Moment,
)
from imissive.core.cursors import encode_cursor
from imissive.core.errors import ApiError
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


class LogQuery(PageQuery):
    status: StatusName | None = None
    event: EventName | None = None
    message_id: Annotated[uuid.UUID, IdOf(ids.MESSAGE, "a message's id, msg_…")] | None = Field(
        None, description="Only events about this message."
    )
    created_after: Moment | None = Field(
        None, description="Created at or after, with a UTC offset."
    )
    created_before: Moment | None = Field(None, description="Created earlier; with UTC offset.")


# Strict bodies do not convert a text to a time.
At = Annotated[Moment, Field(strict=False)]


class ReplayBody(Body):
    since: At = Field(alias="from", description="Deliveries created at or after this time")
    until: At = Field(alias="to", description="and before this time.")
    status: Literal["failed", "all"] = Field(
        "failed",
        description="failed: events that failed and have not been delivered since; all: delivered"
        " events, too. Events with a pending delivery are skipped.",
    )
    events: list[EventName] = Field([], max_length=50, description="Only these; empty means all.")
    cursor: Cursor | None = Field(None, description="The `next_cursor` of the previous call.")


class DeliveriesView(ApiView):
    """`GET /v1/webhooks/{webhook_id}/deliveries`"""

    required_scope = Scope.WEBHOOKS

    @operation(
        "list_webhook_deliveries",
        "Read the delivery log",
        query=LogQuery,
        responses={200: WebhookDeliveries},
    )
    def get(self, request: Request, webhook_id: PathId, query: LogQuery) -> Response:
        """Return the endpoint's deliveries, newest first, each with its request and attempts."""
        filters = log.Filter(
            status=query.status,
            event_type=query.event,
            message_id=query.message_id,
            after=query.created_after,
            until=query.created_before,
            below=query.cursor,
        )
        caller = caller_of(request)
        endpoint = endpoints.find(caller.organization_id, webhook_id, test=caller.test)
        rows = log.newest(endpoint.id, filters, query.limit + 1)
        page, next_cursor = page_of(rows, query.limit)
        content: WebhookDeliveries = {
            "data": [delivery_json(one) for one in page],
            "next_cursor": next_cursor,
        }
        return Response(content)


class DeliveryView(ApiView):
    """`GET /v1/webhooks/deliveries/{delivery_id}`"""

    required_scope = Scope.WEBHOOKS

    @operation("get_webhook_delivery", "Read one delivery", responses={200: WebhookDelivery})
    def get(self, request: Request, delivery_id: PathId) -> Response:
        """Return the delivery of one event to one endpoint."""
        caller = caller_of(request)
        delivery = log.find(caller.organization_id, delivery_id, test=caller.test)
        return Response(delivery_json(delivery))


class ReplayView(ApiView):
    """`POST /v1/webhooks/deliveries/{delivery_id}/replay`"""

    required_scope = Scope.WEBHOOKS

    @operation(
        "replay_webhook_delivery", "Deliver an event again", responses={202: WebhookDelivery}
    )
    def post(self, request: Request, delivery_id: PathId) -> Response:
        """Create a new delivery of the same event, with the same `webhook-id` and body.

        409 `CONFLICT` while a delivery of the event to the endpoint is pending, or if the endpoint
        is disabled.
        """
        caller = caller_of(request)
        delivery = log.find(caller.organization_id, delivery_id, test=caller.test)
        new_id = replay.replay(caller.organization_id, delivery)
        replayed = log.find(caller.organization_id, new_id, test=caller.test)
        return Response(delivery_json(replayed), status=202)


class ReplayPeriodView(ApiView):
    """`POST /v1/webhooks/{webhook_id}/replay`"""

    required_scope = Scope.WEBHOOKS

    @operation(
        "replay_webhook_deliveries",
        "Deliver the events of a period again",
        body=ReplayBody,
        responses={202: WebhookReplay},
    )
    def post(self, request: Request, webhook_id: PathId, body: ReplayBody) -> Response:
        """Deliver each event of the period once, oldest first, with its own `webhook-id` and body.

        A call examines at most 10,000 deliveries. If the period has more, the response has a
        `next_cursor`: repeat the call with it as `cursor` until it is null. 409 `CONFLICT` if the
        endpoint is disabled.
        """
        if body.since >= body.until:
            raise ApiError(DeliveryReason.EMPTY_PERIOD, "to")
        period = replay.ReplayPeriod(
            since=body.since,
            until=body.until,
            delivered_too=body.status == "all",
            event_types=body.events,
            above=body.cursor,
        )
        caller = caller_of(request)
        replayed, last = replay.replay_period(
            caller.organization_id, webhook_id, period, test=caller.test
        )
        next_cursor = None if last is None else encode_cursor(last)
        content: WebhookReplay = {"replayed": replayed, "next_cursor": next_cursor}
        return Response(content, status=202)
