"""The reference's pages, generated from the schema: overview, one page for each tag, events."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.utils.safestring import SafeString
from django.utils.text import slugify

from imissive.core.api.error_bodies import Error
from imissive.core.api.openapi import SCHEME, Schema
from imissive.core.errors import STATUS_OF_CODE
from imissive.guide import calls, rendering
from imissive.guide.rendering import Panel
from imissive.reference import codes
from imissive.reference.fields import Field, Reader, Shape
from imissive.reference.prose import inline, paragraphs
from imissive.reference.schema import document

EVENTS = "events"
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Header:
    """A header of a response."""

    name: str
    required: bool
    description: SafeString


@dataclass(frozen=True, slots=True)
class Response:
    """One response of an operation. `reasons`: for an error, its codes with their meanings."""

    status: int
    phrase: str
    description: tuple[SafeString, ...]
    shapes: tuple[Shape, ...]
    headers: tuple[Header, ...]
    reasons: tuple[tuple[str, SafeString], ...]
    example: SafeString | None

    @property
    def good(self) -> bool:
        """True for a success, 2xx."""
        return self.status < 300


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, a section of a page.

    `path` is split into pieces, each with whether it is a parameter in braces. `parameters` are by
    their place: path, query, header. `panels`: the call in every language.
    """

    id: str
    method: str
    path: tuple[tuple[str, bool], ...]
    address: str
    summary: str
    description: tuple[SafeString, ...]
    scope: str
    limit_class: str
    parameters: Mapping[str, tuple[Field, ...]]
    body: tuple[Shape, ...]
    responses: tuple[Response, ...]
    panels: tuple[Panel, ...]

    @property
    def success(self) -> Response:
        """The first successful response."""
        return next(response for response in self.responses if response.good)


@dataclass(frozen=True, slots=True)
class Event:
    """One type of webhook event."""

    id: str
    name: str
    description: SafeString
    shapes: tuple[Shape, ...]
    example: SafeString


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag: a page of operations."""

    slug: str
    name: str
    description: SafeString
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """All pages. `headers`: those of all responses. `errors`: HTTP status, code and meaning."""

    introduction: tuple[SafeString, ...]
    tags: tuple[Tag, ...]
    events: tuple[Event, ...]
    event_headers: tuple[Field, ...]
    headers: tuple[Header, ...]
    errors: tuple[tuple[int, str, SafeString], ...]
    error_fields: tuple[Field, ...]
    error_example: SafeString

    def tag(self, slug: str) -> Tag | None:
        """Return the tag with that slug, or None."""
        return next((tag for tag in self.tags if tag.slug == slug), None)


def reference() -> Reference:
    """Return the reference for the platform's URL, built once in each process."""
    return _reference(document().etag)


@functools.lru_cache(maxsize=2)
def _reference(etag: str) -> Reference:
    schema = document().schema
    builder = _PageBuilder(schema)
    error = schema["components"]["schemas"][Error.__name__]
    headers = schema["components"]["headers"]
    return Reference(
        introduction=tuple(paragraphs(schema["info"]["description"])),
        tags=tuple(
            builder.tag(tag) for tag in schema["tags"] if builder.operations_of(tag["name"])
        ),
        events=tuple(
            builder.event(name, item["post"]) for name, item in schema["webhooks"].items()
        ),
        event_headers=builder.parameters(_any_event(schema))["header"],
        headers=tuple(
            builder.header(name, {"$ref": f"#/components/headers/{name}"})
            for name in headers
            if not name.endswith("-If-Known")
        ),
        errors=tuple(
            (status, code, inline(codes.CODES[code].meaning))
            for code, status in STATUS_OF_CODE.items()
        ),
        error_fields=builder.reader.fields(error),
        error_example=_json(codes.example("INVALID_PHONE", settings.PUBLIC_URL)),
    )


def _any_event(schema: Schema) -> Schema:
    found: Schema = next(iter(schema["webhooks"].values()))["post"]
    return found


def _json(value: Any) -> SafeString:
    return rendering.highlighted(rendering.json_text(value), "json")


