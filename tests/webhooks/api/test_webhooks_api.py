"""GET, POST and DELETE /v1/webhooks, as documented in the API contract."""

import base64
import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from accounts.keys.api_keys import create_key, revoke_key
from tests.support.factories import Api, Customer
from tests.support.webhook_calls import refused
from webhooks.endpoints import endpoints
from webhooks.models import Endpoint, EventType

URL = "https://example.com/hook"


@pytest.fixture(autouse=True)
def _production(settings: Any) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = False


def created(api: Api, **fields: Any) -> Any:
    response = api.post("/v1/webhooks", {"url": URL} | fields)
    assert response.status_code == 201, response.content
    return response.json()


def delete(api: Api, path: str):
    return Client().delete(path, headers={"Authorization": f"Bearer {api.secret}"})


def test_an_endpoint_is_created(api: Api, customer: Customer) -> None:
    new = created(api, description="orders", events=["message.sent", "message.delivered"])
    assert set(new) == {
        "id", "test", "url", "description", "events", "enabled", "disabled_reason", "failing_since",
        "paused_until", "previous_secret_until", "secret", "created_at",
    }  # fmt: skip
    assert re.fullmatch(r"whk_[0-9a-hjkmnp-tv-z]{26}", new["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", new["created_at"])
    assert new["url"] == URL
    assert new["description"] == "orders"
    assert new["events"] == ["message.sent", "message.delivered"]
    assert new["enabled"] is True
    assert new["secret"].startswith("whsec_")
    assert len(base64.b64decode(new["secret"].removeprefix("whsec_"), validate=True)) == 32


def test_the_secret_is_returned_once_and_stored_encrypted(api: Api, customer: Customer) -> None:
    new = created(api)
    assert "secret" not in api.get(f"/v1/webhooks/{new['id']}").json()
    assert "secret" not in api.get("/v1/webhooks").json()["data"][0]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT secret FROM webhooks_endpoint WHERE organization_id = %s", [customer.id]
        )
        assert new["secret"] not in cursor.fetchone()[0]
    assert Endpoint.objects.get(organization=customer.id).secret == new["secret"]


def test_all_events_are_subscribed_by_default(api: Api) -> None:
    assert created(api)["events"] == []
    assert created(api, events=[])["events"] == []
    assert created(api, events=["message.sent", "message.sent"])["events"] == ["message.sent"]
    assert created(api, events=EventType.values)["events"] == EventType.values


def test_endpoints_are_listed_oldest_first(api: Api) -> None:
    new = [created(api, url=f"{URL}/{number}") for number in range(3)]
    for endpoint in new:
        del endpoint["secret"]
    response = api.get("/v1/webhooks")
    assert response.status_code == 200
    assert response.json() == {"data": new, "next_cursor": None}
    assert api.get(f"/v1/webhooks/{new[1]['id']}").json() == new[1]


def test_endpoints_are_listed_in_pages(api: Api) -> None:
    new = [created(api)["id"] for _ in range(5)]
    read, query = [], "?limit=2"
    while True:
        page = api.get(f"/v1/webhooks{query}").json()
        read.append([row["id"] for row in page["data"]])
        if page["next_cursor"] is None:
            break
        query = f"?limit=2&cursor={page['next_cursor']}"
    assert read == [new[:2], new[2:4], new[4:]]


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=201", "limit"), ("cursor=x", "cursor"), ("page=2", "page")],
)
def test_invalid_queries(api: Api, query: str, field: str) -> None:
    refused(api.get(f"/v1/webhooks?{query}"), 400, "INVALID_REQUEST", field)


def test_a_deleted_endpoint_is_not_found(api: Api, customer: Customer) -> None:
    kept, gone = created(api), created(api)
    response = delete(api, f"/v1/webhooks/{gone['id']}")
    assert (response.status_code, response.content) == (204, b"")
    assert [row["id"] for row in api.get("/v1/webhooks").json()["data"]] == [kept["id"]]
    refused(api.get(f"/v1/webhooks/{gone['id']}"), 404, "NOT_FOUND")
    refused(delete(api, f"/v1/webhooks/{gone['id']}"), 404, "NOT_FOUND")
    row = Endpoint.objects.get(organization=customer.id, enabled=False)
    assert (row.secret, row.previous_secret) == ("", "")


def test_other_organizations_endpoints_are_not_found(api: Api, outsider: Customer) -> None:
    theirs = created(outsider.api)
    refused(api.get(f"/v1/webhooks/{theirs['id']}"), 404, "NOT_FOUND")
    refused(delete(api, f"/v1/webhooks/{theirs['id']}"), 404, "NOT_FOUND")
    assert api.get("/v1/webhooks").json()["data"] == []
    assert outsider.api.get(f"/v1/webhooks/{theirs['id']}").status_code == 200


