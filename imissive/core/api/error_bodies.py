"""The body of every error response, as the API's contract has it."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypeAliasType, TypedDict

from imissive.core.api.fields import OneOf
from imissive.core.errors import STATUS_OF_CODE

# A named alias, so that the schema has one component for it and clients get one type.
ErrorCode = TypeAliasType(
    "ErrorCode",
    Annotated[
        str,
        OneOf(STATUS_OF_CODE),
        Field(
            description="Why a call was refused. New codes may come: treat one by its HTTP status"
            " then."
        ),
    ],
)


class ErrorReason(TypedDict):
    """One reason of a refusal."""

    code: ErrorCode
    message: Annotated[str, Field(description="For developers to read, in English. It may change.")]
    field: Annotated[
        str | None, Field(description="The field, parameter or header at fault, or null.")
    ]


class ErrorBody(ErrorReason):
    """The reason of a refusal, the others that were found, and where to read on."""

    details: Annotated[list[ErrorReason], Field(description="Further reasons, in the same shape.")]
    docs: Annotated[
        str,
        Field(description="Where the code is explained.", json_schema_extra={"format": "uri"}),
    ]


class Error(TypedDict):
    """The body of every answer that is no success."""

    error: ErrorBody
    request_id: Annotated[
        str,
        Field(
            description="The same as the header `X-Request-Id`. Quote it to support.",
            examples=["req_01m83snhn8fsjsf5h41ebt60cg"],
        ),
    ]
