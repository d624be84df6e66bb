"""The shared parts of the OpenAPI document: error responses, headers, the Idempotency-Key.

drf-spectacular calls `complete` after it has described the views (SPECTACULAR_SETTINGS).
"""

from collections import defaultdict
from http import HTTPStatus
from typing import Any

from django.conf import settings

from imissive.core import ids
from imissive.core.api.error_bodies import Error
from imissive.core.api.openapi import REFERENCE, Schema, components_of
from imissive.core.api.operation import PATH_IDS
from imissive.core.errors import STATUS_OF_CODE
from imissive.reference import codes, events
from imissive.reference.examples import add_examples
from imissive.reference.operations import (
    OPERATIONS,
    TAGS,
    WHOSE_ID,
    Operation,
    tag_of,
)

_WITH_BODY = ("post", "patch", "put")
_METHODS = ("get", *_WITH_BODY, "delete")
_IDEMPOTENCY_KEY = "#/components/parameters/IdempotencyKey"
_ERROR = {"$ref": REFERENCE.format(model=Error.__name__)}


def _header(description: str, *, required: bool = True, **schema: Any) -> Schema:
    return {"description": description, "required": required, "schema": schema}


def _whole(**more: Any) -> Schema:
    return {"type": "integer", "minimum": 0, **more}


HEADERS: Schema = {
    "X-Request-Id": _header(
        "This call's id. Quote it to support.", type="string", examples=["req_01m83snhn8fsjs…"]
    ),
    "X-RateLimit-Limit": _header("Calls or messages a minute.", **_whole(examples=[600])),
    "X-RateLimit-Remaining": _header("How many are left now.", **_whole(examples=[599])),
    "X-RateLimit-Reset": _header(
        "When all are left again, in Unix seconds.", **_whole(examples=[1795423922])
    ),
    "RateLimit-Policy": _header(
        "The limit as draft-ietf-httpapi-ratelimit-headers has it.",
        type="string",
        examples=['"send";q=600;w=60'],
    ),
    "RateLimit": _header(
        "Where it stands, by the same draft.", type="string", examples=['"send";r=599;t=1']
    ),
    "Retry-After": _header("Seconds to wait before the next try.", **_whole(examples=[5])),
    "Retry-After-If-Known": _header(
        "Seconds to wait, where waiting helps.", required=False, **_whole(examples=[1])
    ),
    "Idempotent-Replayed": _header(
        "The call was made before with this `Idempotency-Key`: this is its answer again.",
        required=False,
        type="string",
        const="true",
    ),
    "WWW-Authenticate": _header("How to authenticate.", type="string", const="Bearer"),
    "Allow": _header("The methods that the address answers to.", type="string"),
}

PARAMETERS: Schema = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "Makes the call take effect once, however often it is repeated within 24"
        " hours.",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "pattern": "^[!-~]([ -~]*[!-~])?$",
            "examples": ["order-4711"],
        },
    }
}

_EXAMPLE = "01m83snhn8fsjsf5h41ebt60cg"
_RATE_HEADERS = [name for name in HEADERS if name.lower().lstrip("x-").startswith("ratelimit")]
# Errors before the caller is authenticated, or while that failed, have no rate limit to report.
_WITHOUT_RATE = (401, 406, 500, 503)
_OWN_HEADERS = {
    401: ["WWW-Authenticate"],
    409: ["Retry-After-If-Known"],
    429: ["Retry-After"],
    503: ["Retry-After"],
}
_INTRODUCTION = """\
Send SMS and one-time passwords, and be told what became of each by signed webhooks.

**Authentication.** Every call has an API key: `Authorization: Bearer imk_live_…`. A test key \
(`imk_test_…`) reaches only the simulator and is never charged. Each kind of key reads and changes \
only objects of its own mode, live or test; those of the other are not found.

**Conventions.** JSON in UTF-8, in and out. Times are ISO 8601 in UTC with `Z`. Credits are \
decimal strings. Ids are a prefix and 26 characters. A field or parameter that is not described \
here is refused; new fields may come in answers, so ignore those that you do not know. `GET` may \
be `HEAD`.

**Errors.** Every refusal has the same body, with a `code` to act upon and a `message` to read. An \
address or a method that is not described here is refused in the same way, with 404 or 405.

**Once.** Give every `POST` an `Idempotency-Key`, and repeat it safely after a timeout: for 24 \
hours, the same key and body give the first answer again, with `Idempotent-Replayed: true`; \
another body is refused. A refused call leaves no trace, so its key may be used again.

**Limits.** Calls are counted by organization. Every authenticated answer says where the limit \
stands; 429 says how long to wait.
"""


