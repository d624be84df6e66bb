"""The parameters of every paged list of the API, as the schema declares them."""

from drf_spectacular.utils import OpenApiParameter

from imissive.core import ids
from imissive.core.cursors import CURSOR

PAGE = [
    OpenApiParameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": 200, "default": 50},
        description="Rows on a page.",
    ),
    OpenApiParameter(
        "cursor",
        {"type": "string", "pattern": ids.pattern(CURSOR)},
        description="The `next_cursor` of the page before.",
    ),
]
