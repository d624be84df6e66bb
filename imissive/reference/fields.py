"""JSON schemas for the reference's pages: fields with a readable type, rules and nested objects."""

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
    """A constraint of a value: `kind` selects the page's label, `value` is shown as code."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Shape:
    """An object that a value may be: its model's name in words, its description and fields."""

    name: str
    description: SafeString
    fields: tuple["Field", ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object, or one parameter.

    `many`: it is a list of `type`. `shapes`: the objects that its value may be, empty for a plain
    value.
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
        """The field's type in words, in English like the whole schema."""
        words = f"array of {self.type}s" if self.many else self.type
        return f"{words} or null" if self.nullable else words


class Reader:
    """Read the schemas of one OpenAPI document."""

    def __init__(self, document: Schema) -> None:
        self._schemas: Schema = document["components"]["schemas"]

    def resolve(self, schema: Schema) -> Schema:
        """Return the schema with its reference resolved; keywords beside the reference win."""
        seen = dict(schema)
        while "$ref" in seen:
            target = self._schemas[seen.pop("$ref").rpartition("/")[2]]
            seen = {**target, **seen}
        return seen

    def fields(self, schema: Schema, inside: tuple[str, ...] = ()) -> tuple[Field, ...]:
        """Return the fields of an object in order. `inside`: the models that it is nested in."""
        whole = self.resolve(schema)
        required = whole.get("required", ())
        return tuple(
            self.field(name, part, required=name in required, inside=inside)
            for name, part in whole.get("properties", {}).items()
        )

    def shapes(self, schema: Schema, inside: tuple[str, ...] = ()) -> tuple[Shape, ...]:
        """Return the objects that a value of that schema may be.

        An object that is nested in itself is left out.
        """
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
        """Return the field or parameter with that name and schema."""
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
        """Return a value that the schema allows: its first example if it has one."""
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
        """Return the alternatives of a value without null, and whether null is one of them."""
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
    """Return a model's name as words: `OtpSentInTest` becomes "OTP sent in test"."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()
    return (words[:1].upper() + words[1:]).replace("Otp", "OTP")


def _choices(schema: Schema) -> list[Any]:
    if "const" in schema:
        return [schema["const"]]
    return list(schema.get("enum", ()))


def _rules(schema: Schema, default: Any) -> list[Rule]:
    """Return the schema's bounds and its default, as far as it has them."""
    found = []
    for kind, low, high in (
        ("range", "minimum", "maximum"),
        ("length", "minLength", "maxLength"),
        ("items", "minItems", "maxItems"),
    ):
        bounds = schema.get(low), schema.get(high)
        if bounds != (None, None):
            found.append(Rule(kind, _range_text(*bounds)))
    if default not in (None, "", []):
        found.append(Rule("default", str(default)))
    return found


def _range_text(low: int | None, high: int | None) -> str:
    if low is None:
        return f"≤ {high:,}"
    return f"≥ {low:,}" if high is None else f"{low:,}–{high:,}"
