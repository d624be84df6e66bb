"""Sign-up: an account, a verified email address, and then an organization."""

from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from accounts import tasks
from accounts.audit import trail
from accounts.members.people import check_name, vouch_for_address
from accounts.models import AuditEntry, Member, Organization, User
from accounts.roles import Role
from tests.support.factories import World, in_threads
from tests.support.mails import link
from tests.support.people import PLAIN_STATIC

EMAIL = "huda@hala.example"
FORM = {
    "name": "Huda Alqahtani",
    "organization": "Hala Clinics",
    "email": EMAIL,
    "password1": "a-long-and-odd-one",
}


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC
    cache.clear()


def _sign_up(client: Client, **changes: str) -> str:
    """Post the sign-up form and return the URL that it redirects to."""
    response = client.post("/accounts/signup/", FORM | changes)
    assert response.status_code == 302, response.content.decode()
    return response["Location"]


def _confirm(client: Client, email: str = EMAIL) -> str:
    """Open the mail's link, press its button, and return the URL that it redirects to."""
    url = link("/accounts/confirm-email/", email)
    assert client.get(url).status_code == 200
    response = client.post(url)
    assert response.status_code == 302
    return response["Location"]


def _form_page(client: Client, **changes: str) -> str:
    """Post invalid values and return the page, which shows the form again."""
    response = client.post("/accounts/signup/", FORM | changes)
    assert response.status_code == 200
    return response.content.decode()


def test_from_the_form_to_the_overview(client: Client, db: None) -> None:
    assert _sign_up(client) == "/accounts/confirm-email/"
    assert "Check your mail" in client.get("/accounts/confirm-email/").content.decode()
    assert not Organization.objects.filter(name="Hala Clinics").exists()
    _confirm(client)
    page = client.get("/dashboard/", follow=True)
    assert page.redirect_chain[-1][0].startswith("/dashboard/org_")
    assert "Hala Clinics" in page.content.decode()
    member = Member.objects.get(user__email=EMAIL)
    assert (member.role, member.organization.name) == (Role.OWNER, "Hala Clinics")
    assert (member.user.name, member.user.language) == ("Huda Alqahtani", "en")
    entry = AuditEntry.objects.get(organization=member.organization)
    assert (entry.action, entry.actor) == ("organization.opened", member.user)


def test_nobody_gets_in_before_the_address_is_verified(client: Client, db: None) -> None:
    _sign_up(client)
    login = {"login": EMAIL, "password": FORM["password1"]}
    assert client.post("/accounts/login/", login)["Location"] == "/accounts/confirm-email/"
    assert client.get("/dashboard/")["Location"].startswith("/accounts/login/")
    assert not Member.objects.filter(user__email=EMAIL).exists()


def test_the_link_opened_elsewhere_asks_for_the_password(client: Client, db: None) -> None:
    _sign_up(client)
    elsewhere = Client()
    assert _confirm(elsewhere) == "/accounts/login/"
    assert not Organization.objects.filter(name="Hala Clinics").exists()
    elsewhere.post("/accounts/login/", {"login": EMAIL, "password": FORM["password1"]})
    assert "Hala Clinics" in elsewhere.get("/dashboard/", follow=True).content.decode()


def test_a_new_password_lets_nobody_in_before(client: Client, db: None) -> None:
    _sign_up(client)
    client.post("/accounts/password/reset/", {"email": EMAIL})
    form = client.get(link("/accounts/password/reset/key/", EMAIL), follow=True)
    password = {"password1": "another-long-one", "password2": "another-long-one"}
    response = client.post(form.redirect_chain[-1][0], password)
    assert response["Location"] == "/accounts/confirm-email/"
    assert not Member.objects.filter(user__email=EMAIL).exists()


def test_a_link_works_once(client: Client, db: None) -> None:
    _sign_up(client)
    url = link("/accounts/confirm-email/", EMAIL)
    client.post(url)
    page = Client().get(url).content.decode()
    assert "does not work any more" in page
    assert "does not work" in client.get("/accounts/confirm-email/nonsense/").content.decode()
    assert Organization.objects.filter(name="Hala Clinics").count() == 1


def test_a_taken_address_is_not_revealed(client: Client, db: None) -> None:
    """Its owner is notified by mail. The response is the same as for a new address."""
    _sign_up(client)
    _confirm(client)
    cache.clear()  # Mails to the same address are sent minutes apart.
    stranger = Client()
    assert _sign_up(stranger, email=EMAIL.upper(), organization="Evil") == (
        "/accounts/confirm-email/"
    )
    assert mail.outbox[-1].subject == "You have an account at imissive already"
    assert User.objects.filter(email=EMAIL).count() == 1
    assert not Organization.objects.filter(name="Evil").exists()


def test_mails_say_who_they_are_for_and_lead_to_us(client: Client, db: None) -> None:
    _sign_up(client)
    message = mail.outbox[-1]
    assert message.subject == "Confirm your address for imissive"
    assert "Hello Huda Alqahtani," in message.body
    assert EMAIL in message.body
    assert "example.com" not in message.body


