"""Rate limits of posts to pages: by user, organization and IP address, in both languages."""

import itertools
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from allauth.account.adapter import get_adapter
from django.conf import settings
from django.core.cache import caches
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from structlog.testing import capture_logs

from accounts.access import post_limits
from accounts.access.page_access import public_id
from accounts.access.post_limits import PostLimit, network_of
from accounts.members.people import vouch_for_address
from accounts.models import User
from imissive.core import shared_cache
from imissive.core.api.requests import client_address
from messaging.models import Carrier, Contact, ContactList, ListEntry
from tests.support.dashboard_pages import url_of
from tests.support.factories import Customer, World
from tests.support.people import PLAIN_STATIC, browser, member, person
from tests.support.platforms import until

LIMITED: dict[str, PostLimit] = {
    "account_login": post_limits.SIGN_IN,
    "mfa_authenticate": post_limits.SECOND_FACTOR,
    "mfa_login_webauthn": post_limits.PASSKEY_SIGN_IN,
    "account_signup": post_limits.SIGN_UP,
    "account_reset_password": post_limits.PASSWORD_RESET,
    "account_reset_password_from_key": post_limits.NEW_PASSWORD,
    "account_change_password": post_limits.CHANGE_PASSWORD,
    "account_set_password": post_limits.CHANGE_PASSWORD,
    "account_email": post_limits.MANAGE_EMAIL,
    "account_reauthenticate": post_limits.REAUTHENTICATE,
    "mfa_reauthenticate": post_limits.REAUTHENTICATE,
    "invitation": post_limits.ACCEPT_INVITATION,
    "invite": post_limits.INVITE,
    "resend_invitation": post_limits.INVITE,
    "test_message": post_limits.TEST_MESSAGE,
    "test_webhook": post_limits.TEST_EVENT,
    "send_try": post_limits.OTP_TRY,
    "compose": post_limits.PREVIEW,
    "compose_estimate": post_limits.PREVIEW,
    "send_composed": post_limits.PREVIEW,
    "campaign_columns": post_limits.PREVIEW,
    "campaign_text": post_limits.PREVIEW,
    "new_campaign": post_limits.UPLOAD,
    "campaign_recipients": post_limits.UPLOAD,
    "import_contacts": post_limits.UPLOAD,
    "import_columns": post_limits.UPLOAD,
    "add_suppressions": post_limits.UPLOAD,
    "new_sender": post_limits.UPLOAD,
    "ask_sender_again": post_limits.UPLOAD,
    "export_contacts": post_limits.DOWNLOAD,
    "new_export": post_limits.DOWNLOAD,
}
BY_USER = [name for name, limit in LIMITED.items() if limit.by_user]
# One URL of each limit.
BY_ADDRESS = list({limit: name for name, limit in reversed(LIMITED.items())}.values())
TEXTS = {
    "en": ("Too many requests", "Try again in a minute."),
    "ar": ("طلبات كثيرة جدًا", "أعد المحاولة بعد دقيقة."),
}
_addresses = itertools.count(1)


