"""The REST API of the suppression list: thin, it calls `messaging.contacts.suppressions`."""

from typing import Annotated

from pydantic import Field
from rest_framework.request import Request
from rest_framework.response import Response
from typing_extensions import TypedDict

from accounts.api.authentication import caller_of
from accounts.api.view import ApiView
from accounts.roles import Scope
from imissive.core.api.fields import Count, NextCursor, OneOf, Time
from imissive.core.api.operation import operation
from imissive.core.api.pagination import PageQuery, newest_first
from imissive.core.api.rendering import time_text
from imissive.core.api.requests import (
    NO_NUL,
    Body,
)
from imissive.core.errors import problem_json
from messaging.contacts import suppressions
from messaging.models import Suppression as SuppressionRow
from messaging.sending.schemas import (
    E164,
    MessageProblem,
)


class SuppressionsBody(Body):
    numbers: Annotated[list[str], Field(min_length=1, max_length=suppressions.MOST)] = Field(
        description="As the `to` of a message may be written.", examples=[["+966501234567"]]
    )
    # Documented here, but checked by `suppressions.add`, like the dashboard's additions.
    reason: str = Field(
        "",
        description="Kept with the numbers that are new.",
        examples=["Replied STOP"],
        json_schema_extra={"maxLength": suppressions.MAX_REASON, "pattern": NO_NUL},
    )


class Suppression(TypedDict):
    """A number that nothing is sent to."""

    number: E164
    reason: Annotated[str, Field(max_length=suppressions.MAX_REASON, examples=["Replied STOP"])]
    source: Annotated[
        str, OneOf(suppressions.Source), Field(description="Where it was put on the list.")
    ]
    created_at: Time


class Suppressions(TypedDict):
    data: Annotated[list[Suppression], Field(description="Newest first.")]
    next_cursor: NextCursor


class RejectedNumber(TypedDict):
    number: Annotated[str, Field(description="As it was given.")]
    error: MessageProblem


class AddedSuppressions(TypedDict):
    added: Annotated[Count, Field(description="Numbers that were not on the list.")]
    known: Annotated[Count, Field(description="Numbers that were on it already.")]
    canceled: Annotated[
        Count,
        Field(description="Messages to them that were still waiting; their credits came back."),
    ]
    rejected: Annotated[
        list[RejectedNumber], Field(description="What is no number, each with the reason.")
    ]


class SuppressionsQuery(PageQuery):
    number: str | None = Field(None, description="Only this number, in E.164.")


class SuppressionsView(ApiView):
    """`GET` and `POST /v1/suppressions`"""

    required_scope = {"GET": Scope.SMS_READ, "POST": Scope.SMS_SEND}

    @operation(
        "list_suppressions",
        "Read the suppression list",
        query=SuppressionsQuery,
        responses={200: Suppressions},
    )
    def get(self, request: Request, query: SuppressionsQuery) -> Response:
        """Return the suppressed numbers of the key's mode, newest first."""
        caller = caller_of(request)
        entries = SuppressionRow.objects.filter(
            organization=caller.organization_id, test=caller.test
        )
        if query.number is not None:
            entries = entries.filter(number=suppressions.number_of(query.number, caller.home))
        page, next_cursor = newest_first(entries, query)
        content: Suppressions = {
            "data": [_as_json(row) for row in page],
            "next_cursor": next_cursor,
        }
        return Response(content)

    @operation(
        "add_suppressions",
        "Send no more to these numbers",
        body=SuppressionsBody,
        responses={201: AddedSuppressions},
    )
    def post(self, request: Request, body: SuppressionsBody) -> Response:
        """From now on messages to them are refused with `DESTINATION_BLOCKED`, on every way.

        What still waits for them is canceled. A number that cannot be read is named in `rejected`
        and the others are taken; 400 `INVALID_PHONE` where none can be read. A test key's list
        holds for test messages only, a live key's for live ones.
        """
        caller = caller_of(request)
        done = suppressions.add(
            caller.organization_id,
            body.numbers,
            body.reason,
            source=suppressions.Source.API,
            home=caller.home,
            test=caller.test,
        )
        content: AddedSuppressions = {
            "added": done.added,
            "known": done.known,
            "canceled": done.canceled,
            "rejected": [
                {"number": number, "error": problem_json(problem)}
                for number, problem in done.rejected
            ],
        }
        return Response(content, status=201)


class SuppressionView(ApiView):
    """`GET` and `DELETE /v1/suppressions/{number}`"""

    required_scope = {"GET": Scope.SMS_READ, "DELETE": Scope.SMS_SEND}

    @operation("get_suppression", "Look a number up", responses={200: Suppression})
    def get(self, request: Request, number: str) -> Response:
        """404 where the number is not on the list."""
        caller = caller_of(request)
        return Response(
            _as_json(
                suppressions.find(
                    caller.organization_id, number, home=caller.home, test=caller.test
                )
            )
        )

    @operation("remove_suppression", "Send to this number again", responses={204: None})
    def delete(self, request: Request, number: str) -> Response:
        """Only when its owner has asked for it."""
        caller = caller_of(request)
        suppressions.remove(
            suppressions.find(caller.organization_id, number, home=caller.home, test=caller.test),
            address=caller.address,
            api_key_id=caller.key_id,
        )
        return Response(status=204)


def _as_json(row: SuppressionRow) -> Suppression:
    return {
        "number": row.number,
        "reason": row.reason,
        "source": row.source,
        "created_at": time_text(row.created_at),
    }
