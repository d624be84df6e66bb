"""Compose: the help beside the form, the review, and sending it once."""

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.access.page_access import public_id
from accounts.models import MICRO, AuditEntry, Member, Organization
from accounts.roles import Role
from messaging.compose import composer
from messaging.models import (
    Carrier,
    Composition,
    Contact,
    ContactList,
    ListEntry,
    Suppression,
    TextTemplate,
)
from messaging.numbers.written import written_numbers
from messaging.routing import cache as routing_cache
from tests.support.factories import (
    PHONE,
    SENDER,
    Customer,
    World,
    in_threads,
    noting,
)
from tests.support.people import PLAIN_STATIC, browser, member

OTHER = "+966501234568"
LATER = {"when": "later", "zone": "Asia/Riyadh"}


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC
    cache.clear()


@pytest.fixture
def owner(customer: Customer) -> Client:
    return browser(member(customer.organization))


def _url(customer: Customer, path: str = "") -> str:
    return f"/dashboard/{public_id(customer.organization)}/compose/{path}"


def _filled(**fields: Any) -> dict[str, Any]:
    usual = {"to": PHONE, "text": "Hello", "kind": "live", "sender": SENDER, "when": "now"}
    return usual | {"act": "review"} | fields


def _page(client: Client, url: str, fields: dict[str, Any]) -> str:
    response = client.post(url, fields)
    assert response.status_code == 200
    return response.content.decode()


def _review(client: Client, customer: Customer, **fields: Any) -> tuple[str, dict[str, Any]]:
    """Return the review's text, and the fields of its form."""
    page = _page(client, _url(customer), _filled(**fields))
    return _text(page), _of_review(page, fields)


