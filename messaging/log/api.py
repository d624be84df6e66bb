"""The REST API of the message log: list messages, read a message, read a batch. Thin."""

import uuid
from typing import Annotated

from pydantic import Field
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.authentication import Caller, caller_of
from accounts.api.view import ApiView
from accounts.roles import Scope
from imissive.core import ids
from imissive.core.api.fields import IdOf
from imissive.core.api.operation import PathId, operation
from imissive.core.api.pagination import PageQuery, page_of
from imissive.core.api.requests import Moment
from imissive.core.errors import ApiError
from imissive.core.lookups import existing_row
from messaging.log import query as message_query
from messaging.models import Message
from messaging.numbers import e164
from messaging.sending import batches, representations
from messaging.sending.evaluation import MAX_REFERENCE
from messaging.sending.reasons import MessageReason
from messaging.sending.schemas import (
    Batch,
    MessageDetail,
    Messages,
    StatusName,
)


class ListQuery(PageQuery):
    # An empty filter is refused instead of ignored.
    status: StatusName | None = None
    to: str | None = Field(None, description="The recipient's number, in any form of a send.")
    sender_id: Annotated[str, Field(min_length=1, max_length=50)] | None = None
    batch_id: Annotated[uuid.UUID, IdOf(ids.BATCH, "a batch's id, bat_…")] | None = None
    reference: Annotated[str, Field(min_length=1, max_length=MAX_REFERENCE)] | None = Field(
        None, description="Your own reference, the whole of it."
    )
    created_after: Moment | None = Field(
        None, description="Accepted then or later; with its offset."
    )
    created_before: Moment | None = Field(None, description="Accepted earlier; with its offset.")


class MessagesView(ApiView):
    """`GET /v1/sms`"""

    required_scope = Scope.SMS_READ

    @operation("list_messages", "List messages", query=ListQuery, responses={200: Messages})
    def get(self, request: Request, query: ListQuery) -> Response:
        """The messages of the key's mode that match all the filters given, newest first.

        Pages hold still: messages that are accepted meanwhile shift nothing.
        """
        rows = message_query.read(
            caller_of(request).organization_id,
            _filter(query, caller_of(request)),
            query.limit + 1,
            older_than=query.cursor,
        )
        page, next_cursor = page_of(rows, query.limit)
        body: Messages = {
            "data": [representations.message_json(message) for message in page],
            "next_cursor": next_cursor,
        }
        return Response(body)


class MessageView(ApiView):
    """`GET /v1/sms/{message_id}`"""

    required_scope = Scope.SMS_READ

    @operation("get_message", "Read a message", responses={200: MessageDetail})
    def get(self, request: Request, message_id: PathId) -> Response:
        """A message with its text, what the carrier said of each part, and its timeline."""
        caller = caller_of(request)
        mine = Message.objects.filter(organization_id=caller.organization_id, test=caller.test)
        message = existing_row(mine, message_id, MessageReason.NO_SUCH_MESSAGE)
        return Response(representations.message_detail_json(message))


class BatchView(ApiView):
    """`GET /v1/batches/{batch_id}`"""

    required_scope = Scope.SMS_READ

    @operation("get_batch", "Read a batch", responses={200: Batch})
    def get(self, request: Request, batch_id: PathId) -> Response:
        """What became of the messages of a bulk call: how many have each status."""
        caller = caller_of(request)
        batch = batches.find(caller.organization_id, batch_id, test=caller.test)
        return Response(batches.batch_json(batch))


def _filter(query: ListQuery, caller: Caller) -> message_query.Filter:
    """Return the list's filter. Raises ApiError: INVALID_PHONE, INVALID_REQUEST."""
    since, until = query.created_after, query.created_before
    if since is not None and until is not None and since >= until:
        raise ApiError(MessageReason.EMPTY_PERIOD, "created_after")
    return message_query.Filter(
        status=query.status,
        to=None if query.to is None else _number(query.to, caller.home),
        sender=query.sender_id,
        batch_id=query.batch_id,
        reference=query.reference,
        since=since,
        until=until,
        test=caller.test,
    )


def _number(written: str, home: str) -> str:
    """Return a query parameter's number in E.164. Raises ApiError INVALID_PHONE."""
    # A plus that is not percent-encoded in a query arrives as a space.
    written = f"+{written[1:]}" if written.startswith(" ") else written
    try:
        return e164.parse(written, home).e164
    except e164.InvalidNumber as error:
        raise ApiError.of(error.problem("to")) from None
