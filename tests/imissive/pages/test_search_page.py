"""The dashboard's global search: a query leads to the page of what it finds."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.access.page_access import public_id
from accounts.keys.api_keys import create_key
from accounts.roles import Role
from imissive.core import ids
from messaging.log import query
from messaging.models import (
    Batch,
    Carrier,
    Contact,
    Export,
    Message,
    Suppression,
    TextTemplate,
)
from otp.models import Verification
from tests.support.factories import Customer, World
from tests.support.people import PLAIN_STATIC, browser, member
from webhooks.models import Delivery, Event


@pytest.fixture(autouse=True)
def _plain_static(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def owner(customer: Customer) -> Client:
    return browser(member(customer.organization))


@pytest.fixture
def sent(world: World, customer: Customer, carrier: Carrier) -> Message:
    return world.message(customer, carrier, to="+966501234567", reference="order-7")


def _home(customer: Customer) -> str:
    return f"/dashboard/{public_id(customer.organization)}/"


def _to(client: Client, customer: Customer, typed: str) -> str:
    """Return where the search redirects; empty where it lists results, or finds nothing."""
    response = client.get(f"{_home(customer)}search/", {"q": typed})
    assert response.status_code in (200, 302)
    return response.get("Location", "").removeprefix(_home(customer))


def _page(client: Client, customer: Customer, typed: str) -> str:
    response = client.get(f"{_home(customer)}search/", {"q": typed})
    assert response.status_code == 200, response["Location"]
    return response.content.decode()


@pytest.mark.parametrize(
    "typed",
    [
        "+966501234567",
        "00966 50 123 4567",
        "+٩٦٦٥٠١٢٣٤٥٦٧",
        "٠٠٩٦٦-٥٠-١٢٣-٤٥٦٧",
        "966501234567",
        "050 123 4567",
        "٠٥٠١٢٣٤٥٦٧",
        "1234567",
        "order-7",
        "  order-7  ",
    ],
)
def test_one_message_is_found(owner: Client, customer: Customer, sent: Message, typed: str) -> None:
    assert _to(owner, customer, typed) == f"messages/{sent.public_id}/"


def test_several_messages_lead_to_the_log(
    owner: Client, world: World, customer: Customer, carrier: Carrier, sent: Message
) -> None:
    world.message(customer, carrier, to=sent.to, reference="order-7")
    assert _to(owner, customer, sent.to) == "messages/?number=%2B966501234567"
    assert _to(owner, customer, "order-7") == "messages/?reference=order-7"
    assert _to(owner, customer, "0501234567") == "messages/?number=%2B966501234567"
    assert _to(owner, customer, "050123") == "messages/?number=50123"


def test_every_id_leads_to_its_page(
    owner: Client, world: World, customer: Customer, sent: Message
) -> None:
    organization = customer.organization
    batch = Batch.objects.create(organization=organization)
    export = Export.objects.create(organization=organization, due_at=timezone.now())
    template = TextTemplate.objects.create(organization=organization, name="Greeting", text="Hi")
    sender = organization.sender_ids.get()
    key, _ = create_key(organization, "Shop", test=True)
    now = timezone.now()
    code = Verification.objects.create(
        organization=organization, phone=sent.to, country="SA", prefix="96650", length=6,
        expiry=300, text="{code}", seed=b"", key_id="", digest=b"", message_id=sent.id,
        created_at=now, expires_at=now + timedelta(minutes=5),
    )  # fmt: skip
    expected = {
        sent.public_id: f"messages/{sent.public_id}/",
        str(batch): f"batches/{batch}/",
        export.public_id: f"messages/exports/#{export.public_id}",
        template.public_id: f"templates/{template.public_id}/",
        ids.public_id("snd", sender.id): f"sender-ids/{ids.public_id('snd', sender.id)}/",
        key.public_id: f"keys/#{key.public_id}",
        code.public_id: f"messages/{sent.public_id}/",
    }
    for typed, where in expected.items():
        assert _to(owner, customer, typed) == where, typed


def test_an_event_and_its_delivery_are_found(
    owner: Client, world: World, customer: Customer, sent: Message
) -> None:
    endpoint = world.endpoint(customer)
    event = Event.objects.create(
        organization=customer.organization, type="message.sent", message_id=sent.id, body="{}"
    )
    delivery = Delivery.objects.create(event=event, endpoint=endpoint, event_type=event.type)
    for typed in (ids.public_id("evt", event.id), delivery.public_id):
        where = _to(owner, customer, typed)
        assert where
        assert delivery.public_id in where or sent.public_id in where
    viewer = browser(member(customer.organization, Role.VIEWER))
    for typed in (ids.public_id("evt", event.id), delivery.public_id):
        assert _to(viewer, customer, typed) == f"messages/{sent.public_id}/"


def test_several_kinds_are_listed_by_kind(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    """A name finds the sender ID, its messages, and a key with that name."""
    world.sender(customer, "NAJD")
    world.message(customer, carrier, sender="NAJD")
    key, _ = create_key(customer.organization, "najd orders", test=True)
    page = _page(owner, customer, "najd")
    for expected in ("Sender IDs", "Messages from NAJD", "API keys", "najd orders"):
        assert expected in page
    assert "?sender=NAJD" in page
    viewer = _page(browser(member(customer.organization, Role.VIEWER)), customer, "najd")
    assert key.public_id not in viewer
    assert "Messages from NAJD" in viewer


def test_a_person_is_found(owner: Client, customer: Customer) -> None:
    organization = customer.organization
    contact = Contact.objects.create(
        organization=organization, number="+966551112223", name="نورة الحربي"
    )
    for typed in ("نورة", "+966 55 111 2223", contact.public_id):
        assert _to(owner, customer, typed) == f"contacts/{contact.public_id}/", typed
    viewer = browser(member(organization, Role.VIEWER))
    assert _to(viewer, customer, "نورة") == "contacts/?q=%2B966551112223"
    Suppression.objects.create(organization=organization, number=contact.number)
    page = _page(owner, customer, contact.number)
    assert "suppressions/?q=%2B966551112223" in page
    assert f"contacts/{contact.public_id}/" in page


@pytest.mark.parametrize(
    "typed",
    ["", " ", "nothing-of-that", "12", "msg_", "msg_" + "0" * 26, "whk_x", "\0", "%", "_",
     "x" * 500,
     "<script>alert(1)</script>", "' OR 1=1", "+966500000000"],
)  # fmt: skip
def test_nothing_is_found_helpfully(
    owner: Client, customer: Customer, sent: Message, typed: str
) -> None:
    page = _page(owner, customer, typed)
    assert "You can look for:" in page
    assert ("Nothing was found" in page) is bool(typed.strip())
    assert "<script>alert" not in page


def test_nothing_of_another_organization(
    owner: Client,
    world: World,
    customer: Customer,
    outsider: Customer,
    carrier: Carrier,
    sent: Message,
) -> None:
    batch = Batch.objects.create(organization=customer.organization)
    key, _ = create_key(customer.organization, "Shop", test=True)
    endpoint = world.endpoint(customer)
    event = Event.objects.create(
        organization=customer.organization, type="message.sent", message_id=sent.id, body="{}"
    )
    delivery = Delivery.objects.create(event=event, endpoint=endpoint, event_type=event.type)
    stranger = browser(member(outsider.organization))
    typed = [
        sent.public_id, sent.to, "order-7", str(batch), key.public_id, "Shop", "MyCompany",
        endpoint.public_id, "com/hook", ids.public_id("evt", event.id), delivery.public_id,
    ]  # fmt: skip
    for each in typed:
        assert "Nothing was found" in _page(stranger, outsider, each), each
    assert stranger.get(f"{_home(customer)}search/", {"q": "order-7"}).status_code == 404


def test_a_piece_of_a_number_is_looked_for_in_a_bounded_way(
    owner: Client,
    world: World,
    customer: Customer,
    carrier: Carrier,
    sent: Message,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(query, "SEARCHED", 3)
    for index in range(5):
        world.message(customer, carrier, to=f"+96655000000{index}")
    assert "Nothing was found" in _page(owner, customer, "1234567")


def test_every_page_has_the_field(owner: Client, customer: Customer) -> None:
    page = owner.get(_home(customer)).content.decode()
    assert f'action="{_home(customer)}search/"' in page
    assert 'name="q"' in page


def test_so_many_queries(
    owner: Client, customer: Customer, sent: Message, django_assert_max_num_queries
) -> None:
    _page(owner, customer, "nothing-of-that")
    with django_assert_max_num_queries(18):
        _page(owner, customer, "nothing-of-that")
