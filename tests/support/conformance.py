"""Conformance of the API with its own schema: calls by schemathesis, callers, and checks.

schemathesis makes the calls: the schema's examples, the boundary values of each field, and random
ones, valid and invalid. All its checks are on, and stricter than the schema: a response has no
field and no error code that its operation does not declare.
"""

import copy
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import schemathesis
from django.core import signals
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import ignored_auth

from imissive.reference.schema import document

EXAMPLES = int(os.environ.get("CONFORMANCE_EXAMPLES", "12"))
"""Random calls of each operation by each caller, besides the examples and the boundary values."""
SEED = int(os.environ.get("CONFORMANCE_SEED", "1"))
REPEATED = "CONFORMANCE_SEED" not in os.environ
"""True where chains of calls, which take no seed, are the same each time."""

_UNDERSTOOD = ["2xx", "400", "401", "402", "403", "404", "409", "413", "422"]
# Rules that a schema cannot express, such as the order of two times, by the field at fault.
_BEYOND_SCHEMAS = {
    "send_message": {"message"},
    "list_messages": {"created_after"},
    "send_otp": {"app_hash"},
    "request_sender_id": {"name"},
    "list_webhook_deliveries": {"created_after"},
    "replay_webhook_deliveries": {"to"},
    "get_usage": {"from", "to"},
}
# An estimate reports an invalid schedule among its problems: `problems_are_reported` checks that.
_ESTIMATED = ["200", "400", "401", "403", "406", "409", "415", "422"]
_NEVER_FOR_VALID = {"INVALID_REQUEST", "UNSUPPORTED_MEDIA_TYPE", "NOT_ACCEPTABLE"}


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with closed responses: no other fields or codes than they declare."""
    schema = copy.deepcopy(schema)
    for model in schema["components"]["schemas"].values():
        if model.get("type") == "object" and "properties" in model:
            model.setdefault("additionalProperties", False)
    for operations in schema["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                if "x-codes" in response:
                    _close_codes(response)
    return schema


def _close_codes(response: dict[str, Any]) -> None:
    content = response["content"]["application/json"]
    code = {"properties": {"code": {"enum": response["x-codes"]}}}
    content["schema"] = {"allOf": [content["schema"], {"properties": {"error": code}}]}


def load(*, examples: int = EXAMPLES, invalid: bool = True, boundaries: bool = True) -> Any:
    """Load the schema to make calls with.

    `invalid`: also calls that the schema does not allow. `boundaries`: calls with the boundary
    values of each field.
    """
    config = SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "generation": {
                "max-examples": examples,
                "deterministic": True,
                "database": "none",
                "mode": "all" if invalid else "positive",
            },
            "phases": {"coverage": {"enabled": boundaries}},
            "operations": [
                {
                    "include-operation-id": "estimate",
                    "checks": {"negative_data_rejection": {"expected-statuses": _ESTIMATED}},
                }
            ],
            "checks": {
                # Rules beyond the schema are refused too: `valid_is_understood` checks that.
                "positive_data_acceptance": {"expected-statuses": _UNDERSTOOD},
            },
        }
    )
    loaded = schemathesis.openapi.from_dict(strict(orjson.loads(document().text)), config=config)
    loaded.app = get_wsgi_application()
    return loaded


def valid_is_understood(context: Any, response: Any, case: Any) -> None:
    """Check that a valid call is refused for its meaning only, never for its form."""
    if not case.meta.generation.mode.is_positive or response.status_code < 400:
        return
    error = response.json()["error"]
    beyond = _BEYOND_SCHEMAS.get(case.operation.definition.raw["operationId"], ())
    if error["code"] in _NEVER_FOR_VALID and error["field"] not in beyond:
        raise AssertionError(f"The schema allows this, the API does not: {error}")


def problems_are_reported(context: Any, response: Any, case: Any) -> None:
    """Check that an estimate of an invalid call has that among its problems."""
    estimated = case.operation.definition.raw["operationId"] == "estimate"
    negative = case.meta.is_negative_at(ParameterLocation.BODY)
    if estimated and negative and response.status_code == 200:
        body = response.json()
        for message in body.get("messages", [body]):
            assert "INVALID_SCHEDULE" in {problem["code"] for problem in message["problems"]}


@contextmanager
def undone() -> Iterator[None]:
    """Run in a transaction that is rolled back, and that the requests in it do not close."""
    # Like Django's test client, which connects the signals again after every request.
    both = (signals.request_started, signals.request_finished)
    for signal in both:
        signal.disconnect(close_old_connections)
    try:
        with transaction.atomic():
            yield
            transaction.set_rollback(True)
    finally:
        for signal in both:
            signal.connect(close_old_connections)


@dataclass
class Caller:
    """The caller: its key, and values that make its calls refer to existing objects.

    `ids`: by the names of path parameters, several in turn. `values`: by the names of fields of a
    body. `periods`: the same for a body with `from` and `to`. They are used in every other call;
    with `always`, the ids in every call.
    """

    secret: str
    ids: Sequence[Mapping[str, str]]
    values: Mapping[str, Any] = field(default_factory=dict)
    periods: Mapping[str, str] = field(default_factory=dict)
    always: bool = False
    responses: list[Any] = field(default_factory=list)
    _turns: Iterator[int] = field(default_factory=itertools.count)

    def make(self, case: Any) -> Any:
        """Make the call, check its response, and undo its effects."""
        self._prepare(case)
        with undone():
            response = case.call(headers=self.headers)
            case.validate_response(
                response,
                headers=self.headers,
                additional_checks=[valid_is_understood, problems_are_reported],
                # It repeats the call with a wrong key and without one; doing that once is enough.
                excluded_checks=[ignored_auth] if self.succeeded else [],
            )
        self.responses.append(response)
        return response

    def _prepare(self, case: Any) -> None:
        turn = next(self._turns)
        filled = turn % 2 == 0
        if (filled or self.always) and not case.meta.is_negative_at(ParameterLocation.PATH):
            ids = self.ids[turn // 2 % len(self.ids)]
            for name in case.path_parameters or {}:
                case.path_parameters[name] = ids[name]
        if filled:
            self.fill(case)

    def fill(self, case: Any) -> None:
        """Put the values into a valid body."""
        if case.meta.generation.mode.is_positive and isinstance(case.body, dict):
            case.body = self._filled(case.body)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"} if self.secret else {}

    @property
    def succeeded(self) -> bool:
        """True once any call succeeded."""
        return any(response.status_code < 300 for response in self.responses)

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            values = self.periods if "from" in value else self.values
            return {name: values.get(name, self._filled(item)) for name, item in value.items()}
        return [self._filled(item) for item in value] if isinstance(value, list) else value