@pytest.fixture(autouse=True)
def _plain(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.STORAGES = PLAIN_STATIC
    # The clock stands still, so that no window ends while a test posts.
    monkeypatch.setattr("django_ratelimit.core.time", SimpleNamespace(time=lambda: 1_800_000_000))


def new_address() -> str:
    number = next(_addresses)
    return f"198.18.{number >> 8}.{number & 255}"


def count_of(rate: str | None) -> int:
    return int(str(rate).partition("/")[0])


class Scene:
    """A limited URL, and users who post to it."""

    def __init__(self, name: str, world: World, customer: Customer, carrier: Carrier) -> None:
        self.limit, self.customer = LIMITED[name], customer
        more = {
            "account_reset_password_from_key": {"uidb36": "1", "key": "x-y"},
            "invitation": {"token": "nobody-has-it"},
        }
        if name.startswith(("account_", "mfa_")) or name in more:
            self.url = reverse(name, kwargs=more.get(name))
        else:
            self.url = url_of(name, world, customer, carrier)

    def person(self) -> Client:
        """Return the browser of a new user who may post to the URL."""
        return browser(member(self.customer.organization) if self.limit.by_user else None)

    def outsider(self, world: World) -> Client:
        """Switch the scene to a new organization; return the browser of a user of it."""
        self.customer = world.customer()
        self.url = re.sub(r"org_\w+", public_id(self.customer.organization), self.url)
        return self.person()


@pytest.fixture
def scene(
    request: pytest.FixtureRequest, world: World, customer: Customer, carrier: Carrier
) -> Scene:
    return Scene(request.param, world, customer, carrier)


def post(client: Client, url: str, *, at: str, fields: Any = None, **headers: str) -> Any:
    return client.post(url, fields or {}, REMOTE_ADDR=at, headers=headers)


def count_more(posts: int, *, where: int | None = None) -> None:
    """Add to the test's counters in Redis, as if that many more of the same posts had come.

    With `where`, only to the counters of that many posts.
    """
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        # conftest.py gives each test a prefix of its own.
        prefix: str = vars(settings)["RATELIMIT_CACHE_PREFIX"]
        for key in client.scan_iter(match=f"*{prefix}*"):
            if where in (None, int(client.get(key) or 0)):
                client.incrby(key, posts)


def is_refused(response: Any) -> bool:
    assert response.status_code < 500
    return bool(response.status_code == 429)


def refused_in_both_languages(client: Client, url: str, *, at: str) -> None:
    """Assert that a post is refused with the error page, in each language."""
    for language, texts in TEXTS.items():
        client.cookies["django_language"] = language
        response = post(client, url, at=at)
        assert is_refused(response)
        page = response.content.decode()
        assert texts[0] in page
        assert (texts[1] in page) is (int(response["Retry-After"]) <= 60)
        assert f'dir="{"rtl" if language == "ar" else "ltr"}"' in page
        assert 1 <= int(response["Retry-After"]) <= 3600
    client.cookies["django_language"] = "en"


# ---------------------------------------------------------------- every limited URL


def _limited(patterns: list[URLPattern | URLResolver]) -> Iterator[tuple[str, PostLimit]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _limited(pattern.url_patterns)
        elif hasattr(pattern.callback, "post_limit"):
            yield pattern.name or "", pattern.callback.post_limit


def test_every_limited_url_has_its_row() -> None:
    assert dict(_limited(get_resolver().url_patterns)) == LIMITED


@pytest.mark.parametrize("scene", BY_USER, indirect=True)
def test_a_user_is_refused_beyond_the_limit_and_others_are_not(scene: Scene) -> None:
    someone = scene.person()
    # Each from another IP address, so that no address reaches its limit.
    assert not is_refused(post(someone, scene.url, at=new_address()))
    count_more(count_of(scene.limit.by_user) - 2)
    assert not is_refused(post(someone, scene.url, at=new_address()))
    refused_in_both_languages(someone, scene.url, at=new_address())
    assert not is_refused(someone.get(scene.url))
    if not scene.limit.by_organization:
        assert not is_refused(post(scene.person(), scene.url, at=new_address()))


@pytest.mark.parametrize("scene", BY_ADDRESS, indirect=True)
def test_an_address_is_refused_beyond_the_limit_and_others_are_not(
    scene: Scene, world: World
) -> None:
    office = new_address()

    def another() -> Client:
        return scene.outsider(world) if scene.limit.by_organization else scene.person()

    for _ in range(2):
        assert not is_refused(post(another(), scene.url, at=office))
    # Only the address has two posts by now.
    count_more(count_of(scene.limit.by_address) - 3, where=2)
    assert not is_refused(post(another(), scene.url, at=office))
    someone = another()
    refused_in_both_languages(someone, scene.url, at=office)
    assert not is_refused(post(someone, scene.url, at=new_address()))


@pytest.mark.parametrize("scene", ["test_message", "test_webhook", "send_try"], indirect=True)
def test_an_organization_is_refused_beyond_the_limit_for_all_its_users(
    scene: Scene, world: World
) -> None:
    assert not is_refused(post(scene.person(), scene.url, at=new_address()))
    count_more(count_of(scene.limit.by_organization) - 2)
    assert not is_refused(post(scene.person(), scene.url, at=new_address()))
    refused_in_both_languages(scene.person(), scene.url, at=new_address())
    assert not is_refused(post(scene.outsider(world), scene.url, at=new_address()))


def test_a_refused_user_does_not_use_up_the_share_of_the_address(customer: Customer) -> None:
    url = reverse("invite", kwargs={"organization_id": public_id(customer.organization)})
    office = new_address()
    loud, quiet = (browser(member(customer.organization)) for _ in range(2))
    responses = [is_refused(post(loud, url, at=office)) for _ in range(100)]
    assert responses.count(False) == count_of(post_limits.INVITE.by_user)
    assert not is_refused(post(quiet, url, at=office))


def test_posts_of_outsiders_are_not_counted(customer: Customer) -> None:
    url = reverse("invite", kwargs={"organization_id": public_id(customer.organization)})
    office, outsider = new_address(), browser(person())
    for _ in range(count_of(post_limits.INVITE.by_address) + 1):
        assert post(outsider, url, at=office).status_code == 404
    assert not is_refused(post(browser(member(customer.organization)), url, at=office))


def test_a_refused_post_has_no_effect(customer: Customer, mailoutbox: Any) -> None:
    url = reverse("invite", kwargs={"organization_id": public_id(customer.organization)})
    owner = browser(member(customer.organization))
    for _ in range(count_of(post_limits.INVITE.by_user)):
        post(owner, url, at=new_address())
    invited = {"email": "noor@najd.example", "role": "viewer"}
    assert is_refused(post(owner, url, at=new_address(), fields=invited))
    assert mailoutbox == []
    assert not customer.organization.invitations.exists()


# ---------------------------------------------------------------- the caller's IP address


def test_behind_a_proxy_the_callers_address_counts(settings: Any, db: None) -> None:
    settings.TRUSTED_PROXIES = 1
    url, proxy = reverse("account_login"), new_address()
    here, there = new_address(), new_address()
    for _ in range(count_of(post_limits.SIGN_IN.by_address)):
        assert not is_refused(post(Client(), url, at=proxy, x_forwarded_for=here))
    assert is_refused(post(Client(), url, at=proxy, x_forwarded_for=f"1.2.3.4, {here}"))
    assert not is_refused(post(Client(), url, at=proxy, x_forwarded_for=there))


def test_allauths_own_limits_count_the_same_address(settings: Any, db: None) -> None:
    settings.TRUSTED_PROXIES, settings.CLIENT_ADDRESS_META = 1, "HTTP_CLIENTADDRESS"
    address = new_address()
    request = RequestFactory().get(
        "/", REMOTE_ADDR="10.0.0.1", HTTP_CLIENTADDRESS=address, HTTP_X_FORWARDED_FOR="192.0.2.66"
    )
    assert get_adapter().get_client_ip(request) == client_address(request) == address


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::"),
        ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("", "unknown"),
    ],
)
def test_the_key_of_an_address(address: str, network: str) -> None:
    assert network_of(address) == network


