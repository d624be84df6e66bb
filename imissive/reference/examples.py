"""The guide's calls as examples of the schema: one set, which the guide's tests run and compare."""

import re
from datetime import date
from typing import Any

from django.conf import settings

from imissive.core.api.openapi import Schema
from imissive.guide import calls
from imissive.guide.rendering import EXAMPLE_BASE

_DAY, _OTHER_DAY = date(2026, 11, 23), date(2026, 11, 24)
"""Responses have the first day in their times, so that the schema is the same every day."""


def add_examples(result: Schema) -> None:
    """Add each call of the guide to its operation in `result`; skip calls without an operation."""
    found = [
        (re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))), method, operation)
        for path, operations in result["paths"].items()
        for method, operation in operations.items()
    ]
    # A path without a parameter matches before one that has a parameter in the same place.
    found.sort(key=lambda one: one[0].pattern.count("[^/]+"))
    for name in calls.names():
        call = calls.load(name, _DAY)
        path = call.path.partition("?")[0]
        for pattern, method, operation in found:
            if method.upper() == call.method and pattern.fullmatch(path):
                _add(operation, call)
                break


def _add(operation: Schema, call: calls.Call) -> None:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    # A body with a date is left out: the date would be past one day.
    undated = calls.load(call.name, _OTHER_DAY).body == call.body
    if body is not None and call.body is not None and undated and call.status < 400:
        body.setdefault("examples", {})[call.name] = {"value": call.body}
    response = operation["responses"].get(str(call.status), {}).get("content", {})
    if call.answer is not None and "application/json" in response and call.status < 400:
        examples = response["application/json"].setdefault("examples", {})
        examples[call.name] = {"value": _based(call.answer)}


def _based(value: Any) -> Any:
    """Return the JSON value with this platform's URL in place of the placeholder."""
    if isinstance(value, dict):
        return {key: _based(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_based(item) for item in value]
    return value.replace(EXAMPLE_BASE, settings.PUBLIC_URL) if isinstance(value, str) else value
