"""The dashboard's pages: permissions, and what they show of the database."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.access.page_access import public_id
from accounts.credits import ledger
from accounts.models import MICRO, Organization
from accounts.roles import Role
from messaging.log import pages
from messaging.models import Carrier, Message
from tests.support.factories import Customer, World
from tests.support.people import (
    PLAIN_STATIC,
    browser,
    member,
    person,
)


@pytest.fixture(autouse=True)
def _plain_static(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def sent(world: World, customer: Customer, carrier: Carrier) -> Message:
    return world.message(customer, carrier, text="Hello Sara", reference="order-7")


@pytest.fixture
def owner(customer: Customer) -> Client:
    return browser(member(customer.organization))


def _home(customer: Customer) -> str:
    return f"/dashboard/{public_id(customer.organization)}/"


def _text(client: Client, url: str, **query: str) -> str:
    response = client.get(url, query)
    assert response.status_code == 200
    return response.content.decode()


# ---------------------------------------------------------------- permissions

PAGES = ["overview", "messages", "message"]


def _page(name: str, customer: Customer, sent: Message) -> str:
    return reverse(
        name,
        args=[public_id(customer.organization), *([sent.public_id] if name == "message" else [])],
    )


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("role", list(Role))
def test_every_role_reads(page: str, role: Role, customer: Customer, sent: Message) -> None:
    client = browser(member(customer.organization, role))
    assert client.get(_page(page, customer, sent)).status_code == 200


@pytest.mark.parametrize("page", PAGES)
def test_outsiders_find_nothing(
    page: str, customer: Customer, outsider: Customer, sent: Message
) -> None:
    for user in (
        member(outsider.organization),
        person(),
        person(is_staff=True, is_superuser=True),
    ):
        assert browser(user).get(_page(page, customer, sent)).status_code == 404


@pytest.mark.parametrize("page", PAGES)
def test_an_anonymous_user_is_redirected_to_the_login(
    page: str, customer: Customer, sent: Message
) -> None:
    url = _page(page, customer, sent)
    response = browser(None).get(url)
    assert (response.status_code, response["Location"]) == (302, f"/accounts/login/?next={url}")


@pytest.mark.parametrize("page", PAGES)
def test_pages_only_show(page: str, owner: Client, customer: Customer, sent: Message) -> None:
    assert owner.post(_page(page, customer, sent)).status_code == 405


def test_a_message_of_another_organization_is_not_found(
    owner: Client, world: World, customer: Customer, outsider: Customer, carrier: Carrier
) -> None:
    theirs = world.message(outsider, carrier)
    assert owner.get(f"{_home(customer)}messages/{theirs.public_id}/").status_code == 404
    assert theirs.public_id not in _text(owner, f"{_home(customer)}messages/")


@pytest.mark.parametrize(
    "organization_id", ["org_", "org_" + "0" * 26, "org_" + "u" * 26, "msg_" + "0" * 26, "1", "é"]
)
def test_invalid_organization_ids(owner: Client, organization_id: str) -> None:
    assert owner.get(f"/dashboard/{organization_id}/").status_code == 404


@pytest.mark.parametrize(
    ("role", "sees"),
    [
        (Role.OWNER, True),
        (Role.ADMIN, True),
        (Role.FINANCE, True),
        (Role.DEVELOPER, False),
        (Role.VIEWER, False),
    ],
)
def test_the_balance_needs_the_permission(role: Role, sees: bool, customer: Customer) -> None:
    ledger.adjust(customer.organization, 1234 * MICRO, reason="paid", actor=None)
    page = _text(browser(member(customer.organization, role)), _home(customer))
    assert ("1,334" in page) is sees


def test_pages_of_a_member_are_not_cached(owner: Client, customer: Customer, sent: Message) -> None:
    for page in PAGES:
        response = owner.get(_page(page, customer, sent))
        assert "no-store" in response["Cache-Control"]
        assert "unsafe" not in response["Content-Security-Policy"]
        for forbidden in (" style=", "<style", " onclick=", "javascript:"):
            assert forbidden not in response.content.decode()


# ---------------------------------------------------------------- the landing page


def test_the_landing_page_describes_the_platform(client: Client, db: None) -> None:
    page = _text(client, "/")
    assert "Sign in" in page
    assert "/v1/sms/send" in page


def test_the_landing_page_redirects_members_to_their_organization(
    owner: Client, customer: Customer
) -> None:
    for url in ("/", "/dashboard/"):
        assert owner.get(url)["Location"] == _home(customer)


def test_a_user_without_an_organization_gets_an_explanation(db: None) -> None:
    assert "You belong to no organization yet" in _text(browser(person()), "/")
    assert browser(person(is_staff=True)).get("/")["Location"] == "/admin/"


def test_members_of_several_switch_between_them(customer: Customer, outsider: Customer) -> None:
    user = member(customer.organization)
    outsider.organization.memberships.create(user=user, role=Role.VIEWER)
    page = _text(browser(user), _home(customer))
    assert _home(outsider) in page


@pytest.mark.parametrize(
    "path",
    [
        "/accounts/login/",
        "/accounts/password/reset/",
        "/accounts/password/reset/done/",
        "/accounts/2fa/",
        "/accounts/password/set/",
        "/accounts/email/",
        "/accounts/sessions/",
        "/accounts/logout/",
    ],
)
@pytest.mark.parametrize("language", ["en", "ar"])
def test_account_pages_look_like_ours(
    path: str, language: str, customer: Customer, owner: Client
) -> None:
    client = Client() if "login" in path or "reset" in path else owner
    client.cookies["django_language"] = language
    page = _text(client, path)
    assert "css/tokens.css" in page
    assert f'dir="{"rtl" if language == "ar" else "ltr"}"' in page


def test_the_theme_is_remembered(client: Client, db: None) -> None:
    response = client.post("/theme/", {"theme": "dark", "next": "/accounts/login/"})
    assert response["Location"] == "/accounts/login/"
    assert 'data-theme="dark"' in _text(client, "/")
    client.post("/theme/", {"theme": "auto"})
    assert "data-theme" not in _text(client, "/")
    assert client.post("/theme/", {"theme": "pink"}).status_code == 400
    assert client.get("/theme/").status_code == 405
    for elsewhere in ("https://evil.example/", "//evil.example", "javascript:alert(1)"):
        response = client.post("/theme/", {"theme": "dark", "next": elsewhere})
        assert response["Location"] == "/"


def test_the_language_is_remembered(owner: Client, customer: Customer) -> None:
    owner.post("/i18n/setlang/", {"language": "ar", "next": _home(customer)})
    page = _text(owner, _home(customer))
    assert '<html lang="ar" dir="rtl"' in page
    assert "نظرة عامة" in page


def test_the_browsers_language_counts_until_one_is_chosen(client: Client, db: None) -> None:
    response = client.get("/", headers={"accept-language": "ar-SA,ar;q=0.9"})
    assert 'lang="ar"' in response.content.decode()


@pytest.mark.parametrize("language", ["en", "ar"])
def test_error_pages(client: Client, settings, db: None, language: str) -> None:
    client.cookies["django_language"] = language
    response = client.get("/nothing-here/")
    assert response.status_code == 404
    page = response.content.decode()
    assert "css/tokens.css" in page
    assert ("There is nothing here" in page) is (language == "en")


def test_a_bug_of_ours_is_not_shown(
    owner: Client, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError("with a secret in it")

    monkeypatch.setattr(pages, "messages_of", broken)
    owner.raise_request_exception = False
    response = owner.get(_home(customer))
    assert response.status_code == 500
    assert "Something went wrong on our side" in response.content.decode()
    assert "secret" not in response.content.decode()


# ---------------------------------------------------------------- overview


def test_a_new_organization_sees_the_onboarding(db: None) -> None:
    organization = Organization.objects.create(name="New")
    page = _text(browser(member(organization)), f"/dashboard/{public_id(organization)}/")
    for step in (
        "Verify your e-mail",
        "Make an API key",
        "Send a test message",
        "Request a sender ID",
        "Set a webhook",
    ):
        assert step in page
    assert "No messages yet" in page


def test_completed_onboarding_is_hidden(
    owner: Client, world: World, customer: Customer, sent: Message
) -> None:
    assert "Set a webhook" in _text(owner, _home(customer))
    world.endpoint(customer)
    assert "Next steps" not in _text(owner, _home(customer))


def test_a_low_balance_is_reported(owner: Client, customer: Customer) -> None:
    assert "balance is low" not in _text(owner, _home(customer))
    customer.organization.low_balance_threshold = 100 * MICRO
    customer.organization.save()
    assert "balance is low" in _text(owner, _home(customer))


def test_a_suspended_organization_still_reads(owner: Client, customer: Customer) -> None:
    Organization.objects.filter(pk=customer.id).update(status="suspended")
    assert "is suspended" in _text(owner, _home(customer))


def test_pages_cost_a_fixed_number_of_queries(
    owner: Client, world: World, customer: Customer, carrier: Carrier, django_assert_num_queries
) -> None:
    """The number does not depend on the number of messages."""
    for _ in range(3):
        world.message(customer, carrier)
    owner.get(_home(customer))  # The session remembers the account.
    counted = {}
    for url in (_home(customer), f"{_home(customer)}messages/"):
        with CaptureQueriesContext(connection) as queries:
            owner.get(url)
        counted[url] = len(queries)
    for _ in range(30):
        world.message(customer, carrier)
    for url, count in counted.items():
        with django_assert_num_queries(count):
            owner.get(url)
