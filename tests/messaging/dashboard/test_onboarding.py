"""Onboarding of a new organization, and the test message from a page."""

import re

import pytest
from django.core.cache import cache
from django.test import Client

from accounts.access.page_access import public_id
from accounts.models import Organization
from accounts.roles import Role
from messaging.models import Carrier, Message
from tests.support.factories import Customer, World
from tests.support.people import PLAIN_STATIC, browser, member

TO = "+966500000001"


@pytest.fixture(autouse=True)
def _plain(settings, world: World) -> None:
    settings.STORAGES = PLAIN_STATIC
    cache.clear()
    world.carrier(slug="sandbox", is_sandbox=True)


@pytest.fixture
def fresh() -> Organization:
    """Create an organization like after sign-up: no credits, no sender ID, no key."""
    return Organization.objects.create(name="Fresh")


def _url(organization: Organization) -> str:
    return f"/dashboard/{public_id(organization)}/test-message/"


def _form(client: Client, organization: Organization, **fields: str) -> dict[str, str]:
    page = client.get(_url(organization)).content.decode()
    found = re.search(r'name="once" value="([^"]+)"', page)
    assert found
    return {"to": TO, "text": "Hello", "once": found[1], **fields}


def test_a_test_message_costs_nothing_and_needs_no_approval(
    fresh: Organization, wakes: list[object]
) -> None:
    client = browser(member(fresh, Role.DEVELOPER))
    response = client.post(_url(fresh), _form(client, fresh))
    message = Message.objects.get(organization=fresh)
    assert response["Location"].endswith(f"/messages/{message.public_id}/")
    assert (message.to, message.text, message.sender) == (TO, "Hello", "Test")
    assert (message.test, message.price, message.source) == (True, 0, "dashboard")
    assert message.carrier.slug == "sandbox"
    assert "Hello" in client.get(response["Location"]).content.decode()
    home = client.get(f"/dashboard/{public_id(fresh)}/").content.decode()
    assert "From here, with one click" not in home


def test_the_default_sender_is_used_where_there_is_one(customer: Customer, world: World) -> None:
    world.sender(customer, "Najd", is_default=True)
    client = browser(member(customer.organization))
    client.post(_url(customer.organization), _form(client, customer.organization))
    assert customer.messages()[0].sender == "Najd"


def test_a_double_click_sends_one(fresh: Organization) -> None:
    client = browser(member(fresh))
    form = _form(client, fresh)
    for _ in range(2):
        assert client.post(_url(fresh), form).status_code == 302
    assert Message.objects.filter(organization=fresh).count() == 1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"to": "+966501234567"}, "not one of the available choices"),
        ({"to": ""}, "This field is required"),
        ({"text": ""}, "This field is required"),
        ({"text": "x" * 1601}, "at most 1600 characters"),
        ({"text": "ط" * 1600}, "at most 10 are allowed"),
        ({"text": "a\0b"}, "Null characters"),
    ],
)
def test_bad_input(fresh: Organization, fields: dict[str, str], expected: str) -> None:
    client = browser(member(fresh))
    response = client.post(_url(fresh), _form(client, fresh, **fields))
    assert response.status_code == 200
    assert expected in response.content.decode()
    assert not Message.objects.filter(organization=fresh).exists()


def test_a_missing_simulator_is_reported(fresh: Organization) -> None:
    Carrier.objects.filter(is_sandbox=True).delete()
    from messaging.routing import cache as tables

    tables.reload()
    client = browser(member(fresh))
    page = client.post(_url(fresh), _form(client, fresh)).content.decode()
    assert "not enabled" in page


@pytest.mark.parametrize("role", list(Role))
def test_each_role_sees_its_own_steps(fresh: Organization, role: Role) -> None:
    page = browser(member(fresh, role)).get(f"/dashboard/{public_id(fresh)}/").content.decode()
    builds = role in (Role.OWNER, Role.ADMIN, Role.DEVELOPER)
    assert ("test-message/" in page) is builds
    assert ("keys/new/" in page) is builds
    assert "Next steps" in page


def test_an_organization_that_never_paid_has_no_low_balance(fresh: Organization) -> None:
    page = browser(member(fresh)).get(f"/dashboard/{public_id(fresh)}/").content.decode()
    assert "Test messages are free" in page
    assert "balance is low" not in page


def test_an_api_call_with_a_test_key_needs_no_sender_either(world: World) -> None:
    newcomer = world.customer(0, sender=None)
    body = {"to": TO, "message": "Hello"}
    response = newcomer.test_api.post("/v1/sms/send", body)
    assert (response.status_code, response.json()["sender_id"]) == (202, "Test")
    assert newcomer.api.post("/v1/sms/send", body).status_code == 403
