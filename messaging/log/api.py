"""The REST API of reading messages: the list, one of them, and a batch. Thin."""

import uuid
from typing import Annotated

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
    Limit,
    Moment,
    Query,
    parse_query,
)
from imissive.core.cursors import decode_cursor, page_of
from imissive.core.errors import ApiError
from messaging.log import query as message_query
from messaging.models import Message
from messaging.numbers import e164
from messaging.sending import batches, representations
from messaging.sending.evaluation import MAX_REFERENCE
from messaging.sending.reasons import MessageReason
from messaging.sending.schemas import (
    BATCH_ID,
    MESSAGE_ID,
    Batch,
    MessageDetail,
    Messages,
    StatusName,
)
from messaging.states import Status


class ListQuery(Query):
    """A filter that is empty is refused, rather than taken for none."""

    status: StatusName | None = None
    to: str | None = None
    sender_id: Annotated[str, Field(min_length=1, max_length=50)] | None = None
    batch_id: str | None = None
    reference: Annotated[str, Field(min_length=1, max_length=MAX_REFERENCE)] | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    limit: Limit = 50
    cursor: str | None = None


FILTERS = [
    OpenApiParameter("status", str, enum=list(Status)),
    OpenApiParameter("to", str, description="The recipient's number, in any form of a send."),
    OpenApiParameter("sender_id", {"type": "string", "minLength": 1, "maxLength": 50}),
    OpenApiParameter("batch_id", {"type": "string", "pattern": ids.pattern(ids.BATCH)}),
    OpenApiParameter(
        "reference",
        {"type": "string", "minLength": 1, "maxLength": MAX_REFERENCE},
        description="Your own reference, the whole of it.",
    ),
    OpenApiParameter(
        "created_after", OpenApiTypes.DATETIME, description="Accepted then or later; with offset."
    ),
    OpenApiParameter(
        "created_before", OpenApiTypes.DATETIME, description="Accepted earlier; with offset."
    ),
]


class MessagesView(ApiView):
    """`GET /v1/sms`"""

    required_scope = Scope.SMS_READ

    @extend_schema(
        operation_id="list_messages",
        summary="List messages",
        parameters=[*FILTERS, *PAGE],
        responses={200: Messages},
    )
    def get(self, request: Request) -> Response:
        """The messages that match all the filters given, newest first.

        Pages hold still: messages that are accepted meanwhile shift nothing.
        """
        query = parse_query(request, ListQuery)
        older_than = None if query.cursor is None else decode_cursor(query.cursor)
        organization_id = caller_of(request).organization_id
        rows = message_query.read(
            organization_id,
            _filter(query, caller_of(request).home),
            query.limit + 1,
            older_than=older_than,
        )
        page, next_cursor = page_of(rows, query.limit)
        data = [representations.message_json(message) for message in page]
        return Response({"data": data, "next_cursor": next_cursor})


class MessageView(ApiView):
    """`GET /v1/sms/{message_id}`"""

    required_scope = Scope.SMS_READ

    @extend_schema(
        operation_id="get_message",
        summary="Read a message",
        parameters=[MESSAGE_ID],
        responses={200: MessageDetail},
    )
    def get(self, request: Request, message_id: str) -> Response:
        """A message with its text, what the carrier said of each part, and its timeline."""
        message = _find(caller_of(request).organization_id, message_id)
        if message is None:
            raise ApiError(MessageReason.NO_SUCH_MESSAGE)
        return Response(representations.message_detail_json(message))


class BatchView(ApiView):
    """`GET /v1/batches/{batch_id}`"""

    required_scope = Scope.SMS_READ

    @extend_schema(
        operation_id="get_batch",
        summary="Read a batch",
        parameters=[BATCH_ID],
        responses={200: Batch},
    )
    def get(self, request: Request, batch_id: str) -> Response:
        """What became of the messages of a bulk call: how many have each status."""
        found = ids.parse_id(ids.BATCH, batch_id)
        batch = batches.find(caller_of(request).organization_id, found)
        return Response(batches.batch_json(batch))


def _filter(query: ListQuery, home: str) -> message_query.Filter:
    """What the list is narrowed to. Raises ApiError: INVALID_PHONE, INVALID_REQUEST."""
    batch_id = None
    if query.batch_id is not None:
        batch_id = ids.parse_id(ids.BATCH, query.batch_id)
        if batch_id is None:
            raise ApiError(MessageReason.BATCH_ID, "batch_id")
    since, until = query.created_after, query.created_before
    if since is not None and until is not None and since >= until:
        raise ApiError(MessageReason.EMPTY_PERIOD, "created_after")
    return message_query.Filter(
        status=query.status,
        to=None if query.to is None else _number(query.to, home),
        sender=query.sender_id,
        batch_id=batch_id,
        reference=query.reference,
        since=since,
        until=until,
    )


def _number(written: str, home: str) -> str:
    """A number of a query in E.164. Raises ApiError INVALID_PHONE."""
    # A plus that is not encoded in a query is a blank.
    written = f"+{written[1:]}" if written.startswith(" ") else written
    try:
        return e164.parse(written, home).e164
    except e164.InvalidNumber as error:
        raise ApiError.of(error.problem("to")) from None


def _find(organization_id: uuid.UUID, message_id: str) -> Message | None:
    found = ids.parse_id(ids.MESSAGE, message_id)
    if found is None:
        return None
    return Message.objects.filter(organization_id=organization_id, id=found).first()
