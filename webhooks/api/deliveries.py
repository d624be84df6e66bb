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
        None, description="Events about this message."
    )
    created_after: Moment | None = Field(None, description="Made then or later; with its offset.")
    created_before: Moment | None = Field(None, description="Made earlier; with its offset.")


# Strict bodies take no text for a time.
At = Annotated[Moment, Field(strict=False)]


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
        """The endpoint's deliveries, newest first: request, each attempt, and when the next is."""
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
        """One event on its way to one endpoint."""
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
        """A new delivery of the same event, with the same `webhook-id` and body.

        409 `CONFLICT` while the event is still on its way to the endpoint, or where the endpoint
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
        "Deliver the events of a span again",
        body=ReplayBody,
        responses={202: WebhookReplay},
    )
    def post(self, request: Request, webhook_id: PathId, body: ReplayBody) -> Response:
        """Each event once, the oldest first, with its own `webhook-id` and body.

        A call looks at 10,000 deliveries at most. Where there are more in the span, the answer has
        a `next_cursor`: repeat the call with it as `cursor`, until it is null. 409 `CONFLICT` where
        the endpoint is disabled.
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
