"""Errors that callers see: one set of codes for the REST API, the dashboard and SMPP."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response

from imissive.core.problems import Parameter, Problem, Reason, english
from imissive.core.reasons import CoreReason
from imissive.core.sql import Fault, fault_of, forget_broken_connections, sqlstate_of

if TYPE_CHECKING:
    from imissive.core.api.error_bodies import Error, ErrorReason

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


class ApiError(Exception):
    """A refusal that the caller sees as an error body.

    `field` is the field, parameter or header at fault; `parameters` are those of the reason.
    """

    def __init__(
        self,
        reason: Reason,
        field: str | None = None,
        /,
        *,
        headers: dict[str, str] | None = None,
        **parameters: Parameter,
    ) -> None:
        self.problem = reason.problem(field, **parameters)
        self.details: Sequence[Problem] = ()
        self.headers = headers or {}
        super().__init__(str(reason))

    @classmethod
    def of(cls, problem: Problem, details: Sequence[Problem] = ()) -> "ApiError":
        """Return the refusal for that problem; further problems go into `details`."""
        parameters: dict[str, Any] = dict(problem.parameters)
        error = cls(problem.reason, problem.field, **parameters)
        error.problem, error.details = problem, details
        return error

    @property
    def status(self) -> int:
        return STATUS_OF_CODE[self.problem.code]


def problem_json(problem: Problem) -> "ErrorReason":
    """Return a problem as the API's JSON, with its English sentence."""
    return {"code": problem.code, "message": english(problem), "field": problem.field}


def error_body(error: ApiError, request_id: str) -> "Error":
    """Return the API's error body."""
    return {
        "error": {
            **problem_json(error.problem),
            "details": [problem_json(problem) for problem in error.details],
            "docs": f"{settings.PUBLIC_URL}/docs#{error.problem.code}",
        },
        "request_id": request_id,
    }


RETRY_AFTER = "5"
"""Seconds after which a client may retry a request that failed with Fault.DATABASE."""
# The framework's exceptions get reasons of ours: their own messages may reveal too much.
_REASONS: list[tuple[type[Exception], Reason]] = [
    (exceptions.NotAuthenticated, CoreReason.KEY_NOT_VALID),
    (exceptions.AuthenticationFailed, CoreReason.KEY_NOT_VALID),
    (exceptions.PermissionDenied, CoreReason.NOT_ALLOWED),
    (PermissionDenied, CoreReason.NOT_ALLOWED),
    (exceptions.NotFound, CoreReason.NOT_FOUND),
    (Http404, CoreReason.NOT_FOUND),
    (exceptions.NotAcceptable, CoreReason.NOT_ACCEPTABLE),
    (exceptions.UnsupportedMediaType, CoreReason.NOT_JSON),
    (exceptions.ParseError, CoreReason.INVALID_JSON),
    (exceptions.MethodNotAllowed, CoreReason.METHOD_NOT_ALLOWED),
    (RequestDataTooBig, CoreReason.UNREADABLY_LARGE),
]
_HEADERS: dict[Reason, dict[str, str]] = {
    CoreReason.KEY_NOT_VALID: {"WWW-Authenticate": "Bearer"},
    CoreReason.UNAVAILABLE: {"Retry-After": RETRY_AFTER},
}


def as_api_error(error: Exception) -> ApiError:
    """Return any exception as a refusal; the unexpected becomes SERVER_ERROR."""
    if isinstance(error, ApiError):
        return error
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return ApiError(reason, headers=dict(_HEADERS.get(reason, {})))
    if fault_of(error) is Fault.DATABASE:
        return ApiError(CoreReason.UNAVAILABLE, headers=dict(_HEADERS[CoreReason.UNAVAILABLE]))
    return ApiError(CoreReason.SERVER_ERROR)


def report(error: ApiError, cause: Exception) -> None:
    """Log an error that is the platform's fault; a caller's mistake is not logged."""
    if isinstance(cause, ApiError):
        return  # the code that raised it has logged what an operator needs to know
    if error.problem.code == "UNAVAILABLE":
        note_unavailable(cause)
    elif error.status >= 500:
        log.error("request_failed", problem=error.problem.code, exc_info=cause)


def note_unavailable(cause: Exception) -> None:
    """Log an error with Fault.DATABASE, and close the connections that it made unusable."""
    # Class 42 has missing tables, but also syntax errors, which are bugs: log the traceback.
    maybe_bug = sqlstate_of(cause).startswith("42")
    log.warning("unavailable", cause=str(cause).strip(), exc_info=cause if maybe_bug else None)
    forget_broken_connections(cause)


def api_exception_handler(exception: Exception, context: dict[str, Any]) -> Response:
    """Return the error response of an exception: REST framework's EXCEPTION_HANDLER."""
    error = as_api_error(exception)
    report(error, exception)
    request = context["request"]
    response = Response(error_body(error, request.request_id), status=error.status)
    for name, value in error.headers.items():
        response[name] = value
    if isinstance(exception, exceptions.MethodNotAllowed):
        response["Allow"] = ", ".join(context["view"].allowed_methods)
    return response
