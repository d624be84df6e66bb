"""Pagination cursors: a cursor is the last row's id, so that new rows do not shift later pages.

`imissive.core.api.fields.Cursor` parses them.
"""

import uuid

from imissive.core import ids

CURSOR = "cur"


def encode_cursor(last: uuid.UUID) -> str:
    """Return the cursor of the page after the row with that id."""
    return ids.public_id(CURSOR, last)
