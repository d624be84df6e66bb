"""Pagination of the API's lists: the parameters `limit` and `cursor`, and their pages.

Most lists are read newest first by id, and ids grow with time: the next page has the rows with
smaller ids than the last row of the previous page.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from pydantic import Field

from imissive.core.api.fields import Cursor
from imissive.core.api.requests import Query
from imissive.core.cursors import encode_cursor

RowT = TypeVar("RowT")
ModelT = TypeVar("ModelT", bound=Model)


class PageQuery(Query):
    """The parameters of a paged list. Lists with filters extend it."""

    limit: int = Field(50, ge=1, le=200, description="Rows on a page.")
    cursor: Cursor | None = Field(None, description="The `next_cursor` of the page before.")


def page_of(rows: Sequence[RowT], limit: int) -> tuple[Sequence[RowT], str | None]:
    """Return the page and its next_cursor. `rows` have an `id`, and are `limit` + 1 if possible."""
    if len(rows) <= limit:
        return rows, None
    last: Any = rows[limit - 1]
    return rows[:limit], encode_cursor(last.id)


def newest_first(rows: QuerySet[ModelT], query: PageQuery) -> tuple[Sequence[ModelT], str | None]:
    """Return the requested page of rows, newest first, and its next_cursor."""
    if query.cursor is not None:
        rows = rows.filter(id__lt=query.cursor)
    return page_of(list(rows.order_by("-id")[: query.limit + 1]), query.limit)