@pytest.mark.parametrize("id", ["whk_1", "msg_01hm6v0q8nfj2r4t6v8x0z2a4c", "x", "whk_" + "z" * 26])
def test_invalid_ids_are_not_found(api: Api, id: str) -> None:
    refused(api.get(f"/v1/webhooks/{id}"), 404, "NOT_FOUND")
    refused(delete(api, f"/v1/webhooks/{id}"), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://example.com/", "https://"),
        ("ftp://example.com/", "https://"),
        ("not a url", "character"),
        ("", "https://"),
        ("https://", "host"),
        ("https://user:pw@example.com/", "password"),
        ("https://127.0.0.1/", "that address"),
        ("https://[::1]/", "that address"),
        ("https://10.0.0.1/", "that address"),
        ("https://169.254.169.254/latest", "that address"),
        ("https://2130706433/", "that address"),
        ("https://localhost/", "loopback"),
        ("https://example.com/\0", "character"),
        ("https://example.com/" + "a" * 481, "500"),
    ],
)
def test_refused_urls(api: Api, customer: Customer, url: str, message: str) -> None:
    message = refused(api.post("/v1/webhooks", {"url": url}), 400, "INVALID_URL", "url")
    assert message in message
    assert not Endpoint.objects.filter(organization=customer.id).exists()


def test_the_longest_url_is_accepted(api: Api) -> None:
    url = "https://example.com/" + "a" * 480
    assert created(api, url=url)["url"] == url


def test_loopback_where_the_setting_allows_it(api: Api, settings: Any) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = True
    assert created(api, url="http://127.0.0.1:8900/")["url"] == "http://127.0.0.1:8900/"
    refused(api.post("/v1/webhooks", {"url": "http://10.0.0.1/"}), 400, "INVALID_URL", "url")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": None}, "url"),
        ({"url": 5}, "url"),
        ({"url": [URL]}, "url"),
        ({"url": URL, "event": "message.sent"}, "event"),
        ({"url": URL, "secret": "whsec_mine"}, "secret"),
        ({"url": URL, "enabled": False}, "enabled"),
        ({"url": URL, "events": "message.sent"}, "events"),
        ({"url": URL, "events": None}, "events"),
        ({"url": URL, "events": ["message.lost"]}, "events[0]"),
        ({"url": URL, "events": ["message.sent", 1]}, "events[1]"),
        ({"url": URL, "events": ["message.sent"] * 51}, "events"),
        ({"url": URL, "description": "d" * 201}, "description"),
        ({"url": URL, "description": 1}, "description"),
        ({"url": URL, "description": "a\0b"}, "description"),
        ([], None),
        ("text", None),
    ],
)
def test_invalid_bodies(api: Api, customer: Customer, body: Any, field: str) -> None:
    refused(api.post("/v1/webhooks", body), 400, "INVALID_REQUEST", field)
    assert not Endpoint.objects.filter(organization=customer.id).exists()


@pytest.mark.parametrize("raw", ["{", "", '{"url": "\\ud800"}', b"\xff"])
def test_bodies_that_are_not_json(api: Api, raw: str | bytes) -> None:
    refused(api.post("/v1/webhooks", raw=raw), 400, "INVALID_REQUEST")


def test_at_most_fifty_endpoints(api: Api, customer: Customer) -> None:
    Endpoint.objects.bulk_create(
        Endpoint(organization=customer.organization, url=URL, secret="whsec_YQ==")
        for _ in range(endpoints.MOST)
    )
    refused(api.post("/v1/webhooks", {"url": URL}), 409, "CONFLICT")
    last = api.get("/v1/webhooks").json()["data"][-1]
    assert delete(api, f"/v1/webhooks/{last['id']}").status_code == 204
    created(api)


@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_permissions(customer: Customer, method: str) -> None:
    path = "/v1/webhooks" if method != "delete" else "/v1/webhooks/whk_1"
    allowed = {"get": 200, "post": 201, "delete": 404}[method]

    def status(secret: str) -> Any:
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        client = Client()
        if method == "post":
            body = {"url": URL}
            return client.post(path, body, "application/json", headers=headers).status_code
        return getattr(client, method)(path, headers=headers).status_code

    key, revoked = create_key(customer.organization, "revoked", test=False)
    revoke_key(key)
    with_scope = create_key(customer.organization, "a", test=False, scopes=["webhooks"])[1]
    without = create_key(customer.organization, "b", test=False, scopes=["sms:send", "balance"])[1]
    assert status("") == 401
    assert status("imk_live_" + "0" * 64) == 401
    assert status(revoked) == 401
    assert status(without) == 403
    assert status(with_scope) == allowed
    assert status(customer.test_api.secret) == allowed


def test_other_methods(api: Api) -> None:
    client = Client(headers={"Authorization": f"Bearer {api.secret}"})
    refused(client.put("/v1/webhooks", {}, "application/json"), 405, "METHOD_NOT_ALLOWED")
    refused(client.delete("/v1/webhooks"), 405, "METHOD_NOT_ALLOWED")
