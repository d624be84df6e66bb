"""The REST API of the suppression list: thin, it calls `messaging.contacts.suppressions`."""

from datetime import datetime
from typing import Annotated, Any, Literal

from drf_spectacular.utils import OpenApiParameter, extend_schema
from pydantic import BaseModel, Field
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.authentication import caller_of
from accounts.api.view import ApiView
from accounts.roles import Scope
from imissive.core.api.pagination import PAGE
from imissive.core.api.rendering import time_text
from imissive.core.api.requests import (
    NO_NUL,
    Body,
    Limit,
    Query,
    parse_body,
    parse_query,
)
from imissive.core.cursors import newest_first
from imissive.core.errors import problem_json
from messaging.contacts import suppressions
from messaging.models import Suppression as SuppressionRow
from messaging.sending.schemas import (
    E164,
    Count,
    MessageProblem,
    NextCursor,
)

TAGS = ["suppressions"]
NUMBER = OpenApiParameter(
    "number",
    str,
    OpenApiParameter.PATH,
    description="The number in E.164, such as `+966501234567`; the plus may be left out.",
)


class SuppressionsBody(Body):
    numbers: Annotated[list[str], Field(min_length=1, max_length=suppressions.MOST)] = Field(
        description="As the `to` of a message may be written.", examples=[["+966501234567"]]
    )
    # Told, not checked here: the dashboard's additions pass the same check.
    reason: str = Field(
        "",
        description="Kept with the numbers that are new.",
        examples=["Replied STOP"],
        json_schema_extra={"maxLength": suppressions.MAX_REASON, "pattern": NO_NUL},
    )


class Suppression(BaseModel):
    """A number that nothing is sent to."""

    number: E164
    reason: str = Field(max_length=suppressions.MAX_REASON, examples=["Replied STOP"])
    source: Literal["api", "dashboard"] = Field(description="Where it was put on the list.")
    created_at: datetime


class Suppressions(BaseModel):
    data: list[Suppression] = Field(description="Newest first.")
    next_cursor: NextCursor


class RejectedNumber(BaseModel):
    number: str = Field(description="As it was given.")
    error: MessageProblem


class AddedSuppressions(BaseModel):
    added: Count = Field(description="Numbers that were not on the list.")
    known: Count = Field(description="Numbers that were on it already.")
    canceled: Count = Field(
        description="Messages to them that were still waiting; their credits came back."
    )
    rejected: list[RejectedNumber] = Field(description="What is no number, each with the reason.")


class SuppressionsQuery(Query):
    number: str | None = None
    limit: Limit = 50
    cursor: str | None = None


class SuppressionsView(ApiView):
    """`GET` and `POST /v1/suppressions`"""

    required_scope = {"GET": Scope.SMS_READ, "POST": Scope.SMS_SEND}

    @extend_schema(
        operation_id="list_suppressions",
        tags=TAGS,
        summary="Read the suppression list",
        parameters=[
            OpenApiParameter("number", str, description="Only this number, in E.164."),
            *PAGE,
        ],
        responses={200: Suppressions},
    )
    def get(self, request: Request) -> Response:
        """The numbers that nothing is sent to, the newest first."""
        query = parse_query(request, SuppressionsQuery)
        found = SuppressionRow.objects.filter(organization=caller_of(request).organization_id)
        if query.number is not None:
            found = found.filter(
                number=suppressions.number_of(query.number, caller_of(request).home)
            )
        return Response(newest_first(found, query.limit, query.cursor, _as_json))

    @extend_schema(
        operation_id="add_suppressions",
        tags=TAGS,
        summary="Send no more to these numbers",
        request=SuppressionsBody,
        responses={201: AddedSuppressions},
    )
    def post(self, request: Request) -> Response:
        """From now on messages to them are refused with `DESTINATION_BLOCKED`, on every way.

        What still waits for them is canceled. A number that cannot be read is named in `rejected`
        and the others are taken; 400 `INVALID_PHONE` where none can be read.
        """
        body = parse_body(request, SuppressionsBody)
        done = suppressions.add(
            caller_of(request).organization_id,
            body.numbers,
            body.reason,
            source=suppressions.Source.API,
            home=caller_of(request).home,
        )
        answer = {
            "added": done.added,
            "known": done.known,
            "canceled": done.canceled,
            "rejected": [
                {"number": number, "error": problem_json(problem)}
                for number, problem in done.rejected
            ],
        }
        return Response(answer, status=201)


class SuppressionView(ApiView):
    """`GET` and `DELETE /v1/suppressions/{number}`"""

    required_scope = {"GET": Scope.SMS_READ, "DELETE": Scope.SMS_SEND}

    @extend_schema(
        operation_id="get_suppression",
        tags=TAGS,
        summary="Look a number up",
        parameters=[NUMBER],
        responses={200: Suppression},
    )
    def get(self, request: Request, number: str) -> Response:
        """404 where the number is not on the list."""
        caller = caller_of(request)
        return Response(
            _as_json(suppressions.find(caller.organization_id, number, home=caller.home))
        )

    @extend_schema(
        operation_id="remove_suppression",
        tags=TAGS,
        summary="Send to this number again",
        parameters=[NUMBER],
        responses={204: None},
    )
    def delete(self, request: Request, number: str) -> Response:
        """Only when its owner has asked for it."""
        caller = caller_of(request)
        suppressions.remove(
            suppressions.find(caller.organization_id, number, home=caller.home),
            address=caller.address,
            api_key_id=caller.key_id,
        )
        return Response(status=204)


def _as_json(row: SuppressionRow) -> dict[str, Any]:
    return {
        "number": row.number,
        "reason": row.reason,
        "source": row.source,
        "created_at": time_text(row.created_at),
    }
