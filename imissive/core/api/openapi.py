"""OpenAPI 3.1 descriptions of the API's views: models, authentication, scopes, rate limits.

Views declare their models with `imissive.core.api.operation`. A request's model is described in
pydantic's validation mode, a response's in its serialization mode.
`imissive.reference.postprocessing` adds the parts that all operations share.
"""

import types
import typing
from typing import Any

from drf_spectacular.drainage import set_override, warn
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import Direction
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from typing_extensions import is_typeddict

from imissive.core.api.requests import NO_NUL, Query

SCHEME = "ApiKey"
"""The name of the security scheme."""
REFERENCE = "#/components/schemas/{model}"

Schema = dict[str, Any]


class _Untitled(GenerateJsonSchema):
    """Generate JSON schemas without titles, which only repeat the names of fields and models."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def generate(self, schema: Any, mode: JsonSchemaMode = "validation") -> Schema:
        generated = super().generate(schema, mode)
        for one in (generated, *generated.get("$defs", {}).values()):
            one.pop("title", None)
        return generated


def models_of(hint: Any) -> list[type]:
    """Return the models in a type hint: one for a model, all for a union of models, else none.

    A model is a pydantic model, or a TypedDict for a response.
    """
    found = [hint]
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        found = list(typing.get_args(hint))
    return found if all(_is_model(one) for one in found) else []


def _is_model(hint: Any) -> bool:
    return is_typeddict(hint) or (isinstance(hint, type) and issubclass(hint, BaseModel))


def components_of(model: type, mode: JsonSchemaMode) -> dict[str, Schema]:
    """Return the JSON schemas of a model and of each model in it, by their names.

    `mode` is "validation" for requests, "serialization" for responses.
    """
    schema: Schema = TypeAdapter(model).json_schema(
        ref_template=REFERENCE, schema_generator=_Untitled, mode=mode
    )
    inner: dict[str, Schema] = schema.pop("$defs", {})
    # A model that contains itself is among its own definitions.
    return {model.__name__: schema} | inner


def parameters_of(model: type[Query]) -> list[Schema]:
    """Return OpenAPI's query parameters of a model.

    A list's own filters come first, then the parameters that it shares with other lists.
    """

    def distance(field: str) -> int:
        return next(
            step for step, kind in enumerate(model.__mro__) if field in kind.__annotations__
        )

    whole = components_of(model, "validation")[model.__name__]
    required = whole.get("required", ())
    fields = model.model_fields
    return [
        _parameter(name, whole["properties"][name], required=name in required)
        for name in (fields[field].alias or field for field in sorted(fields, key=distance))
    ]


def _parameter(name: str, schema: Schema, *, required: bool) -> Schema:
    """Return one query parameter. None stands for a parameter that is not there: no null in it."""
    described: Schema = {"in": "query", "name": name}
    if required:
        described["required"] = True
    if "description" in schema:
        described["description"] = schema.pop("description")
    options = [option for option in schema.pop("anyOf", ()) if option != {"type": "null"}]
    schema |= options[0] if len(options) == 1 else {"anyOf": options} if options else {}
    if schema.get("default", ...) is None:
        del schema["default"]
    if schema.get("type") == "string" and not schema.keys() & {"pattern", "enum", "format"}:
        # By `parse_query`, of every parameter.
        schema["pattern"] = NO_NUL
    return described | {"schema": schema}


class ApiSchema(AutoSchema):
    """REST framework's DEFAULT_SCHEMA_CLASS."""

    def _process_override_parameters(
        self, direction: Direction = "request"
    ) -> dict[tuple[str, str], Schema]:
        """Return the parameters of an operation by name and place: those of its query model."""
        found = {}
        models: list[Any] = self.get_override_parameters()
        for model in models:
            for parameter in parameters_of(model):
                found[parameter["name"], parameter["in"]] = parameter
        return found

    def _get_request_for_media_type(
        self, serializer: Any, direction: Direction = "request"
    ) -> tuple[Schema | None, bool]:
        models = models_of(serializer)
        if models:
            # A body that is read at all must be there, even where each field may be left out.
            return self._one_of(models, "validation"), True
        framework: Any = super()
        described: tuple[Schema | None, bool] = framework._get_request_for_media_type(
            serializer, direction
        )
        return described

    def _get_response_for_code(
        self,
        serializer: Any,
        status_code: str,
        media_types: list[str] | None = None,
        direction: Direction = "response",
    ) -> Schema:
        models = models_of(serializer)
        if models:
            serializer = self._one_of(models, "serialization")
        framework: Any = super()
        answer: Schema = framework._get_response_for_code(
            serializer, status_code, media_types, direction
        )
        return answer

    def _one_of(self, models: list[type], mode: JsonSchemaMode) -> Schema:
        for model in models:
            for name, schema in components_of(model, mode).items():
                self._register(name, schema)
        refs = [{"$ref": REFERENCE.format(model=model.__name__)} for model in models]
        return refs[0] if len(refs) == 1 else {"anyOf": refs}

    def _register(self, name: str, schema: Schema) -> None:
        component = ResolvedComponent(  # type: ignore[no-untyped-call]
            name=name, type=ResolvedComponent.SCHEMA, object=BaseModel, schema=schema
        )
        if component not in self.registry:
            self.registry.register(component)
        elif self.registry[component].schema != schema:
            warn(f"Two models are named {name!r}, and only one can be described. Rename one.")

    def required_scope(self) -> str | None:
        """Return the scope that a key needs for this operation, or None."""
        scope = getattr(self.view, "required_scope", None)
        if isinstance(scope, dict):
            scope = scope.get(self.method)
        return str(scope) if scope else None

    def get_extensions(self) -> Schema:
        """Return `x-rate-limit`: the limit class that the operation counts against."""
        limit_class = getattr(self.view, "limit_class", None)
        own: Schema = super().get_extensions()
        return own | ({"x-rate-limit": str(limit_class)} if limit_class else {})


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The security scheme of the API key. The scope is listed as a requirement, as 3.1 allows."""

    target_class = "accounts.api.authentication.ApiKeyAuthentication"
    match_subclasses = True
    name = SCHEME

    def get_security_requirement(self, auto_schema: Any) -> dict[str, list[Any]]:
        scope = auto_schema.required_scope()
        return {SCHEME: [scope] if scope else []}

    def get_security_definition(self, auto_schema: Any) -> Schema:
        # Subclasses, which read more together with the key, share this scheme.
        set_override(type(self.target), "suppress_collision_warning", True)
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "imk_live_… or imk_test_…",
            "description": "An API key. A test key (`imk_test_…`) reaches only the simulator and is"
            " never charged. A key without any listed scope may do everything.",
        }
