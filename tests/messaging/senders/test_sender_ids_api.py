"""GET and POST /v1/sender-ids, GET /v1/sender-ids/{id}."""

import re
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest

from accounts.keys.api_keys import create_key
from accounts.models import ApiKey, AuditEntry
from accounts.roles import Scope
from messaging.models import SenderId, SenderStep
from messaging.senders import approval
from tests.support.factories import (
    PHONE,
    SENDER,
    Api,
    Customer,
    World,
    in_threads,
)
from tests.support.people import operator
from webhooks.models import Delivery

URL = "/v1/sender-ids"
GOOD = {"name": "NewShop", "purpose": "Orders", "sample": "Your order is here."}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
FIELDS = {
    "id",
    "name",
    "kind",
    "status",
    "purpose",
    "sample",
    "reason",
    "is_default",
    "created_at",
    "decided_at",
}


def requested(api: Api, **fields: Any) -> Any:
    response = api.post(URL, GOOD | fields)
    assert response.status_code == 201, response.content
    return response.json()


def row(sender_id: str) -> SenderId:
    return next(one for one in SenderId.objects.all() if one.public_id == sender_id)


def refused(response: Any, status: int, code: str, field: str | None = None) -> str:
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["field"]) == (status, code, field)
    return str(error["message"])


# ---------------------------------------------------------------- requests


def test_a_request_waits_for_an_operator(api: Api, customer: Customer) -> None:
    created = requested(api)
    assert set(created) == FIELDS
    assert re.fullmatch(r"snd_[0-9a-hjkmnp-tv-z]{26}", created["id"])
    assert TIME.fullmatch(created["created_at"])
    assert created | {"id": "", "created_at": ""} == GOOD | {
        "id": "",
        "kind": "alphanumeric",
        "status": "pending",
        "reason": None,
        "is_default": False,
        "created_at": "",
        "decided_at": None,
    }
    assert row(created["id"]).organization == customer.organization
    sms = {"to": PHONE, "message": "Too early", "sender_id": "NewShop"}
    refused(api.post("/v1/sms/send", sms), 403, "INVALID_SENDER", "sender_id")


def test_it_is_audited_with_the_requesting_key_and_without_a_person(
    customer: Customer,
) -> None:
    created = requested(customer.api)
    entry = AuditEntry.objects.get(organization=customer.organization)
    key = ApiKey.objects.get(organization=customer.id, test=False)
    assert (entry.action, entry.actor) == ("sender_id.requested", None)
    assert entry.target == f"{created['id']} NewShop"
    assert entry.detail == {"api_key": key.public_id}
    assert entry.address == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "stored", "kind"),
    [
        ("  My Shop ", "My Shop", "alphanumeric"),
        ("+966 50-000-0000", "+966500000000", "numeric"),
        ("12345", "12345", "numeric"),
        ("Café", "Café", "alphanumeric"),
    ],
)
def test_names_are_kept_in_one_form(api: Api, name: str, stored: str, kind: str) -> None:
    created = requested(api, name=name)
    assert (created["name"], created["kind"]) == (stored, kind)


def test_purpose_and_sample_may_be_left_out(api: Api) -> None:
    created = api.post(URL, {"name": "NewShop"}).json()
    assert (created["purpose"], created["sample"]) == ("", "")


def test_a_test_keys_request_is_approved_at_once_and_no_operators_work(
    customer: Customer, world: World
) -> None:
    world.endpoint(customer)
    in_test = world.endpoint(customer, test=True)
    created = requested(customer.test_api)
    assert (created["status"], created["is_default"]) == ("approved", False)
    assert not SenderId.objects.filter(organization=customer.organization, name=created["name"])
    assert not SenderStep.objects.filter(sender__organization=customer.organization)
    assert [row.endpoint for row in Delivery.objects.all()] == [in_test]
    again = customer.test_api.post(URL, {"name": created["name"]})
    refused(again, 409, "CONFLICT", "name")
    assert requested(customer.api)["status"] == "pending"


def test_sender_ids_of_test_mode_are_limited(customer: Customer, monkeypatch: Any) -> None:
    monkeypatch.setattr(approval, "MOST_IN_TEST", 1)
    requested(customer.test_api)
    refused(customer.test_api.post(URL, {"name": "Second"}), 409, "CONFLICT")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "TwelveLetter"}, "name"),
        ({"name": "شركتي"}, "name"),
        ({"name": "Shop😀"}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "My[Shop]"}, "name"),
        ({"name": "12"}, "name"),
        ({"name": "+12"}, "name"),
        ({"name": None}, "name"),
        ({"name": 12345}, "name"),
        ({"name": ["Shop"]}, "name"),
        ({"purpose": "x" * 201}, "purpose"),
        ({"purpose": "a\0b"}, "purpose"),
        ({"purpose": None}, "purpose"),
        ({"sample": "x" * 2001}, "sample"),
        ({"sample": 1}, "sample"),
        ({"status": "approved"}, "status"),
        ({"is_default": True}, "is_default"),
        ({"organization": "other"}, "organization"),
    ],
)
def test_invalid_bodies(api: Api, customer: Customer, fields: Any, field: str) -> None:
    refused(api.post(URL, GOOD | fields), 400, "INVALID_REQUEST", field)
    assert SenderId.objects.filter(organization=customer.id).count() == 1


def test_a_body_without_a_name(api: Api) -> None:
    refused(api.post(URL, {"purpose": "Orders"}), 400, "INVALID_REQUEST", "name")
    refused(api.post(URL, []), 400, "INVALID_REQUEST")
    refused(api.post(URL, raw="{"), 400, "INVALID_REQUEST")