class _PageBuilder:
    """Builds the pages' dataclasses from the parts of a schema."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.reader = Reader(schema)

    def operations_of(self, tag: str) -> list[tuple[str, str, Schema]]:
        """Return the path, method and schema of each operation with that tag, in order."""
        return [
            (path, method, operation)
            for path, operations in self.schema["paths"].items()
            for method, operation in operations.items()
            if tag in operation["tags"]
        ]

    def tag(self, tag: Schema) -> Tag:
        operations = tuple(self.operation(*found) for found in self.operations_of(tag["name"]))
        return Tag(slugify(tag["name"]), tag["name"], inline(tag["description"]), operations)

    def operation(self, path: str, method: str, operation: Schema) -> Operation:
        body = operation.get("requestBody", {}).get("content", {}).get(_JSON, {}).get("schema", {})
        [security] = operation["security"]
        pieces = [piece for piece in re.split(r"(\{\w+\})", path) if piece]
        return Operation(
            id=operation["operationId"],
            method=method.upper(),
            path=tuple((piece, piece.startswith("{")) for piece in pieces),
            address=path,
            summary=str(operation.get("summary") or operation["operationId"]),
            description=tuple(paragraphs(operation.get("description", ""))),
            scope=next(iter(security[SCHEME]), ""),
            limit_class=operation.get("x-rate-limit", ""),
            parameters=self.parameters(operation),
            body=self.reader.shapes(body) if body else (),
            responses=tuple(
                self.response(int(status), response)
                for status, response in sorted(operation["responses"].items())
            ),
            panels=tuple(
                rendering.call_panels(self.call(path, method, operation), settings.PUBLIC_URL)
            ),
        )

    def parameters(self, operation: Schema) -> dict[str, tuple[Field, ...]]:
        """Return the parameters by their place: path, query, header."""
        found: dict[str, list[Field]] = {"path": [], "query": [], "header": []}
        for given in operation.get("parameters", []):
            parameter = self._component(given)
            described = parameter["schema"] | {"description": parameter.get("description", "")}
            field = self.reader.field(
                parameter["name"], described, required=parameter.get("required", False)
            )
            found[parameter["in"]].append(field)
        return {place: tuple(fields) for place, fields in found.items() if fields}

    def response(self, status: int, response: Schema) -> Response:
        content = response.get("content", {}).get(_JSON)
        error_codes = response.get("x-codes", ())
        return Response(
            status=status,
            phrase=HTTPStatus(status).phrase,
            description=() if error_codes else tuple(paragraphs(response["description"])),
            shapes=self.reader.shapes(content["schema"]) if content and not error_codes else (),
            headers=tuple(
                self.header(name, header) for name, header in response.get("headers", {}).items()
            ),
            reasons=tuple((code, inline(codes.CODES[code].meaning)) for code in error_codes),
            example=_json(self._example(content)) if content else None,
        )

    def header(self, name: str, given: Schema) -> Header:
        header = self._component(given)
        return Header(name, header.get("required", False), inline(header["description"]))

    def event(self, name: str, operation: Schema) -> Event:
        content = operation["requestBody"]["content"][_JSON]
        return Event(
            id=operation["operationId"],
            name=name,
            description=inline(operation["description"]),
            shapes=self.reader.shapes(content["schema"]),
            example=_json(self._example(content)),
        )

    def call(self, path: str, method: str, operation: Schema) -> calls.Call:
        """Return an example call of the operation, to be generated in every language."""
        content = operation.get("requestBody", {}).get("content", {}).get(_JSON)
        for given in operation.get("parameters", []):
            parameter = self._component(given)
            if parameter["in"] == "path":
                sample = str(self.reader.sample(parameter["schema"]))
                path = path.replace(f"{{{parameter['name']}}}", sample)
        success = next(status for status in sorted(operation["responses"]) if status < "300")
        response = operation["responses"][success].get("content", {}).get(_JSON)
        return calls.Call(
            name=operation["operationId"].replace("_", "-"),
            method=method.upper(),
            path=path,
            headers={},
            body=self._example(content) if content else None,
            status=int(success),
            answer=self._example(response) if response else None,
            answer_headers={},
            uses={},
            again=False,
            key="live",
            fresh=(),
            varies=(),
        )

    def _example(self, content: Schema) -> Any:
        """Return the content's simplest example, the one with the shortest name.

        Without an example it is generated from the schema.
        """
        examples: Schema = content.get("examples", {})
        if not examples:
            return self.reader.sample(content["schema"])
        first = self._component(examples[min(examples, key=lambda name: (len(name), name))])
        return first["value"]

    def _component(self, given: Schema) -> Schema:
        """Return the component that a reference points to; anything else as it is."""
        if "$ref" not in given:
            return given
        kind, name = given["$ref"].split("/")[-2:]
        found: Schema = self.schema["components"][kind][name]
        return found
