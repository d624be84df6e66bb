"""Where a page of a list ended: a cursor that names the last row, so that new rows shift nothing.

It is read back by `imissive.core.api.fields.Cursor`.
"""

import uuid

from imissive.core import ids

CURSOR = "cur"


def encode_cursor(last: uuid.UUID) -> str:
    """Return the cursor after the row with that id."""
    return ids.public_id(CURSOR, last)