# ---------------------------------------------------------------- many recipients


def _many(count: int) -> str:
    return "\n".join(f"+9665{number:08d}" for number in range(count))


def _composed(customer: Customer, path: str = "") -> str:
    return f"/dashboard/{public_id(customer.organization)}/compose/{path}"


def test_estimates_for_thousands_have_a_lower_limit_and_show_the_error_in_place(
    customer: Customer, carrier: Carrier
) -> None:
    url = _composed(customer, "estimate/")
    owner, colleague = (browser(member(customer.organization)) for _ in range(2))
    large = {"to": _many(1000), "text": "Hello"}
    assert not is_refused(post(owner, url, at=new_address(), fields=large))
    count_more(count_of(post_limits.LARGE_PREVIEW.by_user) - 2)
    assert not is_refused(post(owner, url, at=new_address(), fields=large))
    for language, texts in TEXTS.items():
        owner.cookies["django_language"] = language
        response = post(owner, url, at=new_address(), fields=large, hx_request="true")
        assert is_refused(response)
        part = response.content.decode()
        assert all(text in part for text in texts)
        assert "<html" not in part
    # Few recipients are still allowed, and so are the review and the colleague.
    owner.cookies["django_language"] = "en"
    small = {"to": _many(3), "text": "Hello"}
    assert not is_refused(post(owner, url, at=new_address(), fields=small))
    assert not is_refused(post(owner, _composed(customer), at=new_address(), fields=large))
    assert not is_refused(post(colleague, url, at=new_address(), fields=large))


def test_reviews_of_thousands_have_a_lower_limit_too(customer: Customer, carrier: Carrier) -> None:
    owner = browser(member(customer.organization))
    large = {"to": _many(1000), "text": "Hello", "act": "review"}
    pages = itertools.cycle([_composed(customer), _composed(customer, "send/")])
    assert not is_refused(post(owner, next(pages), at=new_address(), fields=large))
    count_more(count_of(post_limits.LARGE_REVIEW.by_user) - 2)
    assert not is_refused(post(owner, next(pages), at=new_address(), fields=large))
    assert is_refused(post(owner, next(pages), at=new_address(), fields=large))


