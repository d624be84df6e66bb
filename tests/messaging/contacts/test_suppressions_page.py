"""The page of numbers that are not written to: listed, added, removed."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.access.page_access import public_id
from accounts.models import AuditEntry
from messaging.models import Carrier, Suppression
from messaging.states import Status
from tests.support.factories import PHONE, Customer, World
from tests.support.people import PLAIN_STATIC, browser, member

OTHER = "+966501234568"


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def owner(customer: Customer) -> Client:
    return browser(member(customer.organization))


def _url(customer: Customer, path: str = "") -> str:
    return f"/dashboard/{public_id(customer.organization)}/suppressions/{path}"


def _page(client: Client, url: str, fields: dict[str, Any] | None = None) -> str:
    response = client.get(url) if fields is None else client.post(url, fields, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def _stored(customer: Customer) -> dict[str, str]:
    mine = Suppression.objects.filter(organization=customer.organization)
    return dict(mine.values_list("number", "reason"))


def _suppress(customer: Customer, number: str = PHONE) -> Suppression:
    return Suppression.objects.create(
        organization=customer.organization, number=number, source="api"
    )


def test_the_empty_page_explains_the_list(owner: Client, customer: Customer) -> None:
    assert "does not want to be written to" in _page(owner, _url(customer))


def test_numbers_are_added_and_pending_messages_canceled(
    owner: Client, customer: Customer, world: World, carrier: Carrier
) -> None:
    message = world.message(customer, carrier, status=Status.SCHEDULED, price=1_000_000)
    fields = {"numbers": f"{PHONE}\n00966 50 123 4568", "reason": "STOP"}
    for error in ("2 numbers are new", "2 were known already"):
        page = _page(owner, _url(customer, "add/"), fields)
        assert error in page
    assert _stored(customer) == {PHONE: "STOP", OTHER: "STOP"}
    message.refresh_from_db()
    assert message.status == Status.CANCELED
    assert customer.balance() == 100_000_000
    refused = customer.api.post("/v1/sms/send", {"to": PHONE, "message": "x"})
    assert refused.json()["error"]["code"] == "DESTINATION_BLOCKED"
    row = Suppression.objects.filter(organization=customer.organization).first()
    assert row is not None
    assert row.source == "dashboard"


def test_a_file_of_numbers(owner: Client, customer: Customer) -> None:
    content = f"name;phone\nSara;{PHONE}\nOmar;12\n".encode("utf-16")
    page = _page(owner, _url(customer, "add/"), {"upload": SimpleUploadedFile("x.csv", content)})
    assert "1 number is new" in page
    assert "Not imported" in page
    assert "12</bdi>" in page
    assert _stored(customer) == {PHONE: ""}


def test_invalid_numbers_are_reported_and_the_rest_added(owner: Client, customer: Customer) -> None:
    page = _page(owner, _url(customer, "add/"), {"numbers": f"{PHONE}, 0501, 0551234567"})
    assert "The number is too short." in page
    assert _stored(customer) == {PHONE: "", "+966551234567": ""}


def test_without_a_default_country_a_number_needs_its_code(
    owner: Client, customer: Customer
) -> None:
    customer.organization.default_country = ""
    customer.organization.save()
    page = _page(owner, _url(customer, "add/"), {"numbers": f"{PHONE}, 0551234567"})
    assert "Write the number with + and its country code" in page
    assert _stored(customer) == {PHONE: ""}


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, "Paste something, or choose a file."),
        ({"numbers": "x, y"}, "This is not a phone number."),
        ({"numbers": PHONE, "reason": "x" * 201}, "at most 200 characters"),
        ({"numbers": f"{PHONE}\0"}, "Null characters are not allowed"),
        ({"upload": SimpleUploadedFile("x.csv", b"\xff\xd8\xff" + b"x" * 9)}, "That is an image"),
        ({"upload": SimpleUploadedFile("x.csv", b"name\nSara\n")}, "No column of phone numbers"),
    ],
)
def test_bad_input(owner: Client, customer: Customer, fields: dict[str, Any], error: str) -> None:
    page = _page(owner, _url(customer, "add/"), fields)
    assert error in page
    assert "numbers" not in fields or fields["numbers"].replace("\0", "") in page.replace("\0", "")
    assert _stored(customer) == {}


def test_a_number_is_removed(owner: Client, customer: Customer) -> None:
    _suppress(customer)
    url = _url(customer, f"{PHONE}/remove/")
    assert f"Write to {PHONE} again?" in _page(owner, url)
    assert _stored(customer) == {PHONE: ""}
    assert f"Messages may go to {PHONE} again." in _page(owner, url, {})
    assert _stored(customer) == {}
    assert owner.post(url).status_code == 404
    entry = AuditEntry.objects.get(organization=customer.organization)
    assert entry.action == "suppression.removed"
    assert PHONE not in entry.target


def test_those_of_test_mode_are_a_list_of_their_own(owner: Client, customer: Customer) -> None:
    _suppress(customer)
    Suppression.objects.create(
        organization=customer.organization, test=True, number=OTHER, source="api"
    )
    live, in_test = _page(owner, _url(customer)), _page(owner, _url(customer, "?mode=test"))
    # The number itself is also the example in the search box.
    removals = [f"suppressions/{number}/remove/" for number in (PHONE, OTHER)]
    assert [removal in live for removal in removals] == [True, False]
    assert [removal in in_test for removal in removals] == [False, True]
    assert owner.post(_url(customer, f"{OTHER}/remove/")).status_code == 404
    url = f"{OTHER}/remove/?mode=test"
    assert url in in_test
    assert "again." in _page(owner, _url(customer, url), {})
    assert _stored(customer) == {PHONE: ""}


def test_a_number_of_others_is_not_found(
    owner: Client, customer: Customer, outsider: Customer
) -> None:
    _suppress(outsider)
    for number in (PHONE, "x", "+1"):
        assert owner.get(_url(customer, f"{number}/remove/")).status_code == 404
        assert owner.post(_url(customer, f"{number}/remove/")).status_code == 404
    assert PHONE not in _page(owner, _url(customer))
    assert _stored(outsider) == {PHONE: ""}


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("", {PHONE, OTHER}),
        (PHONE, {PHONE}),
        ("966501234567", {PHONE}),
        ("4568", {OTHER}),
        ("٤٥٦٨", {OTHER}),
        ("+966500000000", set()),
        ("nobody", set()),
    ],
)
def test_searching(owner: Client, customer: Customer, words: str, shown: set[str]) -> None:
    _suppress(customer)
    _suppress(customer, OTHER)
    response = owner.get(_url(customer), {"q": words})
    page = response.content.decode()
    assert {each for each in (PHONE, OTHER) if f"{each}</bdi>" in page} == shown
