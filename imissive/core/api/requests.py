"""The frame of every API request: request id, JSON errors, validation of bodies and parameters."""

import codecs
import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import orjson
import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
)
from pydantic_core import ErrorDetails
from rest_framework.request import Request

from imissive.core import ids
from imissive.core.errors import (
    ApiError,
    as_api_error,
    error_body,
    report,
)
from imissive.core.problems import Problem
from imissive.core.reasons import CoreReason

API_PREFIX = "/v1/"

BodyT = TypeVar("BodyT", bound=BaseModel)
OtherT = TypeVar("OtherT", bound=BaseModel)
QueryT = TypeVar("QueryT", bound="Query")


class Body(BaseModel):
    """Base of the API's request bodies: strict types, and no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _integral(value: object) -> object:
    """Return 1.0 as 1: an integer in JSON Schema, and in languages whose numbers are floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


INTEGRAL = BeforeValidator(_integral)
"""Accepts 1.0 for an `int` in a body. Put it after the bounds, so that they stay in the schema."""


NO_NUL = r"^[^\u0000]*$"
"""The regular expression, for schemas, of texts that the database can store."""


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


STORABLE = AfterValidator(_storable)
"""Refuses a text with a NUL character. NO_NUL states the same in the schema."""


def _iso(value: object) -> object:
    """Return the ISO 8601 text of a query's time; raise ValueError for anything else.

    pydantic would read a number such as "2026" as Unix seconds.
    """
    text = value if isinstance(value, str) else ""
    if not re.match(r"\d{4}-\d\d-\d\d", text):
        raise ValueError("must be ISO 8601 with its offset, such as 2027-01-15T10:00:00Z")
    # A plus that is not encoded in a query arrives as a blank.
    return re.sub(r"(T\S+) (\d\d:?\d\d)$", r"\1+\2", text)


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None


Moment = Annotated[AwareDatetime, BeforeValidator(_iso), AfterValidator(_in_utc)]
"""A point in time in a query: ISO 8601 with an offset, converted to UTC."""


class Query(BaseModel):
    """Base of the API's query parameters: unknown and repeated ones and NUL characters are refused.

    `imissive.core.api.operation` takes the model, and generates the schema from it.
    """

    model_config = ConfigDict(extra="forbid")


