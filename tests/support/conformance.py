"""The API judged by its own schema from outside: what is sent, who sends it, and what must hold.

schemathesis makes the calls: the schema's examples, each border of each field, and random ones,
right and wrong. Its checks are all on, and stricter than the schema asks for: an answer has no
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
"""Random calls of each operation by each caller, beside the examples and the borders."""
SEED = int(os.environ.get("CONFORMANCE_SEED", "1"))
REPEATED = "CONFORMANCE_SEED" not in os.environ
"""Whether chains of calls, which take no seed, are the same ones each time."""

_UNDERSTOOD = ["2xx", "400", "401", "402", "403", "404", "409", "413", "422"]
# What a schema cannot say, such as which of two times is the later one, by the field at fault.
_BEYOND_SCHEMAS = {
    "send_message": {"message"},
    "list_messages": {"created_after"},
    "send_otp": {"app_hash"},
    "request_sender_id": {"name"},
    "list_webhook_deliveries": {"created_after"},
    "replay_webhook_deliveries": {"to"},
    "get_usage": {"from", "to"},
}
# An estimate tells a schedule that is none beside all else: `wrong_is_told` looks closer.
_ESTIMATED = ["200", "400", "401", "403", "406", "409", "415", "422"]
_NEVER_FOR_VALID = {"INVALID_REQUEST", "UNSUPPORTED_MEDIA_TYPE", "NOT_ACCEPTABLE"}


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with every answer closed: no other field, no other code than it declares."""
    schema = copy.deepcopy(schema)
    for model in schema["components"]["schemas"].values():
        if model.get("type") == "object" and "properties" in model:
            model.setdefault("additionalProperties", False)
    for operations in schema["paths"].values():
        for operation in operations.values():
            for answer in operation["responses"].values():
                if "x-codes" in answer:
                    _close_codes(answer)
    return schema


def _close_codes(answer: dict[str, Any]) -> None:
    content = answer["content"]["application/json"]
    code = {"properties": {"code": {"enum": answer["x-codes"]}}}
    content["schema"] = {"allOf": [content["schema"], {"properties": {"error": code}}]}


def load(*, examples: int = EXAMPLES, wrong: bool = True, borders: bool = True) -> Any:
    """The schema, ready to make calls with.

    `wrong`: calls too that the schema does not allow. `borders`: those at each field's borders.
    """
    config = SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "generation": {
                "max-examples": examples,
                "deterministic": True,
                "database": "none",
                "mode": "all" if wrong else "positive",
            },
            "phases": {"coverage": {"enabled": borders}},
            "operations": [
                {
                    "include-operation-id": "estimate",
                    "checks": {"negative_data_rejection": {"expected-statuses": _ESTIMATED}},
                }
            ],
            "checks": {
                # What a schema cannot say is refused too: `valid_is_understood` looks closer.
                "positive_data_acceptance": {"expected-statuses": _UNDERSTOOD},
            },
        }
    )
    loaded = schemathesis.openapi.from_dict(strict(orjson.loads(document().text)), config=config)
    loaded.app = get_wsgi_application()
    return loaded


def valid_is_understood(context: Any, response: Any, case: Any) -> None:
    """What the schema allows is refused for what it means only, never for how it is written."""
    if not case.meta.generation.mode.is_positive or response.status_code < 400:
        return
    error = response.json()["error"]
    beyond = _BEYOND_SCHEMAS.get(case.operation.definition.raw["operationId"], ())
    if error["code"] in _NEVER_FOR_VALID and error["field"] not in beyond:
        raise AssertionError(f"The schema allows this, the API does not: {error}")


def wrong_is_told(context: Any, response: Any, case: Any) -> None:
    """An estimate of what the schema does not allow has that among its problems."""
    estimated = case.operation.definition.raw["operationId"] == "estimate"
    negative = case.meta.is_negative_at(ParameterLocation.BODY)
    if estimated and negative and response.status_code == 200:
        answer = response.json()
        for message in answer.get("messages", [answer]):
            assert "INVALID_SCHEDULE" in {problem["code"] for problem in message["problems"]}


@contextmanager
def undone() -> Iterator[None]:
    """A transaction that is rolled back, and which the requests in it do not close."""
    # As Django's own test client does, whose every request connects them again.
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
    """Who makes the calls, and what is put into them so that they are about something.

    `ids`: by the names of the parameters in a path, several in turn. `values`: by the names of
    fields of a body. `spans`: the same for a body with `from` and `to`. They go into every other
    call, and the ids into every call where `always`.
    """

    secret: str
    ids: Sequence[Mapping[str, str]]
    values: Mapping[str, Any] = field(default_factory=dict)
    spans: Mapping[str, str] = field(default_factory=dict)
    always: bool = False
    answers: list[Any] = field(default_factory=list)
    _turns: Iterator[int] = field(default_factory=itertools.count)

    def make(self, case: Any) -> Any:
        """Make the call, judge the answer, and undo what it did."""
        self._prepare(case)
        with undone():
            response = case.call(headers=self.headers)
            case.validate_response(
                response,
                headers=self.headers,
                additional_checks=[valid_is_understood, wrong_is_told],
                # That one makes the call twice more, with a wrong key and without: once is enough.
                excluded_checks=[ignored_auth] if self.succeeded else [],
            )
        self.answers.append(response)
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
        """Put the values into a body that the schema allows."""
        if case.meta.generation.mode.is_positive and isinstance(case.body, dict):
            case.body = self._filled(case.body)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"} if self.secret else {}

    @property
    def succeeded(self) -> bool:
        """Whether any call did what it was for."""
        return any(answer.status_code < 300 for answer in self.answers)

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            values = self.spans if "from" in value else self.values
            return {name: values.get(name, self._filled(item)) for name, item in value.items()}
        return [self._filled(item) for item in value] if isinstance(value, list) else value