def test_an_existing_sender_is_a_conflict(api: Api) -> None:
    assert "Its status: Approved." in refused(
        api.post(URL, GOOD | {"name": SENDER}), 409, "CONFLICT", "name"
    )
    requested(api)
    assert "Its status: Pending." in refused(api.post(URL, GOOD), 409, "CONFLICT", "name")


def test_a_rejected_sender_is_requested_again(api: Api) -> None:
    first = requested(api)
    approval.reject(row(first["id"]), operator(), "Not yours")
    rejected = api.get(f"{URL}/{first['id']}").json()
    assert (rejected["status"], rejected["reason"]) == ("rejected", "Not yours")
    assert TIME.fullmatch(rejected["decided_at"])
    again = requested(api, purpose="Better told")
    assert (again["id"], again["status"], again["purpose"]) == (
        first["id"],
        "pending",
        "Better told",
    )
    assert (again["reason"], again["decided_at"]) == (None, None)


def test_two_organizations_may_request_one_name(api: Api, outsider: Customer) -> None:
    assert requested(api)["id"] != requested(outsider.api)["id"]


def test_at_most_fifty_pending(committed_world: World) -> None:
    customer = committed_world.customer(sender=None)
    names = [f"Shop {number}" for number in range(approval.MOST_PENDING + 6)]
    for name in names[:-12]:
        requested(customer.api, name=name)
    calls = [partial(customer.api.post, URL, {"name": name}) for name in names[-12:]]
    responses = in_threads(calls)
    assert sorted(response.status_code for response in responses) == [201] * 6 + [409] * 6
    mine = SenderId.objects.filter(organization=customer.id)
    assert mine.filter(status="pending").count() == mine.count() == approval.MOST_PENDING


# ---------------------------------------------------------------- reading


@pytest.fixture
def several(world: World, customer: Customer) -> list[str]:
    """Create five and return their ids, newest first, in the order of the ids."""
    names = [
        ("Shop1", "pending", {}),
        ("Shop2", "rejected", {"reason": "No"}),
        ("Shop3", "revoked", {"reason": "Not any more"}),
        ("Shop4", "pending", {}),
    ]
    created = [world.sender(customer, name, status=status, **more) for name, status, more in names]
    first = SenderId.objects.get(organization=customer.id, name=SENDER)
    return sorted((one.public_id for one in [first, *created]), reverse=True)


def test_they_are_listed_newest_first(api: Api, several: list[str]) -> None:
    response = api.get(URL)
    assert response.status_code == 200
    body = response.json()
    assert [one["id"] for one in body["data"]] == several
    assert body["next_cursor"] is None
    assert all(set(one) == FIELDS for one in body["data"])
    assert api.get(f"{URL}/{several[1]}").json() == body["data"][1]


def test_pages_stay_right_while_others_are_requested(api: Api, several: list[str]) -> None:
    seen: list[str] = []
    cursor: str | None = ""
    pages = 0
    while cursor is not None:
        query = {"limit": 2, "cursor": cursor} if cursor else {"limit": 2}
        body = api.get(f"{URL}?{urlencode(query)}").json()
        assert len(body["data"]) <= 2
        seen += [one["id"] for one in body["data"]]
        cursor, pages = body["next_cursor"], pages + 1
        requested(api, name=f"Later {pages}")
    assert seen == several
    assert pages == 3


@pytest.mark.parametrize(
    ("status", "names"),
    [
        ("pending", {"Shop1", "Shop4"}),
        ("approved", {SENDER}),
        ("rejected", {"Shop2"}),
        ("revoked", {"Shop3"}),
    ],
)
def test_the_filter_by_status(api: Api, several: list[str], status: str, names: set[str]) -> None:
    body = api.get(f"{URL}?status={status}").json()
    assert {one["name"] for one in body["data"]} == names
    assert api.get(f"{URL}?status={status}&limit=1").json()["data"] == body["data"][:1]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=waiting", "status"),
        ("status=", "status"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("cursor=snd_1", "cursor"),
        ("cursor=", "cursor"),
        ("name=Shop", "name"),
        ("status=pending&status=approved", "status"),
    ],
)
def test_queries_that_are_refused(api: Api, query: str, field: str) -> None:
    refused(api.get(f"{URL}?{query}"), 400, "INVALID_REQUEST", field)


def test_an_approved_sender_has_no_reason(api: Api) -> None:
    created = requested(api)
    approval.approve(row(created["id"]), operator())
    approval.make_default(row(created["id"]), operator())
    read = api.get(f"{URL}/{created['id']}").json()
    assert (read["status"], read["reason"], read["is_default"]) == ("approved", None, True)
    assert TIME.fullmatch(read["decided_at"])


def test_another_organizations_are_not_there(api: Api, outsider: Customer) -> None:
    theirs = requested(outsider.api)
    refused(api.get(f"{URL}/{theirs['id']}"), 404, "NOT_FOUND")
    assert theirs["id"] not in api.get(URL).content.decode()


@pytest.mark.parametrize("sender_id", ["snd_1", "x", "whk_01hm6v0q8nfj2r4t6v8x0z2a4c", "MyCompany"])
def test_invalid_ids_are_not_found(api: Api, sender_id: str) -> None:
    refused(api.get(f"{URL}/{sender_id}"), 404, "NOT_FOUND")


def test_it_needs_its_scope(customer: Customer) -> None:
    mine = Api(create_key(customer.organization, "a", test=False, scopes=[Scope.SENDER_IDS])[1])
    assert requested(mine)
    other = Api(create_key(customer.organization, "b", test=False, scopes=[Scope.SMS_SEND])[1])
    refused(other.post(URL, GOOD), 403, "FORBIDDEN")
    refused(other.get(URL), 403, "FORBIDDEN")
