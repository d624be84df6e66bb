"""Where a page of a list ended: a cursor that names the last row, so new rows move nothing.

A list is read newest first by id, and ids grow with time; the next page is what has a smaller id.
"""

import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

from imissive.core import ids
from imissive.core.errors import ApiError
from imissive.core.reasons import CoreReason

CURSOR = "cur"
RowT = TypeVar("RowT")
ModelT = TypeVar("ModelT", bound=Model)


def encode_cursor(last: uuid.UUID) -> str:
    """The cursor after the row with that id."""
    return ids.public_id(CURSOR, last)


def decode_cursor(text: str) -> uuid.UUID:
    """The id of the row that a page ended with. Raises ApiError INVALID_REQUEST."""
    found = ids.parse_id(CURSOR, text)
    if found is None:
        raise ApiError(CoreReason.INVALID_CURSOR, "cursor")
    return found


def page_of(rows: Sequence[RowT], limit: int) -> tuple[Sequence[RowT], str | None]:
    """A page and its next_cursor, of rows with an `id` that were read with `limit` + 1."""
    if len(rows) <= limit:
        return rows, None
    last: Any = rows[limit - 1]
    return rows[:limit], encode_cursor(last.id)


def newest_first(
    rows: QuerySet[ModelT],
    limit: int,
    cursor: str | None,
    shown: Callable[[ModelT], Any],
) -> dict[str, Any]:
    """The body of a list: a page of the rows after the cursor, each as it is shown.

    Raises ApiError INVALID_REQUEST for a wrong cursor.
    """
    if cursor is not None:
        rows = rows.filter(id__lt=decode_cursor(cursor))
    page, next_cursor = page_of(list(rows.order_by("-id")[: limit + 1]), limit)
    return {"data": [shown(row) for row in page], "next_cursor": next_cursor}