def _text(page: str) -> str:
    """Return the page's text without its markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))


def _of_review(page: str, fields: dict[str, Any]) -> dict[str, Any]:
    hidden = dict(re.findall(r'type="hidden" name="(once|seen)" value="([^"]+)"', page))
    return {**_filled(**fields), **hidden, "act": ""}


def _send(client: Client, customer: Customer, **fields: Any) -> str:
    """Review and send; return the URL of the redirect."""
    _, form = _review(client, customer, **fields)
    response = client.post(_url(customer, "send/"), form)
    assert response.status_code == 302, response.content.decode()
    return response["Location"]


def _contact(customer: Customer, number: str, *lists: ContactList, **fields: Any) -> Contact:
    contact = Contact.objects.create(organization=customer.organization, number=number, **fields)
    for each in lists:
        ListEntry.objects.create(contact_list=each, contact=contact)
    return contact


def _list(customer: Customer, name: str = "Drivers") -> ContactList:
    return ContactList.objects.create(organization=customer.organization, name=name)


# ---------------------------------------------------------------- sending


def test_one_message(owner: Client, customer: Customer) -> None:
    page, form = _review(owner, customer)
    assert "Send 1 message" in page
    assert customer.messages() == []
    response = owner.post(_url(customer, "send/"), form)
    [message] = customer.messages()
    assert response["Location"].endswith(f"/messages/{message.public_id}/")
    assert (message.to, message.text, message.sender) == (PHONE, "Hello", SENDER)
    assert (message.source, message.test, message.urgent) == ("dashboard", False, True)
    assert message.batch_id is None
    assert customer.balance() == 99 * MICRO
    entry = AuditEntry.objects.get(organization=customer.organization, action="messages.sent")
    assert entry.target == message.public_id
    assert "Hello" not in str(entry.detail)


def test_several_recipients_are_a_batch(owner: Client, customer: Customer) -> None:
    url = _send(owner, customer, to=f"{PHONE}, {OTHER}\n00966 50 123 4567")
    assert "/batches/bat_" in url
    assert owner.get(url).status_code == 200
    messages = customer.messages()
    assert sorted(each.to for each in messages) == [PHONE, OTHER]
    assert len({each.batch_id for each in messages}) == 1
    assert messages[0].batch_id is not None
    assert not messages[0].urgent


def test_a_test_is_free_and_needs_no_sender(world: World) -> None:
    world.carrier(is_sandbox=True)
    newcomer = world.customer(credits=1, sender=None)
    client = browser(member(newcomer.organization))
    assert "No sender ID is approved yet" in client.get(_url(newcomer)).content.decode()
    _send(client, newcomer, kind="test", sender="")
    [message] = newcomer.messages()
    assert (message.test, message.price, message.sender) == (True, 0, "Test")
    assert newcomer.balance() == MICRO


def test_scheduling_in_the_member_s_time_zone(owner: Client, customer: Customer) -> None:
    local = (datetime.now(ZoneInfo("Asia/Riyadh")) + timedelta(days=2)).replace(
        hour=9, minute=30, second=0, microsecond=0
    )
    _send(owner, customer, **LATER, at=f"{local:%Y-%m-%dT%H:%M}", validity="3600")
    [message] = customer.messages()
    assert message.scheduled_at == local.astimezone(UTC)
    assert message.expires_at == local + timedelta(hours=1)
    assert message.status == "scheduled"


def test_unsendable_recipients_are_reported_and_skipped(owner: Client, customer: Customer) -> None:
    Suppression.objects.create(organization=customer.organization, number=OTHER, source="api")
    to = f"{PHONE}\n{OTHER}\n+44\n+14155550123"
    page, form = _review(owner, customer, to=to)
    for why in (
        "the number is on your suppression list",
        "The number is too short.",
        "Messages to this destination (US) are not enabled.",
    ):
        assert why in page
    assert "Send 1 message" in page
    assert page.split("Not sent")[0].count("Hello") == 1
    owner.post(_url(customer, "send/"), form)
    assert [each.to for each in customer.messages()] == [PHONE]


def test_the_review_agrees_with_the_api(
    owner: Client, customer: Customer, carrier: Carrier
) -> None:
    text = "x" * 161
    estimate = customer.api.post(
        "/v1/sms/estimate", {"to": PHONE, "message": text, "sender_id": SENDER}
    ).json()
    page, _ = _review(owner, customer, text=text)
    assert f"Parts{estimate['parts']} " in page
    assert f"Cost in credits{estimate['credits']} " in page
    assert "Balance afterwards98 " in page


# ---------------------------------------------------------------- once


def test_a_double_click_sends_once(owner: Client, customer: Customer) -> None:
    _, form = _review(owner, customer, to=f"{PHONE},{OTHER}")
    first = owner.post(_url(customer, "send/"), form)
    second = owner.post(_url(customer, "send/"), form, follow=True)
    assert first.status_code == 302
    assert "It was not sent again." in second.content.decode()
    assert len(customer.messages()) == 2
    assert AuditEntry.objects.filter(organization=customer.organization).count() == 1


def test_concurrent_submits_send_once(committed_world: World) -> None:
    """All pass the first check; the later ones wait for the first one's commit."""
    committed_world.serve()
    customer = committed_world.customer()
    who = Member.objects.get(user=member(customer.organization))
    composed = composer.ComposedMessage(
        customer.organization,
        "Hello",
        composer.recipients_of(customer.organization, f"{PHONE},{OTHER}", [], {}),
        SENDER,
    )
    form_id = uuid.uuid4()
    try:
        sent = in_threads([lambda: composer.send(who, composed, form_id, "")] * 4)
        assert sorted(each.first for each in sent) == [False, False, False, True]
        assert len({each.batch_id for each in sent}) == 1
        assert len(customer.messages()) == 2
        assert customer.balance() == 98 * MICRO
    finally:
        Composition.objects.filter(id=form_id).delete()


