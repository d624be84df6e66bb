"""JSON rendering of API responses by orjson, as a bulk call's response has up to 10,000 rows."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, overload

import orjson
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer


@overload
def time_text(at: datetime) -> str: ...
@overload
def time_text(at: None) -> None: ...
def time_text(at: datetime | None) -> str | None:
    """Return a time as it is in responses: ISO 8601 in UTC with milliseconds and `Z`."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class OrjsonRenderer(BaseRenderer):
    """Render responses as JSON in UTF-8."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return b"" if data is None else orjson.dumps(data)


class JsonBody(BaseParser):
    """Names the media type for the schema; `core.api.requests.parse_body` reads the bodies."""

    media_type = "application/json"

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        return orjson.loads(stream.read())