class ApiMiddleware:
    """Serve the API under /v1 without the middleware below.

    An API request needs no session, language, CSRF token or static file; that middleware is half of
    Django's cost of a request. Every response is JSON, also for an unknown path or a bug.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # With a slash, so that /v1 itself is served here too, and /v10 is not.
        if not f"{request.path_info}/".startswith(API_PREFIX):
            return self.get_response(request)
        request_id = ids.public_id("req", ids.new_uuid())
        request.request_id = request_id  # type: ignore[attr-defined]
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                response = _serve(request)
            except Exception as exception:
                error = as_api_error(exception)
                report(error, exception)
                response = _error_response(error, request_id)
        response["Content-Length"] = str(len(response.content))
        response["X-Request-Id"] = request_id
        response.headers.setdefault("Cache-Control", "no-store")
        response["X-Content-Type-Options"] = "nosniff"
        # `report` has logged the platform's errors; without this, Django would log them again.
        response._has_been_logged = True  # type: ignore[attr-defined]
        return response


def _serve(request: HttpRequest) -> HttpResponse:
    if settings.SECURE_SSL_REDIRECT and not request.is_secure():
        # A redirect would be too late: the key has already crossed the network unencrypted.
        raise ApiError(CoreReason.HTTPS_ONLY)
    # Some clients add a slash to every URL. It is the same route, also for idempotency.
    request.path_info = request.path_info.removesuffix("/")
    request.path = request.path.removesuffix("/")
    try:
        match = resolve(request.path_info)
    except Resolver404:
        raise ApiError(CoreReason.NO_SUCH_ROUTE) from None
    request.resolver_match = match
    response = match.func(request, *match.args, **match.kwargs)
    if hasattr(response, "render") and not response.is_rendered:
        response = response.render()
    return response  # type: ignore[no-any-return]


def _error_response(error: ApiError, request_id: str) -> HttpResponse:
    return HttpResponse(
        orjson.dumps(error_body(error, request_id)),
        status=error.status,
        content_type="application/json",
        headers=error.headers,
    )


def client_address(request: HttpRequest) -> str:
    """Return the caller's IP address, behind as many proxies as TRUSTED_PROXIES says.

    Empty where it is unknown: a proxy may write any text, and the database takes addresses only.
    """
    if settings.TRUSTED_PROXIES:
        hops = request.META.get(settings.CLIENT_ADDRESS_META, "").split(",")
        if len(hops) >= settings.TRUSTED_PROXIES:
            address = _address(hops[-settings.TRUSTED_PROXIES])
            if address:
                return address
    return _address(str(request.META.get("REMOTE_ADDR", "")))


def _address(text: str) -> str:
    """Return the IP address without the port that some proxies add to IPv4; empty if not valid."""
    text = text.strip()
    if text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text)) if "%" not in text else ""
    except ValueError:
        return ""


def parse_body(request: Request, model: type[BodyT]) -> BodyT:
    """Return the request's JSON body as that model.

    Raises ApiError: PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, or INVALID_REQUEST with the first
    invalid field, and the others as details.
    """
    return _validated(_json(request), model)


def parse_either(
    request: Request, model: type[BodyT], other: type[OtherT], *, marked_by: str
) -> BodyT | OtherT:
    """Return the body as one of two models: as `other` where it has the field `marked_by`.

    Raises ApiError like `parse_body`.
    """
    value = _json(request)
    if isinstance(value, dict) and marked_by in value:
        return _validated(value, other)
    return _validated(value, model)


def parse_no_body(request: Request) -> None:
    """Raise ApiError INVALID_REQUEST where the request has a body other than null and {}."""
    if _unmarked(request._request.body).strip():
        value = _json(request)
        if value is not None:
            _validated(value, Body)


def _json(request: Request) -> Any:
    try:
        return orjson.loads(_read(request._request))
    except orjson.JSONDecodeError:
        raise ApiError(CoreReason.INVALID_JSON) from None


def _validated(value: Any, model: type[BodyT]) -> BodyT:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = [_problem(found) for found in error.errors(include_url=False)[:20]]
        raise ApiError.of(problems[0], problems[1:]) from None


def parse_query(request: Request, model: type[QueryT]) -> QueryT:
    """Return the request's query parameters as that model.

    Raises ApiError INVALID_REQUEST with the first invalid parameter, and the others as details.
    """
    given: dict[str, str] = {}
    for name, values in request._request.GET.lists():
        if len(values) > 1:
            raise ApiError(CoreReason.REPEATED_PARAMETER, name, name=name)
        if "\0" in values[0]:
            raise ApiError(CoreReason.PARAMETER_WITH_NUL, name, name=name)
        given[name] = values[0]
    try:
        return model.model_validate(given)
    except ValidationError as error:
        problems = [
            _problem(found, in_query=True) for found in error.errors(include_url=False)[:20]
        ]
        raise ApiError.of(problems[0], problems[1:]) from None


def _read(request: HttpRequest) -> bytes:
    if request.content_type != "application/json":
        raise ApiError(CoreReason.NOT_JSON)
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = 0
    if length > settings.API_MAX_BODY_BYTES:
        raise ApiError(CoreReason.BODY_TOO_LARGE, most=settings.API_MAX_BODY_BYTES)
    return _unmarked(request.body)


def _unmarked(body: bytes) -> bytes:
    """Return a body without the byte order mark that some clients put before their JSON."""
    return body.removeprefix(codecs.BOM_UTF8)


def _problem(found: ErrorDetails, *, in_query: bool = False) -> Problem:
    field = _path(found["loc"])
    kind = found["type"]
    if kind == "extra_forbidden":
        reason = CoreReason.UNKNOWN_PARAMETER if in_query else CoreReason.UNKNOWN_FIELD
        return reason.problem(field, name=field)
    if kind == "missing":
        reason = CoreReason.MISSING_PARAMETER if in_query else CoreReason.MISSING_FIELD
        return reason.problem(field, name=field)
    if kind in ("model_type", "model_attributes_type", "dict_type") and not field:
        return CoreReason.NOT_AN_OBJECT.problem()
    detail = found["msg"].removeprefix("Value error, ")
    if not field:
        return CoreReason.INVALID_BODY.problem(detail=detail)
    return CoreReason.INVALID_VALUE.problem(field, name=field, detail=detail)


def _path(location: tuple[Any, ...]) -> str:
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    return path
