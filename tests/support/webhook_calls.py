"""Calls to the webhook API, and what every endpoint of it has in common."""

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
    """Any method with a JSON body, with `raw` as it is, or with none; `more` are WSGI headers."""
    data = raw if raw is not None else "" if body is None else json.dumps(body)
    headers = {"Authorization": f"Bearer {api.secret}"} if api.secret else {}
    if raw is not None:
        # Django's client says nothing of the type of an empty body unless told so.
        more["CONTENT_TYPE"] = "application/json"
    return Client().generic(method, path, data, "application/json", headers=headers, **more)


def answer(api: Api, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
    """The JSON of an answer that has that status."""
    response = call(api, method, path, body)
    assert response.status_code == status, response.content
    return response.json() if response.content else None


def refused(response: Any, status: int, code: str, field: str | None = None) -> str:
    """The sentence of a refusal in the contract's form."""
    assert response.status_code == status, response.content
    error = response.json()["error"]
    assert (error["code"], error["field"]) == (code, field)
    assert response["X-Request-Id"] == response.json()["request_id"]
    return str(error["message"])


def check_who_may(
    customer: Customer, outsider: Customer, method: str, path: str, body: Any, *, status: int
) -> None:
    """Nobody, a key without the scope and an outsider are refused; keys of both kinds are not.

    Refused calls come first, so one that did something would show in the last.
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
    """Every other method is 405 and tells which are allowed."""
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - set(allowed):
        response = call(api, method, path, {})
        refused(response, 405, "METHOD_NOT_ALLOWED")
        assert set(allowed) <= set(response["Allow"].split(", "))
