"""The REST API of webhook endpoints: thin, it reads the request and calls `webhooks.endpoints`."""

from datetime import UTC, datetime
from typing import Annotated, Any

from drf_spectacular.utils import extend_schema
from pydantic import AfterValidator, BaseModel, Field
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import caller_of
from accounts.roles import Scope
from imissive import ids
from imissive.requests import Body, parse_body
from webhooks import endpoints
from webhooks.models import Endpoint, EventType


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


def _known(event: str) -> str:
    if event not in EventType.values:
        raise ValueError(f"is not an event; the events are {', '.join(EventType.values)}")
    return event


class WebhookBody(Body):
    url: str = Field(description="Where events are posted to: HTTPS, 500 characters at most.")
    description: Annotated[str, Field(max_length=200), AfterValidator(_storable)] = ""
    events: list[Annotated[str, AfterValidator(_known)]] = Field(
        [], max_length=50, description="The events it wants; none listed means all."
    )


class Webhook(BaseModel):
    id: str = Field(examples=["whk_01hm6v0q8nfj2r4t6v8x0z2a4c"])
    url: str
    description: str
    events: list[str]
    enabled: bool
    created_at: datetime


class NewWebhook(Webhook):
    secret: str = Field(description="Signs every post (Standard Webhooks). Shown this once.")


class Webhooks(BaseModel):
    data: list[Webhook]
    next_cursor: None = None


class WebhooksView(APIView):
    """`GET` and `POST /v1/webhooks`"""

    required_scope = Scope.WEBHOOKS

    @extend_schema(operation_id="list_webhooks", responses={200: Webhooks})
    def get(self, request: Request) -> Response:
        found = endpoints.endpoints_of(caller_of(request).organization_id)
        return Response({"data": [_as_json(endpoint) for endpoint in found], "next_cursor": None})

    @extend_schema(operation_id="create_webhook", request=WebhookBody, responses={201: NewWebhook})
    def post(self, request: Request) -> Response:
        body = parse_body(request, WebhookBody)
        endpoint = endpoints.create(
            caller_of(request).organization_id,
            body.url,
            description=body.description,
            events=body.events,
        )
        return Response(_as_json(endpoint) | {"secret": endpoint.secret}, status=201)


class WebhookView(APIView):
    """`GET` and `DELETE /v1/webhooks/{webhook_id}`"""

    required_scope = Scope.WEBHOOKS

    @extend_schema(operation_id="get_webhook", responses={200: Webhook})
    def get(self, request: Request, webhook_id: str) -> Response:
        return Response(_as_json(_find(request, webhook_id)))

    @extend_schema(operation_id="delete_webhook", responses={204: None})
    def delete(self, request: Request, webhook_id: str) -> Response:
        endpoints.delete(_find(request, webhook_id))
        return Response(status=204)


def _find(request: Request, webhook_id: str) -> Endpoint:
    found = ids.parse_id(ids.ENDPOINT, webhook_id)
    return endpoints.find(caller_of(request).organization_id, found)


def _as_json(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": endpoint.public_id,
        "url": endpoint.url,
        "description": endpoint.description,
        "events": endpoint.events,
        "enabled": endpoint.enabled,
        "created_at": endpoint.created_at.astimezone(UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
    }