def test_in_arabic(client: Client, db: None) -> None:
    client.cookies["django_language"] = "ar"
    _sign_up(client)
    assert User.objects.get(email=EMAIL).language == "ar"
    assert "مرحبًا" in mail.outbox[-1].body


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("email", "", "This field is required"),
        ("email", "huda", "Enter a valid email address"),
        ("email", "huda@hala.example\n\nBcc: x@y.example", "Enter a valid email address"),
        ("password1", "", "This field is required"),
        ("password1", "short-one", "at least 10 characters"),
        ("password1", "password1234", "too common"),
        ("password1", EMAIL, "too similar"),
        ("name", "", "This field is required"),
        ("name", "N" * 121, "at most 120 characters"),
        ("name", "Visit https://evil.example", "cannot hold a link"),
        ("organization", " ", "This field is required"),
        ("organization", "www.evil.example", "cannot hold a link"),
        ("organization", "<b>Hala</b>", "cannot hold a link"),
        ("organization", "Hala\u202eecilop", "invisible"),
        ("organization", "Hala\0", "Null characters"),
        ("organization", "O" * 121, "at most 120 characters"),
    ],
)
def test_bad_input(client: Client, db: None, field: str, value: str, message: str) -> None:
    assert message in _form_page(client, **{field: value})
    assert not User.objects.filter(email=EMAIL).exists()
    assert mail.outbox == []


@pytest.mark.parametrize("name", ["شركة هلا", "می‌خواهم", "Café 24/7 & Söhne", "👩‍⚕️ Clinic"])
def test_names_of_all_kinds(name: str) -> None:
    check_name(name)


def test_a_logged_in_user_needs_no_account(client: Client, db: None) -> None:
    _sign_up(client)
    _confirm(client)
    assert client.get("/accounts/signup/").status_code == 302


def test_closed_to_strangers(client: Client, settings, db: None) -> None:
    settings.SIGNUP_OPEN = False
    page = client.get("/accounts/signup/").content.decode()
    assert "by invitation" in page
    assert "<form" not in page.split("<main")[1].split("</main")[0]
    client.post("/accounts/signup/", FORM)
    assert not User.objects.filter(email=EMAIL).exists()
    for url in ("/", "/accounts/login/"):
        assert "/accounts/signup/" not in client.get(url).content.decode()


def test_a_flood_from_one_address_is_stopped(client: Client, db: None) -> None:
    responses = {
        client.post("/accounts/signup/", FORM | {"email": ""}).status_code for _ in range(21)
    }
    assert responses == {200, 429}


def test_a_double_click_creates_one_account(committed_world: World) -> None:
    email = "twice@hala.example"
    responses = in_threads(
        [lambda: Client().post("/accounts/signup/", FORM | {"email": email}).status_code] * 3
    )
    try:
        assert responses == [302, 302, 302]
        assert User.objects.filter(email=email).count() == 1
        assert EmailAddress.objects.filter(email=email).count() == 1
    finally:
        User.objects.filter(email=email).delete()


def test_without_the_database_nothing_is_half_made(
    client: Client, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object, **_more: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("accounts.members.signup.get_language", broken)
    client.raise_request_exception = False
    assert client.post("/accounts/signup/", FORM).status_code == 500
    assert not User.objects.filter(email=EMAIL).exists()


def test_one_more_organization(client: Client, settings, db: None) -> None:
    _sign_up(client)
    _confirm(client)
    client.get("/dashboard/", follow=True)
    for _ in range(2):
        response = client.post("/new-organization/", {"name": "Hala Labs"})
        assert response["Location"].startswith("/dashboard/org_")
    assert Member.objects.filter(user__email=EMAIL, role=Role.OWNER).count() == 2
    page = client.post("/new-organization/", {"name": "https://evil.example"}).content.decode()
    assert "cannot hold a link" in page
    settings.SIGNUP_OPEN = False
    assert client.post("/new-organization/", {"name": "Hala Shops"}).status_code == 403
    assert Client().get("/new-organization/").status_code == 302


def test_nobody_owns_countless_organizations(client: Client, db: None) -> None:
    _sign_up(client)
    _confirm(client)
    for number in range(12):
        response = client.post("/new-organization/", {"name": f"Hala {number}"})
    assert "too many organizations" in response.content.decode()
    assert Member.objects.filter(user__email=EMAIL).count() == 10


def test_unverified_accounts_are_deleted_after_a_week(client: Client, db: None) -> None:
    _sign_up(client)
    kept = User.objects.create_user("kept@hala.example")
    proved = User.objects.create_user("proved@hala.example")
    vouch_for_address(proved)
    operator = User.objects.create_user("op@hala.example", is_staff=True)
    invited = User.objects.create_user("in@hala.example")
    Organization.objects.create(name="Hala").memberships.create(user=invited)
    week = timezone.now() - timedelta(days=7, minutes=1)
    named = User.objects.create_user("named@hala.example")
    trail.record("member.left", actor=named)
    ours = User.objects.filter(email__endswith="@hala.example")
    ours.exclude(pk=kept.pk).update(date_joined=week, last_login=None)
    tasks.forget_unproved()
    assert set(ours) == {kept, proved, operator, invited, named}
    assert not EmailAddress.objects.filter(email=EMAIL).exists()