def test_a_changed_price_is_reviewed_again(owner: Client, customer: Customer, world: World) -> None:
    _, form = _review(owner, customer)
    world.price("96650", 3 * MICRO)
    page = _page(owner, _url(customer, "send/"), form)
    assert "This has changed meanwhile" in page
    assert customer.messages() == []
    form = _of_review(page, {})
    assert owner.post(_url(customer, "send/"), form).status_code == 302
    assert customer.balance() == 97 * MICRO


def test_an_insufficient_balance(world: World, carrier: Carrier) -> None:
    poor = world.customer(credits=1)
    client = browser(member(poor.organization))
    page, form = _review(client, poor, to=f"{PHONE},{OTHER}")
    assert "The balance does not cover this" in page
    assert "Send 2 messages" not in page
    assert "The balance does not cover this" in _page(client, _url(poor, "send/"), form)
    assert poor.messages() == []
    assert poor.balance() == MICRO


def test_a_suspended_organization(owner: Client, customer: Customer) -> None:
    _, form = _review(owner, customer)
    Organization.objects.filter(pk=customer.id).update(status="suspended")
    page, _ = _review(owner, customer)
    assert "This organization is suspended" in page
    assert "Send 1 message" not in page
    owner.post(_url(customer, "send/"), form)
    assert customer.messages() == []


def test_the_per_minute_limit_applies(owner: Client, customer: Customer) -> None:
    Organization.objects.filter(pk=customer.id).update(bulk_per_minute=1)
    _, form = _review(owner, customer, to=f"{PHONE},{OTHER}")
    page = _page(owner, _url(customer, "send/"), form)
    assert "more than the account" in page
    assert customer.messages() == []


def test_old_form_ids_are_deleted(customer: Customer) -> None:
    ages = {uuid.uuid4(): composer.KEPT + timedelta(hours=1), uuid.uuid4(): timedelta(days=1)}
    for each, age in ages.items():
        Composition.objects.create(id=each, organization=customer.organization)
        Composition.objects.filter(id=each).update(created_at=timezone.now() - age)
    composer.delete_old()
    mine = Composition.objects.filter(organization=customer.organization)
    assert list(mine.values_list("id", flat=True)) == list(ages)[1:]


def test_the_number_of_queries_is_fixed(
    owner: Client, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count(to: str) -> int:
        statements: list[str] = []
        with connection.execute_wrapper(noting(statements)):
            _page(owner, _url(customer, "estimate/"), _filled(to=to))
        return len(statements)

    # The first estimate reads it once, and no later one in the test.
    monkeypatch.setattr(routing_cache, "MAX_AGE_SECONDS", 600)
    routing_cache.tables()
    owner.get(_url(customer))
    assert count(PHONE) == count("\n".join(f"+9665012{index:05d}" for index in range(50)))


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"to": ""}, "Name at least one number."),
        ({"to": " ,\n;"}, "Name at least one number."),
        ({"text": ""}, "This field is required."),
        ({"text": "x" * 5001}, "at most 5000 characters"),
        ({"text": "a\0b"}, "Null characters are not allowed"),
        ({"kind": "free"}, "not one of the available choices"),
        ({"sender": "Other"}, "not one of the available choices"),
        ({"validity": "1"}, "not one of the available choices"),
        ({"lists": "lst_x"}, "not one of the available choices"),
        ({**LATER, "at": ""}, "Choose a day and a time."),
        ({**LATER, "at": "tomorrow"}, "Choose a day and a time."),
        ({**LATER, "at": "2020-01-01T10:00"}, "The time has passed."),
        ({**LATER, "at": "2199-01-01T10:00"}, "The time is more than 90 days ahead."),
        ({**LATER, "zone": "Moon/Base", "at": "2199-01-01T10:00"}, "There is no such time zone."),
        (
            {**LATER, "zone": "Europe/Berlin", "at": "2027-03-28T02:30"},
            "The clocks go forward then",
        ),
    ],
)
def test_bad_input(owner: Client, customer: Customer, fields: dict[str, Any], words: str) -> None:
    _list(customer)
    before = customer.stored()
    filled = _filled(**fields)
    page = _page(owner, _url(customer), filled)
    assert words in page
    assert "<h1>Compose</h1>" in page
    if "to" not in fields:
        assert PHONE in page
    page = _page(owner, _url(customer, "send/"), filled | {"once": str(uuid.uuid4())})
    assert words in page
    assert customer.stored() == before


