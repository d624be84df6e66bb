"""REST API of webhook endpoints, on top of `webhooks.endpoints.endpoints`."""

from typing import Annotated

from pydantic import Field
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.authentication import caller_of
from accounts.api.view import ApiView
from accounts.roles import Scope
from imissive.core import outbound
from imissive.core.api.operation import PathId, operation
from imissive.core.api.pagination import PageQuery, page_of
from imissive.core.api.requests import (
    NO_NUL,
    STORABLE,
    Body,
)
from webhooks.api.representations import (
    EventName,
    NewWebhook,
    Webhook,
    WebhookDelivery,
    Webhooks,
    delivery_json,
    endpoint_json,
    new_endpoint_json,
)
from webhooks.delivery import log, replay
from webhooks.endpoints import endpoints

Url = Annotated[
    str,
    Field(
        description="The HTTPS URL to which events are posted, at most 500 characters.",
        # Only documented: the check in `webhooks.endpoints` has its own error.
        json_schema_extra={"format": "uri", "maxLength": outbound.MAX_URL},
    ),
]
Description = Annotated[
    str,
    Field(max_length=200, description="Your own note.", json_schema_extra={"pattern": NO_NUL}),
    STORABLE,
]
Events = Annotated[
    list[EventName],
    Field(max_length=50, description="The subscribed events; empty means all."),
]


class WebhookBody(Body):
    url: Url
    description: Description = ""
    events: Events = []


class WebhookChanges(Body):
    """The changes; omitted fields stay unchanged."""

    # The schema does not show a default_factory as a default: omitting a field differs from sending
    # its default.
    url: Url = Field(default_factory=str)
    description: Description = Field(default_factory=str)
    events: Events = Field(default_factory=list)
    enabled: bool = Field(
        default_factory=bool,
        description="true posts the pending deliveries and clears `disabled_reason` and"
        " `failing_since`; false stops all posts.",
    )


class WebhooksView(ApiView):
    """`GET` and `POST /v1/webhooks`"""

    required_scope = Scope.WEBHOOKS

    @operation(
        "list_webhooks", "List the webhook endpoints", query=PageQuery, responses={200: Webhooks}
    )
    def get(self, request: Request, query: PageQuery) -> Response:
        """Return the endpoints of the key's mode, oldest first."""
        caller = caller_of(request)
        mine = endpoints.endpoints_of(caller.organization_id, test=caller.test)
        if query.cursor is not None:
            mine = mine.filter(id__gt=query.cursor)
        page, next_cursor = page_of(list(mine[: query.limit + 1]), query.limit)
        content: Webhooks = {
            "data": [endpoint_json(one) for one in page],
            "next_cursor": next_cursor,
        }
        return Response(content)

    @operation(
        "create_webhook", "Create a webhook endpoint", body=WebhookBody, responses={201: NewWebhook}
    )
    def post(self, request: Request, body: WebhookBody) -> Response:
        """Create an endpoint in the key's mode; an organization has at most 50 in each mode.

        Only this response contains the signing secret. Events of live messages are posted to live
        endpoints only, those of test messages to test endpoints only.
        """
        caller = caller_of(request)
        endpoint = endpoints.create(
            caller.organization_id,
            body.url,
            test=caller.test,
            description=body.description,
            events=body.events,
        )
        return Response(new_endpoint_json(endpoint), status=201)


class WebhookView(ApiView):
    """`GET`, `PATCH` and `DELETE /v1/webhooks/{webhook_id}`"""

    required_scope = Scope.WEBHOOKS

    @operation("get_webhook", "Read a webhook endpoint", responses={200: Webhook})
    def get(self, request: Request, webhook_id: PathId) -> Response:
        """Return an endpoint and its health."""
        caller = caller_of(request)
        endpoint = endpoints.find(caller.organization_id, webhook_id, test=caller.test)
        return Response(endpoint_json(endpoint))

    @operation(
        "change_webhook", "Change a webhook endpoint", body=WebhookChanges, responses={200: Webhook}
    )
    def patch(self, request: Request, webhook_id: PathId, body: WebhookChanges) -> Response:
        """Change the given fields. Pending deliveries are posted to the new URL."""
        changes = body.model_dump(exclude_unset=True)
        caller = caller_of(request)
        endpoint = endpoints.change(caller.organization_id, webhook_id, test=caller.test, **changes)
        return Response(endpoint_json(endpoint))

    @operation("delete_webhook", "Delete a webhook endpoint", responses={204: None})
    def delete(self, request: Request, webhook_id: PathId) -> Response:
        """Delete an endpoint with its deliveries; nothing is posted to it any more."""
        caller = caller_of(request)
        endpoints.delete(endpoints.find(caller.organization_id, webhook_id, test=caller.test))
        return Response(status=204)


class TestView(ApiView):
    """`POST /v1/webhooks/{webhook_id}/test`"""

    required_scope = Scope.WEBHOOKS

    @operation("test_webhook", "Send a test event", responses={202: WebhookDelivery})
    def post(self, request: Request, webhook_id: PathId) -> Response:
        """Send `webhook.test` to this endpoint only, whatever its subscribed events.

        Read the delivery by its id to see the receiver's response. 409 `CONFLICT` if the endpoint
        is disabled.
        """
        caller = caller_of(request)
        delivery_id = replay.send_test(caller.organization_id, webhook_id, test=caller.test)
        delivery = log.find(caller.organization_id, delivery_id, test=caller.test)
        return Response(delivery_json(delivery), status=202)


class RotateSecretView(ApiView):
    """`POST /v1/webhooks/{webhook_id}/rotate-secret`"""

    required_scope = Scope.WEBHOOKS

    @operation("rotate_webhook_secret", "Rotate the signing secret", responses={200: NewWebhook})
    def post(self, request: Request, webhook_id: PathId) -> Response:
        """Create a new secret; only this response contains it. Both secrets sign for 24 hours.

        Another rotation within that time revokes the oldest one immediately: rotate twice after a
        leak.
        """
        caller = caller_of(request)
        endpoint = endpoints.rotate_secret(caller.organization_id, webhook_id, test=caller.test)
        return Response(new_endpoint_json(endpoint))
