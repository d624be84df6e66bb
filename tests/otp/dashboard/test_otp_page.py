"""The one-time passwords' page: trials, conversion, held prefixes, countries, recent codes."""

import re
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.access.page_access import public_id
from accounts.models import AuditEntry, Organization
from accounts.roles import Role
from messaging.models import Carrier, Message
from otp.models import HeldPrefix, OtpSettings, Verification
from tests.support.factories import (
    PHONE,
    Api,
    Customer,
    World,
    noting,
)
from tests.support.otps import (
    SEND,
    code_of,
    pass_by,
    refused,
    row,
    send,
    wrong,
)
from tests.support.people import PLAIN_STATIC, browser, member


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC
    cache.clear()


@pytest.fixture
def developer(customer: Customer) -> Client:
    return browser(member(customer.organization, Role.DEVELOPER))


@pytest.fixture(autouse=True)
def _sandbox(world: World) -> Carrier:
    return world.carrier(is_sandbox=True)


def _page(customer: Customer, path: str = "") -> str:
    return f"/dashboard/{public_id(customer.organization)}/otp/{path}"


def _text(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def _form(client: Client, customer: Customer, **fields: object) -> dict[str, object]:
    found = re.search(r'name="once" value="([^"]+)"', _text(client, _page(customer)))
    assert found
    return {"phone": PHONE, "kind": "test", "locale": "en", "length": "6", "expiry": "300",
            "once": found[1], **fields}  # fmt: skip


def _try(client: Client, customer: Customer, **fields: object) -> str:
    """Send a code from the page and return the URL of the page that asks for it."""
    response = client.post(_page(customer, "try/"), _form(client, customer, **fields))
    assert response.status_code == 302, response.content.decode()
    return str(response["Location"])


def _mine(customer: Customer) -> Verification:
    return Verification.objects.filter(organization=customer.organization).latest("id")


# ---------------------------------------------------------------- trials


def test_a_test_code_is_sent_shown_and_checked(developer: Client, customer: Customer) -> None:
    url = _try(developer, customer, length="4", locale="ar")
    verification = _mine(customer)
    assert (verification.test, verification.length, verification.expiry) == (True, 4, 300)
    assert "رمز التحقق" in verification.text
    message = Message.objects.get(id=verification.message_id)
    assert (message.test, message.price, message.api_key_id) == (True, 0, None)
    code = code_of(verification.public_id)
    page = _text(developer, url)
    assert code in page
    assert PHONE not in page
    text = developer.post(
        url, {"code": wrong(verification.public_id)}, follow=True
    ).content.decode()
    assert "That code is wrong." in text
    assert "4 checks are left." in text
    text = developer.post(url, {"code": f" {code[:2]}-{code[2:]} "}, follow=True).content.decode()
    assert "Verified: the code is right." in text
    assert code not in text
    assert _mine(customer).status == "verified"
    again = developer.post(url, {"code": code}, follow=True).content.decode()
    assert "verified already" in again


def test_a_live_code_is_charged_and_never_shown(developer: Client, customer: Customer) -> None:
    before = customer.balance()
    url = _try(developer, customer, kind="live")
    verification = _mine(customer)
    assert not verification.test
    assert customer.balance() < before
    code = code_of(verification.public_id)
    for page in (url, _page(customer)):
        assert code not in _text(developer, page)
    text = developer.post(url, {"code": code}, follow=True).content.decode()
    assert "Verified: the code is right." in text


def test_five_wrong_codes_fail_the_verification(developer: Client, customer: Customer) -> None:
    url = _try(developer, customer)
    bad = wrong(_mine(customer).public_id)
    for _ in range(5):
        text = developer.post(url, {"code": bad}, follow=True).content.decode()
    assert "Too many wrong codes" in text
    assert _mine(customer).status == "failed"


def test_an_invalid_code_does_not_count_as_a_check(developer: Client, customer: Customer) -> None:
    url = _try(developer, customer)
    for text in ("", "12", "abcdef", "1" * 33):
        assert developer.post(url, {"code": text}).status_code == 200
    assert _mine(customer).attempts == 0


def test_a_live_verification_of_a_customer_is_not_checked_here(
    developer: Client, customer: Customer, api: Api, test_api: Api, outsider: Customer
) -> None:
    """Five wrong codes would make the customer's verification fail."""
    live = send(api)["otp_id"]
    theirs = send(outsider.test_api)["otp_id"]
    for otp_id in (live, theirs, "otp_x", "x"):
        url = _page(customer, f"try/{otp_id}/")
        assert developer.get(url).status_code == 404
        assert developer.post(url, {"code": "123456"}).status_code == 404
    assert _mine(customer).attempts == 0
    assert developer.get(_page(customer, f"try/{send(test_api)['otp_id']}/")).status_code == 200


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"phone": "hello"}, "This is not a phone number"),
        ({"phone": ""}, "This field is required"),
        ({"phone": "+9611234"}, "The number is too short"),
        ({"kind": "gold"}, "not one of the available choices"),
        ({"length": "3"}, "not one of the available choices"),
        ({"expiry": "1"}, "not one of the available choices"),
        ({"locale": "fr"}, "not one of the available choices"),
        ({"once": ""}, "This field is required"),
    ],
)
def test_refused_trials(
    developer: Client, customer: Customer, fields: dict[str, object], message: str
) -> None:
    form = _form(developer, customer, **fields)
    response = developer.post(_page(customer, "try/"), form)
    assert response.status_code == 200
    assert message in response.content.decode()
    assert not Verification.objects.filter(organization=customer.organization).exists()


