"""Keyset pagination for pages: tables that are read newest first by ids, which grow with time."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

from imissive.core import ids

PAGE = 50
ModelT = TypeVar("ModelT", bound=Model)


@dataclass(frozen=True, slots=True)
class Page(Generic[ModelT]):
    """A page of rows, newest first, and whether there are newer and older rows."""

    rows: Sequence[ModelT]
    has_newer: bool
    has_older: bool


def page_of(
    found: QuerySet[ModelT],
    *,
    before: uuid.UUID | None = None,
    after: uuid.UUID | None = None,
    size: int = PAGE,
) -> Page[ModelT]:
    """Return the newest rows, or those next older than `before` or next newer than `after`."""
    if after is not None:
        rows = list(found.filter(pk__gt=after).order_by("pk")[: size + 1])
        if len(rows) > size:
            return Page(rows[size - 1 :: -1], has_newer=True, has_older=True)
        # All newer rows fit on one page: show the newest page, filled up with older rows.
        before = None
    if before is not None:
        found = found.filter(pk__lt=before)
    rows = list(found.order_by("-pk")[: size + 1])
    return Page(rows[:size], has_newer=before is not None, has_older=len(rows) > size)


def page_asked_for(found: QuerySet[ModelT], request: HttpRequest, prefix: str) -> Page[ModelT]:
    """Return the page of the parameters `before` or `after`, public ids with that prefix."""
    before = ids.parse_id(prefix, request.GET.get("before", ""))
    after = ids.parse_id(prefix, request.GET.get("after", ""))
    return page_of(found, before=before, after=after)
