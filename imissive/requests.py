"""What every API request goes through: an id, JSON errors whatever happens, and a checked body."""

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
    Field,
    ValidationError,
)
from pydantic_core import ErrorDetails
from rest_framework.request import Request

from imissive import ids
from imissive.errors import ApiError, Problem, as_api_error, error_body, report

API_PREFIX = "/v1/"

BodyT = TypeVar("BodyT", bound=BaseModel)
OtherT = TypeVar("OtherT", bound=BaseModel)
QueryT = TypeVar("QueryT", bound="Query")


class Body(BaseModel):
    """Base of the API's request bodies: strict types, and no field that the contract lacks."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _integral(value: object) -> object:
    """1.0 is an integer to JSON Schema, and to languages whose only numbers are floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


INTEGRAL = BeforeValidator(_integral)
"""After the bounds of an `int` in a body, so that they stay in the schema."""


NO_NUL = r"^[^\u0000]*$"
"""The regular expression of texts that the database can keep, for schemas."""


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


STORABLE = AfterValidator(_storable)
"""Refuses a text with a NUL; the schema is told by NO_NUL."""


def _iso(value: object) -> object:
    """Not a number, which would be taken for Unix seconds: "2026" is no second of 1970."""
    text = value if isinstance(value, str) else ""
    if not re.match(r"\d{4}-\d\d-\d\d", text):
        raise ValueError("must be ISO 8601 with its offset, such as 2027-01-15T10:00:00Z")
    # A plus that is not encoded in a query is a blank.
    return re.sub(r"(T\S+) (\d\d:?\d\d)$", r"\1+\2", text)


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None


Moment = Annotated[AwareDatetime, BeforeValidator(_iso), AfterValidator(_in_utc)]
"""A point in time in a query: ISO 8601 with its offset; read as UTC."""

Limit = Annotated[int, Field(ge=1, le=200, description="Rows on a page, 1 to 200.")]


class Query(BaseModel):
    """Base of the API's query parameters: every one known, each at most once, none with a NUL."""

    model_config = ConfigDict(extra="forbid")


class ApiMiddleware:
    """Serves the API under /v1 by itself.

    An API request needs no session, language, CSRF token or static file, so it skips the
    middleware below, which is half of what Django costs for one. And nothing here is answered in
    HTML, a missing page and a bug of ours included.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # With its slash, so that /v1 itself is answered here too, and /v10 is not.
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
        # `report` has written what is our fault; Django would write it once more.
        response._has_been_logged = True  # type: ignore[attr-defined]
        return response


def _serve(request: HttpRequest) -> HttpResponse:
    if settings.SECURE_SSL_REDIRECT and not request.is_secure():
        # A redirect would come too late: the key has already crossed the network in the clear.
        raise ApiError("FORBIDDEN", "The API is served over HTTPS only.")
    try:
        match = resolve(request.path_info)
    except Resolver404:
        raise ApiError("NOT_FOUND", "There is no such address in the API.") from None
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
    """The caller's IP address, read behind as many proxies as TRUSTED_PROXIES says.

    Empty where it is not known: what a proxy wrote may be anything, and the database takes
    addresses only.
    """
    if settings.TRUSTED_PROXIES:
        hops = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
        if len(hops) >= settings.TRUSTED_PROXIES:
            address = _address(hops[-settings.TRUSTED_PROXIES])
            if address:
                return address
    return _address(str(request.META.get("REMOTE_ADDR", "")))


def _address(text: str) -> str:
    """The IP address, without the port that some proxies add to IPv4; empty if it is none."""
    text = text.strip()
    if text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text)) if "%" not in text else ""
    except ValueError:
        return ""


def parse_body(request: Request, model: type[BodyT]) -> BodyT:
    """The request's JSON body as that model.

    Raises ApiError: PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, or INVALID_REQUEST that names the
    first field at fault and lists the others as details.
    """
    return _validated(_json(request), model)


def parse_either(
    request: Request, model: type[BodyT], other: type[OtherT], *, marked_by: str
) -> BodyT | OtherT:
    """The body as one of two models: as `other` where it has the field `marked_by`."""
    value = _json(request)
    if isinstance(value, dict) and marked_by in value:
        return _validated(value, other)
    return _validated(value, model)


def parse_no_body(request: Request) -> None:
    """Refuse a body where there is nothing to say; null and an empty object are none."""
    if request._request.body.strip():
        value = _json(request)
        if value is not None:
            _validated(value, Body)


def _json(request: Request) -> Any:
    try:
        return orjson.loads(_read(request._request))
    except orjson.JSONDecodeError:
        raise ApiError("INVALID_REQUEST", "The body is not valid JSON in UTF-8.") from None


def _validated(value: Any, model: type[BodyT]) -> BodyT:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = [_problem(found) for found in error.errors(include_url=False)[:20]]
        raise ApiError.of(problems[0], problems[1:]) from None


def parse_query(request: Request, model: type[QueryT]) -> QueryT:
    """The request's query parameters as that model.

    Raises ApiError INVALID_REQUEST that names the first parameter at fault, and lists the others.
    """
    given: dict[str, str] = {}
    for name, values in request._request.GET.lists():
        if len(values) > 1:
            raise ApiError("INVALID_REQUEST", f"{name!r} is given more than once.", field=name)
        if "\0" in values[0]:
            raise ApiError("INVALID_REQUEST", f"{name!r} holds a NUL character.", field=name)
        given[name] = values[0]
    try:
        return model.model_validate(given)
    except ValidationError as error:
        problems = [
            _problem(found, what="parameter") for found in error.errors(include_url=False)[:20]
        ]
        raise ApiError.of(problems[0], problems[1:]) from None


def _read(request: HttpRequest) -> bytes:
    if request.content_type != "application/json":
        raise ApiError("UNSUPPORTED_MEDIA_TYPE", "Send Content-Type: application/json.")
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = 0
    if length > settings.API_MAX_BODY_BYTES:
        raise ApiError(
            "PAYLOAD_TOO_LARGE", f"A body has at most {settings.API_MAX_BODY_BYTES:,} bytes."
        )
    return request.body


def _problem(found: ErrorDetails, *, what: str = "field") -> Problem:
    field = _path(found["loc"])
    kind = found["type"]
    if kind == "extra_forbidden":
        return Problem("INVALID_REQUEST", f"There is no {what} {field!r}.", field)
    if kind == "missing":
        return Problem("INVALID_REQUEST", f"The {what} {field!r} is missing.", field)
    if kind in ("model_type", "model_attributes_type", "dict_type") and not field:
        return Problem("INVALID_REQUEST", "The body must be a JSON object.")
    message = re.sub(r"^Value error, ", "", found["msg"])
    return Problem(
        "INVALID_REQUEST", f"{field}: {message}." if field else f"{message}.", field or None
    )


def _path(location: tuple[Any, ...]) -> str:
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    return path
