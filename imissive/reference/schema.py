"""The API's OpenAPI document, generated once in each process."""

import functools
import hashlib
from dataclasses import dataclass
from typing import Any

import orjson
from django.conf import settings
from django.utils import translation
from drf_spectacular.generators import SchemaGenerator

from imissive.core.api.openapi import Schema


@dataclass(frozen=True, slots=True)
class Document:
    """The schema, its JSON text, and its ETag."""

    schema: Schema
    text: bytes
    etag: str


def document() -> Document:
    """Return the document for the platform's URL."""
    return _document(settings.PUBLIC_URL)


@functools.lru_cache(maxsize=2)
def _document(base: str) -> Document:
    generator: Any = SchemaGenerator()  # type: ignore[no-untyped-call]
    # The schema is English, whatever the language of the first request.
    with translation.override("en"):
        schema: Schema = generator.get_schema(public=True)
    text = orjson.dumps(schema)
    return Document(schema, text, f'"{hashlib.sha256(text).hexdigest()[:32]}"')
