"""JSON schemas as a reader sees them: fields with a type in words, their rules, what is in them."""

import re
from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString

from imissive.core.api.openapi import Schema
from imissive.reference.prose import inline

_FORMATS = {"date-time": "time", "uri": "URL"}
_SAMPLES = {"date-time": "2026-11-23T08:52:01.640Z", "uri": "https://example.com/webhook"}


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that a value obeys: `kind` is a key of the page's words, `value` as code."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Shape:
    """An object that a value may be: its model's name in words, what it is, and its fields."""

    name: str
    description: SafeString
    fields: tuple["Field", ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object, or one parameter.

    `many`: it is a list of `type`. `shapes`: the objects that it may be, none where it is none.
    """

    name: str
    type: str
    required: bool
    nullable: bool
    many: bool
    description: SafeString
    rules: tuple[Rule, ...]
    choices: tuple[str, ...]
    shapes: tuple[Shape, ...] = ()

    @property
    def kind(self) -> str:
        """Its type in words, in English as all of the schema."""
        words = f"array of {self.type}s" if self.many else self.type
        return f"{words} or null" if self.nullable else words


class Reader:
    """Reads the schemas of one document."""

    def __init__(self, document: Schema) -> None:
        self._schemas: Schema = document["components"]["schemas"]

    def resolve(self, schema: Schema) -> Schema:
        """The schema itself: behind a reference, and with what stands beside that."""
        seen = dict(schema)
        while "$ref" in seen:
            target = self._schemas[seen.pop("$ref").rpartition("/")[2]]
            seen = {**target, **seen}
        return seen

    def fields(self, schema: Schema, inside: tuple[str, ...] = ()) -> tuple[Field, ...]:
        """The fields of an object in their order. `inside`: the models that it is a part of."""
        whole = self.resolve(schema)
        required = whole.get("required", ())
        return tuple(
            self.field(name, part, required=name in required, inside=inside)
            for name, part in whole.get("properties", {}).items()
        )

    def shapes(self, schema: Schema, inside: tuple[str, ...] = ()) -> tuple[Shape, ...]:
        """The objects that a value of that schema may be."""
        found = []
        for option in self._options(schema)[0]:
            reference = option.get("$ref", "")
            if reference and reference in inside:
                continue
            fields = self.fields(option, (*inside, reference))
            if fields:
                name = _words(reference.rpartition("/")[2])
                described = self.resolve(option).get("description", "")
                found.append(Shape(name, inline(" ".join(described.split())), fields))
        return tuple(found)

    def field(
        self, name: str, schema: Schema, *, required: bool, inside: tuple[str, ...] = ()
    ) -> Field:
        """A field or parameter of that schema."""
        whole = self.resolve(schema)
        options, nullable = self._options(schema)
        inner = options[0] if options else {}
        one = self.resolve(inner)
        many = one.get("type") == "array"
        outer = one
        if many:
            inner = one.get("items", {})
            options = self._options(inner)[0]
            one = self.resolve(options[0]) if options else {}
        return Field(
            name=name,
            type=self._type(one),
            required=required,
            nullable=nullable,
            many=many,
            description=inline(str(whole.get("description") or outer.get("description", ""))),
            rules=tuple(_rules(outer if many else one, whole.get("default"))),
            choices=tuple(str(choice) for choice in _choices(one)),
            shapes=self.shapes(inner, inside),
        )

    def sample(self, schema: Schema, inside: tuple[str, ...] = ()) -> Any:
        """A value that the schema allows: of its examples where it has some."""
        reference = schema.get("$ref", "")
        options = self._options(schema)[0]
        whole = self.resolve(options[0] if options else schema)
        given = self.resolve(schema)
        for one in (given, whole):
            if one.get("examples"):
                return one["examples"][0]
            if one.get("default") is not None:
                return one["default"]
        choices = _choices(whole)
        if choices:
            return choices[0]
        kind = whole.get("type")
        if kind == "object":
            if reference and reference in inside:
                return {}
            return {
                name: self.sample(part, (*inside, reference))
                for name, part in whole.get("properties", {}).items()
            }
        if kind == "array":
            return [self.sample(whole.get("items", {}), inside)]
        plain = {"integer": whole.get("minimum", 1), "number": 1.0, "boolean": True}
        return plain.get(str(kind), _SAMPLES.get(whole.get("format", ""), "…"))

    def _options(self, schema: Schema) -> tuple[list[Schema], bool]:
        """What a value may be besides null, and whether it may be null."""
        whole = self.resolve(schema)
        listed: list[Schema] = whole.get("anyOf") or whole.get("oneOf") or []
        if listed:
            options = [option for option in listed if option.get("type") != "null"]
            return options, len(options) < len(listed)
        kind = whole.get("type")
        if isinstance(kind, list):
            rest = [one for one in kind if one != "null"]
            return [{**whole, "type": rest[0]}], len(rest) < len(kind)
        return ([] if kind == "null" else [schema]), kind == "null"

    def _type(self, schema: Schema) -> str:
        kind = schema.get("format")
        return _FORMATS.get(str(kind)) or str(schema.get("type", "null"))


def _words(name: str) -> str:
    """A model's name as words: `OtpSentInTest` is "Otp sent in test"."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()
    return (words[:1].upper() + words[1:]).replace("Otp", "OTP")


def _choices(schema: Schema) -> list[Any]:
    if "const" in schema:
        return [schema["const"]]
    return list(schema.get("enum", ()))


def _rules(schema: Schema, default: Any) -> list[Rule]:
    """Its bounds and its default, as far as there are any."""
    found = []
    for kind, low, high in (
        ("range", "minimum", "maximum"),
        ("length", "minLength", "maxLength"),
        ("items", "minItems", "maxItems"),
    ):
        bounds = schema.get(low), schema.get(high)
        if bounds != (None, None):
            found.append(Rule(kind, _span(*bounds)))
    if default not in (None, "", []):
        found.append(Rule("default", str(default)))
    return found


def _span(low: int | None, high: int | None) -> str:
    if low is None:
        return f"≤ {high:,}"
    return f"≥ {low:,}" if high is None else f"{low:,}–{high:,}"