@pytest.mark.parametrize(("entries", "refused"), [(500, False), (501, True)])
def test_a_long_list_is_many_recipients(customer: Customer, entries: int, refused: bool) -> None:
    chosen = ContactList.objects.create(organization=customer.organization, name="All")
    contacts = Contact.objects.bulk_create(
        Contact(organization=customer.organization, number=f"+9665{number:08d}")
        for number in range(entries)
    )
    ListEntry.objects.bulk_create(
        ListEntry(contact_list=chosen, contact=contact) for contact in contacts
    )
    owner = browser(member(customer.organization))
    fields = {"lists": [chosen.public_id]}
    post(owner, _composed(customer, "estimate/"), at=new_address(), fields=fields)
    count_more(count_of(post_limits.LARGE_PREVIEW.by_user) - 1)
    last = post(owner, _composed(customer, "estimate/"), at=new_address(), fields=fields)
    assert is_refused(last) is refused


# ---------------------------------------------------------------- allauth's own limits


@pytest.fixture
def noor(db: None) -> User:
    user = User.objects.create_user("noor@najd.example", "a-long-and-odd-one", name="Noor")
    vouch_for_address(user)
    return user


def _sign_in(user: User, password: str, *, at: str) -> Any:
    fields = {"login": user.email, "password": password}
    return post(Client(), reverse("account_login"), at=at, fields=fields)


def test_guesses_of_one_password_have_a_lower_limit_than_posts(noor: User) -> None:
    caches["default"].clear()
    guesser = new_address()
    for _ in range(5):
        response = _sign_in(noor, "wrong", at=guesser)
        assert "Too many failed" not in response.content.decode()
    # The form shows the error; the page itself is not refused.
    response = _sign_in(noor, "a-long-and-odd-one", at=guesser)
    assert (response.status_code, "Too many failed" in response.content.decode()) == (200, True)


def test_mails_to_one_address_are_refused_with_the_same_page(noor: User) -> None:
    caches["default"].clear()
    url, fields = reverse("account_reset_password"), {"email": noor.email}
    for _ in range(5):
        assert not is_refused(post(Client(), url, at=new_address(), fields=fields))
    response = post(Client(), url, at=new_address(), fields=fields)
    assert is_refused(response)
    assert all(text in response.content.decode() for text in TEXTS["en"])
    assert response["Retry-After"] == "60"


# ---------------------------------------------------------------- without Redis


@pytest.mark.usefixtures("cache_without_redis")
@pytest.mark.parametrize("scene", BY_ADDRESS, indirect=True)
def test_without_redis_pages_work_and_this_process_counts(scene: Scene) -> None:
    someone, office = scene.person(), new_address()
    with capture_logs() as logs:
        for _ in range(count_of(scene.limit.by_user or scene.limit.by_address)):
            assert not is_refused(post(someone, scene.url, at=office))
        assert is_refused(post(someone, scene.url, at=office))
    [alert] = [log for log in logs if log["event"] == "cache_unavailable"]
    assert alert["log_level"] == "error"


@pytest.mark.usefixtures("cache_without_redis")
def test_without_redis_people_sign_in_and_guesses_are_counted(noor: User) -> None:
    assert _sign_in(noor, "a-long-and-odd-one", at=new_address()).status_code == 302
    guesser = new_address()
    for _ in range(5):
        _sign_in(noor, "wrong", at=guesser)
    response = _sign_in(noor, "wrong", at=guesser)
    assert "Too many failed" in response.content.decode()


def test_all_processes_count_together_once_redis_is_back(
    settings: Any, cache_without_redis: None
) -> None:
    away = settings.CACHES
    with capture_logs() as logs:
        assert caches["default"].add("here", 1)
        assert not caches["default"].add("here", 1)
        location = settings.CACHES["default"] | {"LOCATION": settings.REDIS_URL}
        settings.CACHES = {"default": location}
        until(shared_cache._breaker.lets_pass, 10)
        assert caches["default"].get("here") is None
    assert away["default"]["LOCATION"] != settings.REDIS_URL
    assert [log["event"] for log in logs] == ["cache_unavailable", "cache_available"]