@pytest.mark.parametrize("form_id", ["", "x", "1"])
def test_a_form_without_a_valid_id_sends_nothing(
    owner: Client, customer: Customer, form_id: str
) -> None:
    _, form = _review(owner, customer)
    _page(owner, _url(customer, "send/"), form | {"once": form_id})
    assert customer.messages() == []


def test_too_many_recipients(
    owner: Client, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composer, "MOST", 2)
    drivers = _list(customer)
    _contact(customer, OTHER, drivers)
    page, _ = _review(owner, customer, to=f"{PHONE}\n{OTHER}", lists=drivers.public_id)
    assert "Send 2 messages" in page
    for to in (f"{PHONE}\n{OTHER}\n+966501234569", "+966501234569\n+966501234560"):
        page = _page(owner, _url(customer), _filled(to=to, lists=drivers.public_id))
        assert "recipients at once" in page


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("+966 50 123 4567", ["+966 50 123 4567"]),
        (f"{PHONE} {OTHER}", [PHONE, OTHER]),
        (f"{PHONE};{OTHER}،\t0501", [PHONE, OTHER, "0501"]),
        ("call me\n", ["call me"]),
        ("", []),
    ],
)
def test_pasted_numbers(written: str, found: list[str]) -> None:
    assert written_numbers(written, "SA") == found


# ---------------------------------------------------------------- estimate


def test_the_estimate(owner: Client, customer: Customer) -> None:
    page = _page(owner, _url(customer, "estimate/"), _filled(text="“Hi” {name}", to=f"{PHONE},x"))
    assert "U+201C" in page
    assert "Replace them" in page
    assert "This is not a phone number." in page
    assert "There is no value for {name}." in page
    assert 'name="value_name"' in page


@pytest.mark.parametrize("fields", [{}, {"text": ""}, {"to": ""}, {"kind": "x"}, {"when": "later"}])
def test_the_estimate_of_an_incomplete_form(
    owner: Client, customer: Customer, fields: dict[str, Any]
) -> None:
    assert "handset" in _page(owner, _url(customer, "estimate/"), _filled(**fields))
    assert "handset" in _page(owner, _url(customer, "estimate/"), {})


def test_plain_characters(owner: Client, customer: Customer) -> None:
    """With a script the text is part of the help, without one of the whole page."""
    fields = _filled(text="“Hi”…\u00a0there", act="plain")
    for path in ("estimate/", ""):
        page = _page(owner, _url(customer, path), fields)
        assert ">\n&quot;Hi&quot;... there</textarea>" in page
        assert "Replace them" not in page


def test_arabic_without_marks(owner: Client, customer: Customer) -> None:
    fields = _filled(text="مَرْحَبًا بـــك")
    assert "Remove tashkeel and tatweel" in _page(owner, _url(customer, "estimate/"), fields)
    for path in ("estimate/", ""):
        page = _page(owner, _url(customer, path), fields | {"act": "bare"})
        assert ">\nمرحبا بك</textarea>" in page
        assert 'dir="auto"' in page


def test_the_text_is_only_swapped_when_it_was_rewritten(owner: Client, customer: Customer) -> None:
    page = _page(owner, _url(customer, "estimate/"), _filled(text="Hello {a}", names="a"))
    assert "<textarea" not in page
    assert "value_a" not in page
    assert "value_a" in _page(owner, _url(customer, "estimate/"), _filled(text="{a}", names=""))


def test_line_ends_count_once(owner: Client, customer: Customer) -> None:
    _send(owner, customer, text="a\r\nb")
    assert customer.messages()[0].text == "a\nb"


