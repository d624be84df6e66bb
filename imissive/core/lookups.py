"""A row by its id, of those that a caller may see."""

import uuid
from typing import TypeVar

from django.db.models import Model, QuerySet

from imissive.core.errors import ApiError
from imissive.core.problems import Reason

ModelT = TypeVar("ModelT", bound=Model)


def row_of(rows: QuerySet[ModelT], row_id: uuid.UUID | None) -> ModelT | None:
    """Return the row with that id. None of the rows has the id None: what was not an id."""
    return None if row_id is None else rows.filter(pk=row_id).first()


def existing_row(rows: QuerySet[ModelT], row_id: uuid.UUID | None, missing: Reason) -> ModelT:
    """Return the row with that id. Raises ApiError for the reason `missing`."""
    row = row_of(rows, row_id)
    if row is None:
        raise ApiError(missing)
    return row