def complete(result: Schema, generator: Any, request: Any, public: bool) -> Schema:
    """Return the whole OpenAPI document for the schema of the views: a POSTPROCESSING_HOOKS."""
    result["info"]["description"] = _INTRODUCTION
    result["servers"] = [{"url": settings.PUBLIC_URL}]
    result["externalDocs"] = {"url": f"{settings.PUBLIC_URL}/docs", "description": "The guide"}
    result["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    result["paths"] = _ordered(result["paths"])
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            _complete(path, method, operation)
    components = result["components"]
    components["schemas"] |= components_of(Error, "serialization") | events.components()
    components["schemas"] = dict(sorted(components["schemas"].items()))
    components["headers"] = HEADERS
    components["parameters"] = PARAMETERS
    components["examples"] = {
        code: {"summary": known.meaning, "value": codes.example(code, settings.PUBLIC_URL)}
        for code, known in codes.CODES.items()
    }
    _add_links(result["paths"])
    add_examples(result)
    return {**result, "webhooks": events.webhooks()}


def _ordered(paths: Schema) -> Schema:
    """Return the paths in the order of TAGS, and within a tag in that of OPERATIONS."""
    tags, known = list(TAGS), list(OPERATIONS)

    def place(item: tuple[str, Schema]) -> tuple[int, int, str]:
        path, operations = item
        ranks = [
            known.index(operation["operationId"])
            for operation in operations.values()
            if operation["operationId"] in OPERATIONS
        ]
        return tags.index(tag_of(path)), min(ranks, default=len(known)), path

    return {
        path: {method: operations[method] for method in _METHODS if method in operations}
        for path, operations in sorted(paths.items(), key=place)
    }


def _complete(path: str, method: str, operation: Schema) -> None:
    """Add the tag, parameters, headers and error responses that depend on the kind of operation."""
    operation["tags"] = [tag_of(path)]
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            parameter |= _in_path(parameter["name"])
    if method == "post":
        operation.setdefault("parameters", []).append({"$ref": _IDEMPOTENCY_KEY})
    for name, response in operation["responses"].items():
        response["description"] = response.get("description") or HTTPStatus(int(name)).phrase
        response["headers"] = _headers(int(name), replayable=method == "post")
    known = OPERATIONS.get(operation["operationId"], Operation())
    queried = any(parameter.get("in") == "query" for parameter in operation.get("parameters", []))
    possible = {*known.codes, *_common_codes(method, in_path="{" in path, queried=queried)}
    by_status = defaultdict(list)
    for code, status in STATUS_OF_CODE.items():
        if code in possible:
            by_status[status].append(code)
    for status, its_codes in by_status.items():
        operation["responses"][str(status)] = _refusal(status, its_codes)


def _in_path(name: str) -> Schema:
    """Return the description and schema of the path parameter with that name."""
    if name == "number":
        return {
            "description": "The number in E.164, such as `+966501234567`; the plus may be left"
            " out.",
            "schema": {"type": "string", "examples": ["+966501234567"]},
        }
    prefix, whose = PATH_IDS[name], WHOSE_ID[name]
    schema = {
        "type": "string",
        "pattern": ids.pattern(prefix),
        "examples": [f"{prefix}_{_EXAMPLE}"],
    }
    return {"description": f"The {whose} id, `{prefix}_…`.", "schema": schema}


def _common_codes(method: str, *, in_path: bool, queried: bool) -> set[str]:
    """Return the error codes that any operation with that method and parameters may have."""
    found = {
        "UNAUTHORIZED",
        "FORBIDDEN",
        "NOT_ACCEPTABLE",
        "RATE_LIMITED",
        "SERVER_ERROR",
        "UNAVAILABLE",
    }
    if in_path:
        found.add("NOT_FOUND")
    if queried or method in _WITH_BODY:
        found.add("INVALID_REQUEST")
    if method in _WITH_BODY:
        found |= {"PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"}
    if method == "post":
        found |= {"IDEMPOTENCY_IN_PROGRESS", "IDEMPOTENCY_MISMATCH"}
    return found


def _refusal(status: int, its_codes: list[str]) -> Schema:
    """Return the error response of that status. `x-codes` are its possible error codes."""
    meanings = [f"`{code}`: {codes.CODES[code].meaning}" for code in its_codes]
    return {
        "description": "\n\n".join(meanings),
        "headers": _headers(status),
        "content": {
            "application/json": {
                "schema": _ERROR,
                "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in its_codes},
            }
        },
        "x-codes": its_codes,
    }


def _headers(status: int, *, replayable: bool = False) -> Schema:
    names = ["X-Request-Id"]
    if status not in _WITHOUT_RATE:
        names += _RATE_HEADERS
    if status < 300 and replayable:
        names.append("Idempotent-Replayed")
    names += _OWN_HEADERS.get(status, [])
    return {
        name.removesuffix("-If-Known"): {"$ref": f"#/components/headers/{name}"} for name in names
    }


def _add_links(paths: Schema) -> None:
    """Add OpenAPI links: responses have the ids that other operations take as parameters."""
    existing = {
        operation["operationId"]
        for operations in paths.values()
        for operation in operations.values()
    }
    for operations in paths.values():
        for operation in operations.values():
            links = {
                link.operation: {
                    "operationId": link.operation,
                    "parameters": {link.parameter: f"$response.body#{link.field}"},
                }
                for link in OPERATIONS.get(operation["operationId"], Operation()).links
                if link.operation in existing
            }
            if links:
                success = next(name for name in operation["responses"] if name < "300")
                operation["responses"][success]["links"] = links
