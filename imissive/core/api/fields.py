"""Field types that several models of the API share."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from imissive.core import ids
from imissive.core.api.rendering import time_text
from imissive.core.cursors import CURSOR


class IdOf:
    """Annotation for a field with a public id: the request has its text, the view gets the UUID.

    `must_be` completes the error message for any other text.
    """

    def __init__(self, prefix: str, must_be: str) -> None:
        self._prefix, self._must_be = prefix, must_be

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "pattern": ids.pattern(self._prefix)}

    def _read(self, value: object) -> uuid.UUID:
        found = ids.parse_id(self._prefix, value) if isinstance(value, str) else None
        if found is None:
            raise ValueError(f"must be {self._must_be}")
        return found


Cursor = Annotated[
    uuid.UUID, IdOf(CURSOR, "the next_cursor of an earlier answer, exactly as it was given")
]
"""The id of the last row on the previous page."""

NextCursor = Annotated[
    str | None,
    Field(
        json_schema_extra={"pattern": ids.pattern(CURSOR)},
        description="Asks for the next page, as `cursor`; null on the last one.",
    ),
]


class OneOf:
    """Annotation for a field with one of those texts. For type checkers it is any `str`."""

    def __init__(self, values: Iterable[str]) -> None:
        self._values = [str(value) for value in values]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.literal_schema(self._values)


def _written_as_time(text: str) -> str:
    if time_text(datetime.fromisoformat(text)) != text:
        raise ValueError("must be ISO 8601 in UTC with milliseconds and Z")
    return text


Time = Annotated[
    str,
    AfterValidator(_written_as_time),
    Field(json_schema_extra={"format": "date-time"}),
]
"""A point in time in a response, as `time_text` formats it."""

Count = Annotated[int, Field(ge=0)]
