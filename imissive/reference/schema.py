"""The API's schema, made once for each process."""

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
    """The schema, its JSON text, and the tag by which a client knows that it has it."""

    schema: Schema
    text: bytes
    etag: str


def document() -> Document:
    """The schema for the platform's own address."""
    return _document(settings.PUBLIC_URL)


@functools.lru_cache(maxsize=2)
def _document(base: str) -> Document:
    generator: Any = SchemaGenerator()  # type: ignore[no-untyped-call]
    # Whatever the language of who asks first: the schema is English.
    with translation.override("en"):
        schema: Schema = generator.get_schema(public=True)
    text = orjson.dumps(schema)
    return Document(schema, text, f'"{hashlib.sha256(text).hexdigest()[:32]}"')
