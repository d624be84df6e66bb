"""The errors that callers see: one vocabulary for the REST API, the dashboard and SMPP."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis
import structlog
from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response

from imissive.sql import Fault, fault_of, forget_broken_connections, sqlstate_of

log = structlog.get_logger(__name__)

STATUS_OF_CODE = {
    "INVALID_REQUEST": 400,
    "INVALID_PHONE": 400,
    "MESSAGE_TOO_LONG": 400,
    "INVALID_SCHEDULE": 400,
    "INVALID_TEMPLATE": 400,
    "INVALID_URL": 400,
    "UNAUTHORIZED": 401,
    "INSUFFICIENT_CREDITS": 402,
    "FORBIDDEN": 403,
    "INVALID_SENDER": 403,
    "DESTINATION_BLOCKED": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "NOT_ACCEPTABLE": 406,
    "CONFLICT": 409,
    "NOT_CANCELABLE": 409,
    "ALREADY_VERIFIED": 409,
    "IDEMPOTENCY_IN_PROGRESS": 409,
    "PAYLOAD_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "IDEMPOTENCY_MISMATCH": 422,
    "RATE_LIMITED": 429,
    "TOO_MANY_ATTEMPTS": 429,
    "OTP_COOLDOWN": 429,
    "SERVER_ERROR": 500,
    "UNAVAILABLE": 503,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something is refused: the contract's code, a sentence, and the field at fault."""

    code: str
    message: str
    field: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "field": self.field}


class ApiError(Exception):
    """A refusal that the caller is told, in the contract's shape."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        field: str | None = None,
        details: Sequence[Problem] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.problem = Problem(code, message, field)
        self.details = details
        self.headers = headers or {}

    @classmethod
    def of(cls, problem: Problem, details: Sequence[Problem] = ()) -> "ApiError":
        return cls(problem.code, problem.message, field=problem.field, details=details)

    @property
    def status(self) -> int:
        return STATUS_OF_CODE[self.problem.code]


def error_body(error: ApiError, request_id: str) -> dict[str, Any]:
    """The contract's error body."""
    return {
        "error": {
            **error.problem.as_json(),
            "details": [problem.as_json() for problem in error.details],
            "docs": f"{settings.PUBLIC_URL}/docs#{error.problem.code}",
        },
        "request_id": request_id,
    }


# The framework's exceptions in the contract's words. Messages are ours: theirs may tell too much.
_TRANSLATED: list[tuple[type[Exception], str, str]] = [
    (exceptions.NotAuthenticated, "UNAUTHORIZED", "The API key is missing or not valid."),
    (exceptions.AuthenticationFailed, "UNAUTHORIZED", "The API key is missing or not valid."),
    (exceptions.PermissionDenied, "FORBIDDEN", "This API key may not do that."),
    (PermissionDenied, "FORBIDDEN", "This API key may not do that."),
    (exceptions.NotFound, "NOT_FOUND", "There is no such thing here."),
    (Http404, "NOT_FOUND", "There is no such thing here."),
    (exceptions.NotAcceptable, "NOT_ACCEPTABLE", "Answers are application/json."),
    (exceptions.UnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "Send application/json."),
    (exceptions.ParseError, "INVALID_REQUEST", "The body is not valid JSON."),
    (RequestDataTooBig, "PAYLOAD_TOO_LARGE", "The body is too large."),
]
RETRY_AFTER = "5"
"""Seconds, of what is refused because the database cannot do it now."""


def as_api_error(error: Exception) -> ApiError:
    """Any exception as what the caller is told of it; the unexpected becomes SERVER_ERROR."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, exceptions.MethodNotAllowed):
        return ApiError("METHOD_NOT_ALLOWED", "This address does not answer to that method.")
    for kind, code, message in _TRANSLATED:
        if isinstance(error, kind):
            headers = {"WWW-Authenticate": "Bearer"} if code == "UNAUTHORIZED" else {}
            return ApiError(code, message, headers=headers)
    if is_unavailable(error):
        message = "The service is not available right now. Try again."
        return ApiError("UNAVAILABLE", message, headers={"Retry-After": RETRY_AFTER})
    return ApiError("SERVER_ERROR", "Something went wrong on our side. Try again later.")


def is_unavailable(error: BaseException) -> bool:
    """Return whether the database or the cache cannot do it now, and may do it a moment later."""
    return fault_of(error) is Fault.DATABASE or isinstance(error, redis.RedisError)


def report(error: ApiError, cause: Exception) -> None:
    """Log what is our fault; a caller's mistake is not worth a line."""
    if isinstance(cause, ApiError):
        return  # whoever refuses knows why, and has logged what an operator has to know
    if error.problem.code == "UNAVAILABLE":
        note_unavailable(cause)
    elif error.status >= 500:
        log.error("request_failed", problem=error.problem.code, exc_info=cause)


def note_unavailable(cause: Exception) -> None:
    """Log what the database or the cache could not do, and leave connections of no use."""
    # A syntax error and a missing table are of the same class: one of them is a mistake of ours.
    ours = sqlstate_of(cause).startswith("42")
    log.warning("unavailable", cause=str(cause).strip(), exc_info=cause if ours else None)
    if fault_of(cause) is Fault.DATABASE:
        forget_broken_connections(cause)


def api_exception_handler(exception: Exception, context: dict[str, Any]) -> Response:
    """REST framework's EXCEPTION_HANDLER."""
    error = as_api_error(exception)
    report(error, exception)
    request = context["request"]
    response = Response(error_body(error, request.request_id), status=error.status)
    for name, value in error.headers.items():
        response[name] = value
    if isinstance(exception, exceptions.MethodNotAllowed):
        response["Allow"] = ", ".join(context["view"].allowed_methods)
    return response