def test_back_to_editing_keeps_the_values(owner: Client, customer: Customer) -> None:
    fields = _filled(text="Hello {x}", value_x="you", kind="test", act="edit")
    page = _page(owner, _url(customer), fields)
    assert ">\nHello {x}</textarea>" in page
    assert PHONE in page
    assert 'name="value_x" value="you"' in page
    assert re.search(r'value="test"[^>]* checked', page)


# ---------------------------------------------------------------- variables, lists, templates


def test_variables_are_filled_for_each(owner: Client, customer: Customer) -> None:
    drivers = _list(customer)
    _contact(customer, PHONE, drivers, name="Sara", fields={"city": "Jeddah"})
    _contact(customer, OTHER, drivers, fields={"city": "Riyadh"})
    text = "{name}: {city} {number}"
    page, _ = _review(owner, customer, to="", lists=drivers.public_id, text=text)
    assert "There is no value for {name}." in page
    assert "Send 1 message" in page
    fields = {"to": OTHER, "lists": drivers.public_id, "text": text, "value_name": "Driver"}
    _send(owner, customer, **fields, value_city="nowhere")
    assert {each.text for each in customer.messages()} == {
        f"Sara: Jeddah {PHONE}",
        f"Driver: Riyadh {OTHER}",
    }


def test_values_for_numbers_that_are_not_contacts(owner: Client, customer: Customer) -> None:
    _send(owner, customer, text="Hello {name}", value_name="Omar {x}")
    assert customer.messages()[0].text == "Hello Omar {x}"


def test_other_organizations_lists_and_templates_are_not_found(
    owner: Client, customer: Customer, outsider: Customer
) -> None:
    theirs = _list(outsider, "Theirs")
    _contact(outsider, OTHER, theirs, name="Secret")
    template = TextTemplate.objects.create(
        organization=outsider.organization, name="Private", text="Private {x}"
    )
    _list(customer)
    page = _page(owner, _url(customer), _filled(lists=theirs.public_id))
    assert "not one of the available choices" in page
    query = {"template": template.public_id, "list": theirs.public_id}
    for page in (
        owner.get(_url(customer), query).content.decode(),
        _page(owner, _url(customer), _filled(act="template", template=template.public_id)),
    ):
        assert "Private" not in page
        assert "Theirs" not in page
    _send(owner, customer, to=OTHER, text="{name}", value_name="mine")
    assert customer.messages()[0].text == "mine"


def test_an_empty_list(owner: Client, customer: Customer) -> None:
    page = _page(owner, _url(customer), _filled(to="", lists=_list(customer).public_id))
    assert "There is nobody on these lists yet." in page


def test_a_template_fills_the_text(owner: Client, customer: Customer) -> None:
    template = TextTemplate.objects.create(
        organization=customer.organization, name="Order", text="Order {order}"
    )
    taken = _filled(act="template", template=template.public_id)
    for page in (
        owner.get(_url(customer), {"template": template.public_id}).content.decode(),
        _page(owner, _url(customer), taken),
        _page(owner, _url(customer, "estimate/"), taken),
    ):
        assert ">\nOrder {order}</textarea>" in page
        assert 'name="value_order"' in page


# ---------------------------------------------------------------- permissions


def test_roles_without_the_permission_do_not_see_the_balance(customer: Customer) -> None:
    developer = browser(member(customer.organization, Role.DEVELOPER))
    page, _ = _review(developer, customer)
    assert "Send 1 message" in page
    assert "Balance afterwards" not in page


def test_the_zone_of_the_member(customer: Customer) -> None:
    user = member(customer.organization)
    client = browser(user)
    assert "data-browsers-own" in client.get(_url(customer)).content.decode()
    user.time_zone = "Asia/Riyadh"
    user.save()
    page = client.get(_url(customer)).content.decode()
    assert 'value="Asia/Riyadh"' in page
    assert "data-browsers-own" not in page
    assert timezone.get_current_timezone_name() == "UTC"
