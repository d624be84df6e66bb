"""REST API of sender IDs: request, list and read, on top of `messaging.senders.approval`."""

from typing import Annotated

from django.db.models import QuerySet
from pydantic import Field
from rest_framework.request import Request
from rest_framework.response import Response
from typing_extensions import TypedDict

from accounts.api.authentication import caller_of
from accounts.api.view import ApiView
from accounts.models import Organization
from accounts.roles import Scope
from imissive.core import ids
from imissive.core.api.fields import NextCursor, OneOf, Time
from imissive.core.api.operation import PathId, operation
from imissive.core.api.pagination import PageQuery, newest_first
from imissive.core.api.rendering import time_text
from imissive.core.api.requests import (
    NO_NUL,
    Body,
)
from imissive.core.lookups import existing_row
from messaging.models import SenderId
from messaging.senders import approval
from messaging.senders.reasons import SenderReason
from messaging.sending.schemas import SenderName

SenderStatus = Annotated[str, OneOf(SenderId.Status)]


class SenderIdBody(Body):
    name: str = Field(
        description="1 to 11 characters of the GSM alphabet with at least one letter, a number in"
        " E.164 with its plus sign, or a short code of 3 to 8 digits.",
        examples=["MyCompany"],
    )
    # The lengths are only documented here; `messaging.senders.approval` checks them.
    purpose: str = Field(
        "",
        description="What you will use it for, in a few words, for our review.",
        examples=["Orders and deliveries"],
        json_schema_extra={"maxLength": approval.MAX_PURPOSE, "pattern": NO_NUL},
    )
    sample: str = Field(
        "",
        description="A message as you will send it.",
        examples=["Your order 4711 is on its way."],
        json_schema_extra={"maxLength": approval.MAX_SAMPLE, "pattern": NO_NUL},
    )


class SenderIdRow(TypedDict):
    """A sender ID and the status of its request."""

    id: Annotated[
        str, Field(pattern=ids.pattern(ids.SENDER), examples=["snd_01m83t1x5kf2v8n4c7e9r0s2bd"])
    ]
    name: SenderName
    kind: Annotated[str, OneOf(SenderId.Kind)]
    status: Annotated[
        SenderStatus, Field(description="Only an approved sender ID can be used for messages.")
    ]
    purpose: Annotated[str, Field(max_length=approval.MAX_PURPOSE)]
    sample: Annotated[str, Field(max_length=approval.MAX_SAMPLE)]
    reason: Annotated[
        str | None,
        Field(max_length=300, description="Why it was rejected or revoked; otherwise null."),
    ]
    is_default: Annotated[
        bool, Field(description="Whether messages without a sender are sent with it.")
    ]
    created_at: Annotated[Time, Field(description="When it was last requested.")]
    decided_at: Annotated[Time | None, Field(description="Null while it is pending.")]


class SenderIds(TypedDict):
    data: Annotated[list[SenderIdRow], Field(description="Newest first.")]
    next_cursor: NextCursor


class SenderIdsQuery(PageQuery):
    status: SenderStatus | None = None


class SenderIdsView(ApiView):
    """`GET` and `POST /v1/sender-ids`"""

    required_scope = Scope.SENDER_IDS

    @operation(
        "list_sender_ids", "List the sender IDs", query=SenderIdsQuery, responses={200: SenderIds}
    )
    def get(self, request: Request, query: SenderIdsQuery) -> Response:
        """Return the sender IDs of the key's mode, of every status, newest first."""
        found = _mine(request)
        if query.status is not None:
            found = found.filter(status=query.status)
        page, next_cursor = newest_first(found, query)
        body: SenderIds = {"data": [_as_json(row) for row in page], "next_cursor": next_cursor}
        return Response(body)

    @operation(
        "request_sender_id", "Request a sender ID", body=SenderIdBody, responses={201: SenderIdRow}
    )
    def post(self, request: Request, body: SenderIdBody) -> Response:
        """Submit a sender ID for review; `sender_id.approved` or `sender_id.rejected` follows.

        A rejected, revoked or withdrawn sender ID may be requested again. 409 `CONFLICT` if it is
        already approved or pending, or if 50 are pending. A request with a test key is not
        reviewed: it is approved immediately, for test keys only.
        """
        caller = caller_of(request)
        request_it = approval.register_in_test if caller.test else approval.request_sender
        sender = request_it(
            Organization.objects.get(id=caller.organization_id),
            body.name,
            body.purpose,
            body.sample,
            address=caller.address,
            api_key_id=caller.key_id,
        )
        return Response(_as_json(sender), status=201)


class SenderIdView(ApiView):
    """`GET /v1/sender-ids/{sender_id}`"""

    required_scope = Scope.SENDER_IDS

    @operation("get_sender_id", "Read a sender ID", responses={200: SenderIdRow})
    def get(self, request: Request, sender_id: PathId) -> Response:
        """Return a sender ID's status, with the reason if it was rejected or revoked."""
        found = existing_row(_mine(request), sender_id, SenderReason.NO_SUCH_SENDER)
        return Response(_as_json(found))


def _mine(request: Request) -> QuerySet[SenderId]:
    """Return the sender IDs of the caller's organization and mode."""
    caller = caller_of(request)
    return SenderId.in_any_mode.filter(organization=caller.organization_id, test=caller.test)


def _as_json(sender: SenderId) -> SenderIdRow:
    # A repeated request is pending again: the earlier decision does not apply any more.
    pending = sender.status == SenderId.Status.PENDING
    refused = sender.status in (SenderId.Status.REJECTED, SenderId.Status.REVOKED)
    return {
        "id": sender.public_id,
        "name": sender.name,
        "kind": sender.kind,
        "status": sender.status,
        "purpose": sender.purpose,
        "sample": sender.sample,
        "reason": sender.reason if refused else None,
        "is_default": sender.is_default,
        "created_at": time_text(sender.created_at),
        "decided_at": None if pending else time_text(sender.decided_at),
    }