def test_a_refused_form_keeps_its_values_and_can_be_corrected(
    developer: Client, customer: Customer
) -> None:
    form = _form(developer, customer, phone="12", length="8")
    page = developer.post(_page(customer, "try/"), form).content.decode()
    assert 'value="12"' in page
    assert re.search(r'value="8" selected', page)
    found = re.search(r'name="once" value="([^"]+)"', page)
    assert found
    corrected = form | {"phone": PHONE, "once": found[1]}
    assert developer.post(_page(customer, "try/"), corrected).status_code == 302


def test_a_double_click_sends_one_code(developer: Client, customer: Customer) -> None:
    form = _form(developer, customer)
    developer.post(_page(customer, "try/"), form)
    again = developer.post(_page(customer, "try/"), form, follow=True).content.decode()
    assert "done already" in again
    assert Verification.objects.filter(organization=customer.organization).count() == 1


def test_the_cooldown_applies(developer: Client, customer: Customer) -> None:
    _try(developer, customer)
    response = developer.post(_page(customer, "try/"), _form(developer, customer))
    assert "seconds ago" in response.content.decode()


def test_a_suspended_organization_sends_no_code(developer: Client, customer: Customer) -> None:
    form = _form(developer, customer)
    Organization.objects.filter(pk=customer.id).update(status="suspended")
    response = developer.post(_page(customer, "try/"), form)
    assert "suspended" in response.content.decode()
    assert not Verification.objects.filter(organization=customer.organization).exists()


# ---------------------------------------------------------------- contents of the page


def test_recent_verifications_have_no_codes_and_masked_numbers(
    developer: Client, customer: Customer, api: Api, outsider: Customer
) -> None:
    otp_id = send(api)["otp_id"]
    send(outsider.api, phone="+966509999999")
    page = _text(developer, _page(customer))
    assert "+96650••••567" in page
    for hidden in (PHONE, code_of(otp_id), "+96650••••999"):
        assert hidden not in page
    assert "Pending" in page
    pass_by(customer, 301)
    page = _text(developer, _page(customer))
    assert "Its time was over" in page


def test_conversion_by_country(
    developer: Client, customer: Customer, api: Api, outsider: Customer, world: World
) -> None:
    world.serve("971")
    assert "No live code was sent yet" in _text(developer, _page(customer))
    for phone, status in ((PHONE, "verified"), ("+966501234568", ""), ("+971501234567", "")):
        verification = row(send(api, phone=phone)["otp_id"])
        if status:
            Verification.objects.filter(pk=verification.pk).update(
                status=status, ended_at=timezone.now(), seed=b"", digest=b""
            )
    send(outsider.api)
    body = _text(developer, _page(customer)).partition("Conversion by country")[2]
    table = re.sub(r"<[^>]+>|\s+", " ", body.partition("</table>")[0])
    numbers = re.sub(r"\s+", " ", table)
    assert "Saudi Arabia 50.0% 2 1" in numbers
    assert "United Arab Emirates 0.0% 1 0" in numbers


def test_held_prefixes_are_explained(
    developer: Client, customer: Customer, outsider: Customer
) -> None:
    now = timezone.now()
    common = {"sent": 80, "verified": 2, "created_at": now}
    later, past = now + timedelta(hours=1), now - timedelta(minutes=1)
    for owner, prefix, more in (
        (customer, "+9665012", {"until": later, "enforced": True}),
        (customer, "+9665013", {"until": past, "enforced": True}),
        (customer, "+9665014", {"until": later, "enforced": False}),
        (customer, "+9665015", {"until": later, "enforced": True, "lifted_at": now}),
        (outsider, "+9665016", {"until": later, "enforced": True}),
    ):
        HeldPrefix.objects.create(organization=owner.organization, prefix=prefix, **common, **more)
    page = _text(developer, _page(customer))
    assert re.findall(r"\+966501\d", page.partition("held")[2]) == ["+9665012"]
    assert "Codes are held back" in page


# ---------------------------------------------------------------- countries


def _choose(client: Client, customer: Customer, *countries: str) -> str:
    response = client.post(_page(customer, "countries/"), {"countries": countries}, follow=True)
    return response.content.decode()


def test_the_countries_are_narrowed(
    developer: Client, customer: Customer, api: Api, world: World
) -> None:
    world.serve("971")
    send(api, phone="+971501234567")
    assert "Saved." in _choose(developer, customer, "SA", "KW")
    refused(api.post(SEND, {"phone": "+971501234568"}), 403, "DESTINATION_BLOCKED", "phone")
    send(api)
    _choose(developer, customer, "SA", "KW")
    entry = AuditEntry.objects.get(organization=customer.organization)
    assert entry.action == "otp.countries_changed"
    assert entry.detail == {"countries": {"from": [], "to": ["KW", "SA"]}}
    assert "Kuwait, Saudi Arabia" in _text(developer, _page(customer))
    _choose(developer, customer)
    send(api, phone="+971501234568")


def test_the_countries_that_operators_allow_take_precedence(
    developer: Client, customer: Customer, api: Api, world: World
) -> None:
    world.serve("971")
    OtpSettings.objects.create(organization=customer.organization, countries=["SA"])
    assert "not one of the available choices" in _choose(developer, customer, "AE")
    OtpSettings.objects.update(chosen_countries=["AE"])
    for phone in (PHONE, "+971501234567"):
        refused(api.post(SEND, {"phone": phone}), 403, "DESTINATION_BLOCKED", "phone")


def test_the_number_of_queries_is_fixed(
    developer: Client, customer: Customer, api: Api, world: World
) -> None:
    world.serve("971")
    send(api)
    developer.get(_page(customer))
    counts = []
    for more in (0, 6):
        for number in range(more):
            send(api, phone=f"+97150123456{number}")
        statements: list[str] = []
        with connection.execute_wrapper(noting(statements)):
            developer.get(_page(customer))
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 12
