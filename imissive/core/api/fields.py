"""Types of fields that several models of the API's contract share."""

import uuid
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from imissive.core import ids
from imissive.core.cursors import CURSOR


class IdOf:
    """Reads a public id of one kind in a request: its text comes, a UUID is what the view gets.

    `must_be` ends the sentence that refuses anything else.
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
"""The id of the row that the page before ended with."""
