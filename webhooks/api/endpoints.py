"""REST API of webhook endpoints, on top of `webhooks.endpoints.endpoints`."""

from typing import Annotated

from drf_spectacular.utils import OpenApiParameter, extend_schema
from pydantic import Field
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.authentication import caller_of
from accounts.api.view import ApiView
from accounts.roles import Scope
from imissive.core import ids, outbound
from imissive.core.api.pagination import PAGE
from imissive.core.api.requests import (
    NO_NUL,
    STORABLE,
    Body,
    Limit,
    Query,
    parse_body,
    parse_no_body,
    parse_query,
)
from imissive.core.cursors import decode_cursor, page_of
from webhooks.api.representations import (
    EventName,
    NewWebhook,
    Webhook,
    WebhookDelivery,
    Webhooks,
    delivery_json,
    endpoint_json,
)
from webhooks.delivery import log, replay
from webhooks.endpoints import endpoints

Url = Annotated[
    str,
    Field(
        description="Where events are posted to: HTTPS, 500 characters at most.",
        # Only documented: the check in `webhooks.endpoints` has its own error.
        json_schema_extra={"format": "uri", "maxLength": outbound.MAX_URL},
    ),
]
Description = Annotated[
    str,
    Field(max_length=200, description="For yourself.", json_schema_extra={"pattern": NO_NUL}),
    STORABLE,
]
Events = Annotated[
    list[EventName],
    Field(max_length=50, description="The events it wants; none listed means all."),
]


class WebhookBody(Body):
    url: Url
    description: Description = ""
    events: Events = []


class WebhookChanges(Body):
    """What is not given stays as it is."""

    # The schema does not show a default_factory as a default: omitting a field differs from giving
    # its default.
    url: Url = Field(default_factory=str)
    description: Description = Field(default_factory=str)
    events: Events = Field(default_factory=list)
    enabled: bool = Field(
        default_factory=bool,
        description="true forgets why it was disabled and since when it failed, and posts what"
        " waits; false posts nothing more.",
    )


class WebhooksQuery(Query):
    limit: Limit = 50
    cursor: str | None = None


TAGS = ["webhooks"]
WEBHOOK_ID = OpenApiParameter(
    "webhook_id", str, OpenApiParameter.PATH, description="The endpoint's id, `whk_…`."
)


class WebhooksView(ApiView):
    """`GET` and `POST /v1/webhooks`"""

    required_scope = Scope.WEBHOOKS

    @extend_schema(
        operation_id="list_webhooks",
        tags=TAGS,
        summary="List the webhook endpoints",
        parameters=PAGE,
        responses={200: Webhooks},
    )
    def get(self, request: Request) -> Response:
        """The organization's endpoints, oldest first."""
        query = parse_query(request, WebhooksQuery)
        mine = endpoints.endpoints_of(caller_of(request).organization_id)
        if query.cursor is not None:
            mine = mine.filter(id__gt=decode_cursor(query.cursor))
        page, next_cursor = page_of(list(mine[: query.limit + 1]), query.limit)
        return Response({"data": [endpoint_json(one) for one in page], "next_cursor": next_cursor})

    @extend_schema(
        operation_id="create_webhook",
        tags=TAGS,
        summary="Make a webhook endpoint",
        request=WebhookBody,
        responses={201: NewWebhook},
    )
    def post(self, request: Request) -> Response:
        """The answer has the signing secret, this once. An organization has at most 50."""
        body = parse_body(request, WebhookBody)
        endpoint = endpoints.create(
            caller_of(request).organization_id,
            body.url,
            description=body.description,
            events=body.events,
        )
        return Response(endpoint_json(endpoint) | {"secret": endpoint.secret}, status=201)


class WebhookView(ApiView):
    """`GET`, `PATCH` and `DELETE /v1/webhooks/{webhook_id}`"""

    required_scope = Scope.WEBHOOKS

    @extend_schema(
        operation_id="get_webhook",
        tags=TAGS,
        summary="Read a webhook endpoint",
        parameters=[WEBHOOK_ID],
        responses={200: Webhook},
    )
    def get(self, request: Request, webhook_id: str) -> Response:
        """One endpoint, and how its receiver fares."""
        found = ids.parse_id(ids.ENDPOINT, webhook_id)
        return Response(endpoint_json(endpoints.find(caller_of(request).organization_id, found)))

    @extend_schema(
        operation_id="change_webhook",
        tags=TAGS,
        summary="Change a webhook endpoint",
        parameters=[WEBHOOK_ID],
        request=WebhookChanges,
        responses={200: Webhook},
    )
    def patch(self, request: Request, webhook_id: str) -> Response:
        """Changes the fields that are given. What is still to be posted goes to the new URL."""
        changes = parse_body(request, WebhookChanges).model_dump(exclude_unset=True)
        found = ids.parse_id(ids.ENDPOINT, webhook_id)
        endpoint = endpoints.change(caller_of(request).organization_id, found, **changes)
        return Response(endpoint_json(endpoint))

    @extend_schema(
        operation_id="delete_webhook",
        tags=TAGS,
        summary="Delete a webhook endpoint",
        parameters=[WEBHOOK_ID],
        responses={204: None},
    )
    def delete(self, request: Request, webhook_id: str) -> Response:
        """Nothing more is posted to it, and its deliveries are gone too."""
        found = ids.parse_id(ids.ENDPOINT, webhook_id)
        endpoints.delete(endpoints.find(caller_of(request).organization_id, found))
        return Response(status=204)


class TestView(ApiView):
    """`POST /v1/webhooks/{webhook_id}/test`"""

    required_scope = Scope.WEBHOOKS

    @extend_schema(
        operation_id="test_webhook",
        tags=TAGS,
        summary="Send a test event",
        parameters=[WEBHOOK_ID],
        request=None,
        responses={202: WebhookDelivery},
    )
    def post(self, request: Request, webhook_id: str) -> Response:
        """Sends `webhook.test` to this endpoint only, whatever events it wants.

        Read the delivery by its id to see what the receiver answered. 409 `CONFLICT` where the
        endpoint is disabled.
        """
        parse_no_body(request)
        organization_id = caller_of(request).organization_id
        found = ids.parse_id(ids.ENDPOINT, webhook_id)
        delivery_id = replay.send_test(organization_id, found)
        return Response(delivery_json(log.find(organization_id, delivery_id)), status=202)


class RotateSecretView(ApiView):
    """`POST /v1/webhooks/{webhook_id}/rotate-secret`"""

    required_scope = Scope.WEBHOOKS

    @extend_schema(
        operation_id="rotate_webhook_secret",
        tags=TAGS,
        summary="Rotate the signing secret",
        parameters=[WEBHOOK_ID],
        request=None,
        responses={200: NewWebhook},
    )
    def post(self, request: Request, webhook_id: str) -> Response:
        """The answer has the new secret, this once. For 24 hours posts are signed with both.

        Rotating again within that time ends the oldest one at once: do so twice after a leak.
        """
        parse_no_body(request)
        found = ids.parse_id(ids.ENDPOINT, webhook_id)
        endpoint = endpoints.rotate_secret(caller_of(request).organization_id, found)
        return Response(endpoint_json(endpoint) | {"secret": endpoint.secret})
