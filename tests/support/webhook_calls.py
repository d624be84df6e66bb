"""Calls to the webhook API, and checks that apply to every route of it."""

import json
from typing import Any

from django.test import Client

from accounts.keys.api_keys import create_key
from tests.support.factories import Api, Customer

UNKNOWN_WEBHOOKS = ["whk_1", "msg_01hm6v0q8nfj2r4t6v8x0z2a4c", "x", "whk_" + "z" * 26]
UNKNOWN_DELIVERIES = ["dlv_1", "whk_01hm6v0q8nfj2r4t6v8x0z2a4c", "x", "dlv_" + "z" * 26]


def call(
    api: Api, method: str, path: str, body: Any = None, *, raw: str | None = None, **more: Any
):
    """Make a call with a JSON body, with `raw` as it is, or without; `more` are WSGI headers."""
    data = raw if raw is not None else "" if body is None else json.dumps(body)
    headers = {"Authorization": f"Bearer {api.secret}"} if api.secret else {}
    if raw is not None:
        # Django's client sends no Content-Type for an empty body unless it is given.
        more["CONTENT_TYPE"] = "application/json"
    return Client().generic(method, path, data, "application/json", headers=headers, **more)


def call_json(api: Api, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
    """Make a call, check its status, and return the JSON of its response."""
    response = call(api, method, path, body)
    assert response.status_code == status, response.content
    return response.json() if response.content else None


def refused(response: Any, status: int, code: str, field: str | None = None) -> str:
    """Check a refusal's status, code and field, and return its message."""
    assert response.status_code == status, response.content
    error = response.json()["error"]
    assert (error["code"], error["field"]) == (code, field)
    assert response["X-Request-Id"] == response.json()["request_id"]
    return str(error["message"])


def check_who_may(
    customer: Customer, outsider: Customer, method: str, path: str, body: Any, *, status: int
) -> None:
    """Check that only the customer's key with the scope may make the call.

    Calls without a key, with an unknown one, without the scope and by an outsider are refused. They
    come first, so that an effect of one would show in the last call.
    """
    organization = customer.organization
    without = create_key(organization, "b", test=False, scopes=["sms:send", "otp"])[1]
    with_scope = create_key(organization, "a", test=False, scopes=["webhooks"])[1]
    refused(call(Api(""), method, path, body), 401, "UNAUTHORIZED")
    refused(call(Api("imk_live_" + "0" * 64), method, path, body), 401, "UNAUTHORIZED")
    refused(call(Api(without), method, path, body), 403, "FORBIDDEN")
    refused(call(outsider.api, method, path, body), 404, "NOT_FOUND")
    assert call(Api(with_scope), method, path, body).status_code == status


def check_other_methods(api: Api, path: str, *allowed: str) -> None:
    """Check that every other method gets 405 with the allowed ones."""
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - set(allowed):
        response = call(api, method, path, {})
        refused(response, 405, "METHOD_NOT_ALLOWED")
        assert set(allowed) <= set(response["Allow"].split(", "))
