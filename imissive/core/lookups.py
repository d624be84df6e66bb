"""Look-ups of a row by its id, among the rows that the caller may see."""

import uuid
from typing import TypeVar

from django.db.models import Model, QuerySet

from imissive.core.errors import ApiError
from imissive.core.problems import Reason

ModelT = TypeVar("ModelT", bound=Model)


def row_of(rows: QuerySet[ModelT], row_id: uuid.UUID | None) -> ModelT | None:
    """Return the row with that id; None if there is none, or the id is None (not a valid id)."""
    return None if row_id is None else rows.filter(pk=row_id).first()


def existing_row(rows: QuerySet[ModelT], row_id: uuid.UUID | None, missing: Reason) -> ModelT:
    """Return the row with that id. Raises ApiError with the reason `missing` if there is none."""
    row = row_of(rows, row_id)
    if row is None:
        raise ApiError(missing)
    return row
