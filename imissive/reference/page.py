"""The reference's pages, made of the schema: an overview, one page for each tag, and the events."""

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
    """A header of an answer."""

    name: str
    required: bool
    description: SafeString


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of an operation. `reasons`: its codes with what each means, for a refusal."""

    status: int
    phrase: str
    description: tuple[SafeString, ...]
    shapes: tuple[Shape, ...]
    headers: tuple[Header, ...]
    reasons: tuple[tuple[str, SafeString], ...]
    example: SafeString | None

    @property
    def good(self) -> bool:
        return self.status < 300


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as its section shows it. `path` is in pieces: text, and names in braces."""

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
    answers: tuple[Answer, ...]
    panels: tuple[Panel, ...]

    @property
    def success(self) -> Answer:
        return next(answer for answer in self.answers if answer.good)


@dataclass(frozen=True, slots=True)
class Event:
    """One type of event."""

    id: str
    name: str
    description: SafeString
    shapes: tuple[Shape, ...]
    example: SafeString


@dataclass(frozen=True, slots=True)
class Tag:
    """A page of operations."""

    slug: str
    name: str
    description: SafeString
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """All pages. `headers`: those that any answer may have. `errors`: (HTTP, code, meaning)."""

    introduction: tuple[SafeString, ...]
    tags: tuple[Tag, ...]
    events: tuple[Event, ...]
    event_headers: tuple[Field, ...]
    headers: tuple[Header, ...]
    errors: tuple[tuple[int, str, SafeString], ...]
    error_fields: tuple[Field, ...]
    error_example: SafeString

    def tag(self, slug: str) -> Tag | None:
        return next((tag for tag in self.tags if tag.slug == slug), None)


def reference() -> Reference:
    """The reference for the platform's own address; made once for each process."""
    return _reference(document().etag)


@functools.lru_cache(maxsize=2)
def _reference(etag: str) -> Reference:
    schema = document().schema
    maker = _Maker(schema)
    error = schema["components"]["schemas"][Error.__name__]
    headers = schema["components"]["headers"]
    return Reference(
        introduction=tuple(paragraphs(schema["info"]["description"])),
        tags=tuple(maker.tag(tag) for tag in schema["tags"] if maker.operations_of(tag["name"])),
        events=tuple(maker.event(name, item["post"]) for name, item in schema["webhooks"].items()),
        event_headers=maker.parameters(_any_event(schema))["header"],
        headers=tuple(
            maker.header(name, {"$ref": f"#/components/headers/{name}"})
            for name in headers
            if not name.endswith("-If-Known")
        ),
        errors=tuple(
            (status, code, inline(codes.CODES[code].meaning))
            for code, status in STATUS_OF_CODE.items()
        ),
        error_fields=maker.reader.fields(error),
        error_example=_json(codes.example("INVALID_PHONE", settings.PUBLIC_URL)),
    )


def _any_event(schema: Schema) -> Schema:
    found: Schema = next(iter(schema["webhooks"].values()))["post"]
    return found


def _json(value: Any) -> SafeString:
    return rendering.highlighted(rendering.json_text(value), "json")


class _Maker:
    """Turns the parts of a schema into what pages show."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.reader = Reader(schema)

    def operations_of(self, tag: str) -> list[tuple[str, str, Schema]]:
        """(path, method, operation) of each operation with that tag, in order."""
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
            answers=tuple(
                self.answer(int(status), answer)
                for status, answer in sorted(operation["responses"].items())
            ),
            panels=tuple(
                rendering.call_panels(self.call(path, method, operation), settings.PUBLIC_URL)
            ),
        )

    def parameters(self, operation: Schema) -> dict[str, tuple[Field, ...]]:
        """The parameters by where they stand: path, query, header."""
        found: dict[str, list[Field]] = {"path": [], "query": [], "header": []}
        for given in operation.get("parameters", []):
            parameter = self._component(given)
            described = parameter["schema"] | {"description": parameter.get("description", "")}
            field = self.reader.field(
                parameter["name"], described, required=parameter.get("required", False)
            )
            found[parameter["in"]].append(field)
        return {place: tuple(fields) for place, fields in found.items() if fields}

    def answer(self, status: int, answer: Schema) -> Answer:
        content = answer.get("content", {}).get(_JSON)
        its_codes = answer.get("x-codes", ())
        return Answer(
            status=status,
            phrase=HTTPStatus(status).phrase,
            description=() if its_codes else tuple(paragraphs(answer["description"])),
            shapes=self.reader.shapes(content["schema"]) if content and not its_codes else (),
            headers=tuple(
                self.header(name, header) for name, header in answer.get("headers", {}).items()
            ),
            reasons=tuple((code, inline(codes.CODES[code].meaning)) for code in its_codes),
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
        """A call of the operation, to be written in every language."""
        content = operation.get("requestBody", {}).get("content", {}).get(_JSON)
        for given in operation.get("parameters", []):
            parameter = self._component(given)
            if parameter["in"] == "path":
                sample = str(self.reader.sample(parameter["schema"]))
                path = path.replace(f"{{{parameter['name']}}}", sample)
        success = next(status for status in sorted(operation["responses"]) if status < "300")
        answer = operation["responses"][success].get("content", {}).get(_JSON)
        return calls.Call(
            name=operation["operationId"].replace("_", "-"),
            method=method.upper(),
            path=path,
            headers={},
            body=self._example(content) if content else None,
            status=int(success),
            answer=self._example(answer) if answer else None,
            answer_headers={},
            uses={},
            again=False,
            key="live",
            fresh=(),
            varies=(),
        )

    def _example(self, content: Schema) -> Any:
        """The content's plainest example: that of the shortest name; else one that is made up."""
        examples: Schema = content.get("examples", {})
        if not examples:
            return self.reader.sample(content["schema"])
        first = self._component(examples[min(examples, key=lambda name: (len(name), name))])
        return first["value"]

    def _component(self, given: Schema) -> Schema:
        """What is behind a reference to a component."""
        if "$ref" not in given:
            return given
        kind, name = given["$ref"].split("/")[-2:]
        found: Schema = self.schema["components"][kind][name]
        return found
