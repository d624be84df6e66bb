"""A message sent once more, and one that is canceled, from its page."""

import re

import pytest
from django.test import Client

from accounts.access.page_access import public_id
from accounts.models import MICRO, AuditEntry, Organization
from accounts.roles import Role
from messaging.models import Carrier, Message, Suppression
from messaging.states import Status
from tests.support.factories import SENDER, Customer, World
from tests.support.people import PLAIN_STATIC, browser, member


@pytest.fixture(autouse=True)
def _plain_static(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def owner(customer: Customer) -> Client:
    return browser(member(customer.organization))


@pytest.fixture
def failed(world: World, customer: Customer, carrier: Carrier) -> Message:
    return world.message(
        customer, carrier, status=Status.FAILED, error_code="UNDELIV", reference="order-7"
    )


def _url(message: Message, what: str = "resend/") -> str:
    return f"/dashboard/{public_id(message.organization)}/messages/{message.public_id}/{what}"


def _form(client: Client, message: Message) -> dict[str, str]:
    found = re.search(r'name="once" value="([^"]+)"', client.get(_url(message)).content.decode())
    assert found
    return {"once": found[1]}


def _audit(customer: Customer) -> list[tuple[str, str]]:
    rows = AuditEntry.objects.filter(organization=customer.organization).order_by("id")
    return [pair for pair in rows.values_list("action", "target") if pair[0].startswith("message")]


def test_it_is_sent_once_more_as_a_new_message(
    owner: Client, customer: Customer, failed: Message
) -> None:
    page = owner.get(_url(failed)).content.decode()
    assert "<dd><bdi" in page
    assert f">{SENDER}<" in page
    response = owner.post(_url(failed), _form(owner, failed))
    old, new = customer.messages()
    assert response["Location"] == _url(new, "")
    assert (new.to, new.text, new.sender, new.reference) == (
        failed.to, failed.text, failed.sender, "order-7",
    )  # fmt: skip
    assert (new.status, new.source, new.price) == (Status.QUEUED, "dashboard", MICRO)
    assert old.status == Status.FAILED
    assert customer.balance() == 99 * MICRO
    assert _audit(customer) == [("message.resent", failed.public_id)]


def test_a_double_click_sends_one(owner: Client, customer: Customer, failed: Message) -> None:
    form = _form(owner, failed)
    owner.post(_url(failed), form)
    response = owner.post(_url(failed), form, follow=True)
    assert "It was sent already" in response.content.decode()
    assert len(customer.messages()) == 2
    owner.post(_url(failed))
    assert len(customer.messages()) == 2


def test_a_test_stays_a_test(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    world.carrier(is_sandbox=True)
    first = world.message(customer, carrier, test=True, sender="Test", status=Status.FAILED)
    owner.post(_url(first), _form(owner, first))
    new = customer.messages()[-1]
    assert (new.test, new.price, customer.balance()) == (True, 0, 100 * MICRO)


@pytest.mark.parametrize(
    ("against", "expected"),
    [
        ("suppressed", "opted out"),
        ("sender", "not approved"),
        ("suspended", "This organization is suspended"),
        ("balance", "balance does not cover"),
        ("unserved", "not enabled"),
    ],
)
def test_what_is_against_it_is_said_before_and_refused(
    owner: Client,
    world: World,
    customer: Customer,
    carrier: Carrier,
    failed: Message,
    against: str,
    expected: str,
) -> None:
    form = _form(owner, failed)
    organization = customer.organization
    if against == "suppressed":
        Suppression.objects.create(organization=organization, number=failed.to)
    elif against == "sender":
        organization.sender_ids.all().delete()
    elif against == "suspended":
        Organization.objects.filter(pk=organization.pk).update(status="suspended")
    elif against == "balance":
        world.price("9665", 1000 * MICRO)
    else:
        Message.objects.filter(pk=failed.pk).update(to="+971501234567")
    page = owner.get(_url(failed)).content.decode()
    assert expected in page
    assert 'method="post">' not in page.split("<main")[1]
    before = customer.stored()
    response = owner.post(_url(failed), form, follow=True)
    assert "It was not sent" in response.content.decode()
    assert customer.stored() == before
    assert _audit(customer) == []


def test_a_one_time_password_is_not_sent_again(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    secret = world.message(
        customer, carrier, source="otp", text="Code 908172", masked_text="Code ••••••"
    )
    assert "Send again" not in owner.get(_url(secret, "")).content.decode()
    for response in (owner.get(_url(secret), follow=True), owner.post(_url(secret), follow=True)):
        assert "is not sent again" in response.content.decode()
        assert "908172" not in response.content.decode()
    assert len(customer.messages()) == 1


@pytest.mark.parametrize(
    ("fields", "warned"),
    [
        ({"status": Status.DELIVERED}, "was delivered"),
        ({"status": Status.SENT}, "on its way still"),
        ({"status": Status.FAILED, "error_code": "NO_RESPONSE"}, "may have arrived"),
        ({"status": Status.FAILED, "error_code": "UNDELIV"}, ""),
    ],
)
def test_a_second_copy_is_warned_of(
    owner: Client, world: World, customer: Customer, carrier: Carrier, fields: dict, warned: str
) -> None:
    page = owner.get(_url(world.message(customer, carrier, **fields))).content.decode()
    assert ("The first one" in page) is bool(warned)
    assert warned in page


def test_a_waiting_message_is_canceled(owner: Client, customer: Customer, carrier: Carrier) -> None:
    body = {"to": "+966501234567", "message": "Hello"}
    customer.api.post("/v1/sms/send", body)
    [message] = customer.messages()
    assert _url(message, "cancel/") in owner.get(_url(message, "")).content.decode()
    assert "Cancel this message?" in owner.get(_url(message, "cancel/")).content.decode()
    assert customer.messages()[0].status == Status.QUEUED
    response = owner.post(_url(message, "cancel/"), follow=True)
    assert "Canceled. Its credits came back." in response.content.decode()
    assert (customer.messages()[0].status, customer.balance()) == (Status.CANCELED, 100 * MICRO)
    response = owner.post(_url(message, "cancel/"), follow=True)
    assert "cannot be canceled any more" in response.content.decode()
    assert _audit(customer) == [("message.canceled", message.public_id)]


def test_who_only_reads_is_offered_nothing(customer: Customer, failed: Message) -> None:
    page = browser(member(customer.organization, Role.VIEWER)).get(_url(failed, ""))
    assert "Send again" not in page.content.decode()


def test_it_counts_against_the_limit(owner: Client, customer: Customer, failed: Message) -> None:
    Organization.objects.filter(id=customer.id).update(send_per_minute=1)
    owner.post(_url(failed), _form(owner, failed))
    response = owner.post(_url(failed), _form(owner, failed), follow=True)
    assert response.redirect_chain[0][0] == _url(failed)
    assert "1 messages a minute" in response.content.decode()
    assert len(customer.messages()) == 2
