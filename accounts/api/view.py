"""Base class of every view under /v1: authentication, scope, rate limit and idempotency."""

from dataclasses import replace
from http import HTTPStatus
from typing import Any, ClassVar

import orjson
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api import idempotency, rate_limits
from accounts.api.authentication import Caller, caller_of
from accounts.api.rate_limits import LimitClass, LimitStatus
from accounts.api.reasons import CallReason
from imissive.core.errors import ApiError


class ApiView(APIView):
    """A view of the REST API. `required_scope` is one Scope, or a dict of scopes by method.

    `limit_class`: the limit that each request counts against, by one; a handler takes more with
    `spend`.
    `counts_content`: the handler spends once for everything that the request contains, so that the
    exact Retry-After is known; the request itself counts against the limit of other calls.
    `fails_closed`: refuse the request where Redis does not respond.

    With an Idempotency-Key a POST handler runs in one transaction, which is rolled back where the
    handler refuses: data that must survive a refusal has to be stored outside of it.
    """

    required_scope: ClassVar[Any]
    limit_class: ClassVar[LimitClass] = LimitClass.CALLS
    counts_content: ClassVar[bool] = False
    fails_closed: ClassVar[bool] = False

    # No OPTIONS: the API is described by its schema.
    http_method_names = ["get", "post", "put", "patch", "delete", "head"]

    limit_status: LimitStatus | None = None
    _spent = 0

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Handle a request and return its response, an error response included."""
        # As in REST framework, with idempotency around the handler.
        self.args, self.kwargs = args, kwargs
        self.request = wrapped = self.initialize_request(request, *args, **kwargs)
        self.headers = self.default_response_headers
        try:
            self.initial(wrapped, *args, **kwargs)
            response: Any
            key = request.headers.get("Idempotency-Key")
            if key is not None and request.method == "POST" and hasattr(self, "post"):
                response = self._once(wrapped, key)
            else:
                response = self._handle(wrapped)
        except Exception as error:
            response = self.handle_exception(error)
        self.response = self.finalize_response(wrapped, response, *args, **kwargs)
        if self.limit_status is not None:
            for name, value in self.limit_status.headers().items():
                self.response[name] = value
        return self.response

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authenticate, authorize, and count the request against its limit."""
        try:
            super().initial(request, *args, **kwargs)
        except ApiError:
            # The caller is known, so the refusal carries the rate limit headers too.
            if isinstance(request.auth, Caller):
                self.limit_status = self._take(self.limit_class, 0)
            raise
        if self.counts_content:
            self._count(LimitClass.CALLS, 1)
            self.limit_status = self._take(self.limit_class, 0)
        else:
            self.spend(1)

    def spend(self, cost: int) -> None:
        """Count `cost` against the view's limit class, all of it or nothing.

        Raises ApiError: RATE_LIMITED; PAYLOAD_TOO_LARGE where the request's total cost exceeds the
        limit; UNAVAILABLE where Redis does not respond and the view fails closed.
        """
        self._count(self.limit_class, cost)
        self._spent += cost

    def _count(self, limit_class: LimitClass, cost: int) -> None:
        self.limit_status = found = self._take(limit_class, cost)
        if found.wait_seconds:
            # The cost spent before is not returned, because processing the request took work. The
            # same request needs that cost again, so the waiting time includes it.
            wait = found.wait_seconds + self._spent * rate_limits.PERIOD_SECONDS / found.limit
            raise rate_limits.refusal(replace(found, wait_seconds=wait), self._spent + cost)
        if self.fails_closed and not found.known:
            raise ApiError(CallReason.LIMIT_NOT_KNOWN, headers={"Retry-After": "5"})

    def _take(self, limit_class: LimitClass, cost: int) -> LimitStatus:
        caller = caller_of(self.request)
        most = caller.limits.of(limit_class)
        return rate_limits.take(caller.organization_id, limit_class, most, cost, test=caller.test)

    def _handle(self, request: Request) -> HttpResponseBase:
        method = (request.method or "").lower()
        known = method in self.http_method_names
        handler = getattr(self, method, None) if known else None
        response: HttpResponseBase = (handler or self.http_method_not_allowed)(
            request, *self.args, **self.kwargs
        )
        return response

    def check_replay(self, first: dict[str, Any]) -> None:
        """Raise ApiError if the first response, as parsed, must not be returned again."""

    def _once(self, request: Request, key: str) -> HttpResponseBase:
        idempotency.check_key(key)
        plain = request._request

        def work() -> idempotency.StoredResponse:
            response = self._handle(request)
            assert isinstance(response, Response)  # noqa: S101 - every handler returns one
            data = response.data
            return idempotency.StoredResponse(
                response.status_code, b"" if data is None else orjson.dumps(data)
            )

        stored, replayed = idempotency.run_once(
            caller_of(request).key_id,
            key,
            idempotency.fingerprint(plain.method or "", plain.get_full_path(), plain.body),
            work,
        )
        if replayed and stored.body:
            self.check_replay(orjson.loads(stored.body))
        response = HttpResponse(stored.body, status=stored.status, content_type="application/json")
        if stored.status == HTTPStatus.NO_CONTENT:
            del response["Content-Type"]
        if replayed:
            response["Idempotent-Replayed"] = "true"
        return response
