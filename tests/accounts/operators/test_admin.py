"""The operators' admin: access, permissions, changes, and their audit log entries."""

import re
import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import MICRO, AuditEntry, LedgerEntry, Member, Organization, User
from accounts.operators.site import site
from accounts.roles import Role
from imissive import urls
from messaging.carriers import traffic
from messaging.carriers.traffic import Tally
from messaging.models import Carrier, Message, Price, Route
from tests.support import showcase
from tests.support.factories import Customer, World
from tests.support.people import (
    PLAIN_STATIC,
    browser,
    member,
    operator,
    person,
)
from tests.support.top_ups import confirmed

# urls.py registers the admin's pages.
assert urls.urlpatterns
ADMINS = sorted(site._registry.items(), key=lambda item: item[0]._meta.label)
assert len(ADMINS) > 20


@pytest.fixture(autouse=True)
def _plain_static(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def admin(db: None) -> Client:
    return browser(operator())


def _url(model, page: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def test_every_page_of_every_model(admin: Client, wakes: list[object]) -> None:
    """One test for all of them, because the showcase takes three seconds to create."""
    objects = showcase.make()
    secrets = (objects.carrier.password, "whsec_", showcase.PASSWORD)
    for model, model_admin in ADMINS:
        found = admin.get(_url(model, "changelist"))
        assert found.status_code == 200, model
        assert admin.get(_url(model, "changelist"), {"q": "najd"}).status_code == 200, model
        added = admin.get(_url(model, "add"))
        may_add = model_admin.has_add_permission(found.wsgi_request)
        assert added.status_code == (200 if may_add else 403), model
        row = model._default_manager.first()
        if row is not None:
            page = admin.get(_url(model, "change", row.pk))
            assert page.status_code == 200, model
            assert [secret for secret in secrets if secret in page.content.decode()] == [], model


@pytest.mark.parametrize(("model", "model_admin"), ADMINS)
def test_no_column_is_read_by_a_filter_of_ones_own(admin: Client, model, model_admin) -> None:
    """Lookups such as `text__startswith=A`, then `=AB`, would reveal masked columns unnoticed."""
    url = _url(model, "changelist")
    lookups = [f.name for f in model._meta.concrete_fields]
    lookups += [f"{f.name}__pk" for f in model._meta.concrete_fields if f.is_relation]
    lookups += ["organization__name", "user__password", "members__email"]
    for lookup in lookups:
        for kind in ("startswith", "gte"):
            found = admin.get(url, {f"{lookup}__{kind}": "A"})
            assert found.status_code == 400, (lookup, kind)
    for each in model_admin.list_filter:
        if isinstance(each, str):
            boolean = model._meta.get_field(each).get_internal_type() == "BooleanField"
            if not model._meta.get_field(each).is_relation:
                value = "1" if boolean else "none"
                assert admin.get(url, {f"{each}__exact": value}).status_code == 200, each
        elif isinstance(each, tuple):
            assert admin.get(url, {f"{each[0]}__isempty": "1"}).status_code == 200, each


def test_every_page_in_arabic_too(admin: Client, wakes: list[object]) -> None:
    showcase.make()
    admin.cookies["django_language"] = "ar"
    for model, _ in ADMINS:
        page = admin.get(_url(model, "changelist"))
        assert page.status_code == 200
        assert 'dir="rtl"' in page.content.decode()


@pytest.mark.parametrize(("model", "model_admin"), ADMINS, ids=lambda value: str(value))
def test_a_member_is_refused(customer: Customer, model, model_admin) -> None:
    client = browser(member(customer.organization))
    response = client.get(_url(model, "changelist"), follow=True)
    assert response.status_code == 403


def test_nobody_is_sent_to_the_one_login_and_comes_back(client: Client, db: None) -> None:
    response = client.get("/admin/messaging/carrier/", follow=True)
    assert response.redirect_chain[-1][0].startswith("/accounts/login/?next=")
    assert "%2Fadmin%2Fmessaging%2Fcarrier%2F" in response.redirect_chain[-1][0]


def test_an_operator_added_here_logs_in_by_email(admin: Client) -> None:
    fields = {"email": "New@Example.com", "name": "New", "language": "en"}
    passwords = {"password1": "a long password", "password2": "a long password"}
    assert admin.post(_url(User, "add"), {**fields, **passwords}).status_code == 302
    user = User.objects.get(email="new@example.com")
    assert user.password.startswith("argon2")
    change = {**fields, "email": "new@example.com", "is_active": "on", "is_staff": "on"}
    assert admin.post(_url(User, "change", user.pk), change).status_code == 302
    login = {"login": "new@example.com", "password": "a long password"}
    response = Client().post("/accounts/login/?next=/admin/", login, follow=True)
    assert response.redirect_chain[-1][0] == "/admin/"
    assert response.status_code == 200
    entries = AuditEntry.objects.filter(target="new@example.com").order_by("id")
    assert [entry.action for entry in entries] == ["user.added", "user.changed"]
    assert "a long password" not in str([entry.detail for entry in entries])
    assert "argon2" not in str([entry.detail for entry in entries])


def test_the_password_form(admin: Client, customer: Customer) -> None:
    user = member(customer.organization)
    passwords = {"password1": "another long one", "password2": "another long one"}
    url = f"/admin/accounts/user/{user.pk}/password/"
    assert admin.get(url).status_code == 200
    assert admin.post(url, passwords).status_code == 302
    user.refresh_from_db()
    assert user.check_password("another long one")


def test_logging_out_needs_a_post(admin: Client) -> None:
    assert admin.get("/admin/logout/").status_code == 405
    assert admin.post("/admin/logout/").status_code == 302
    assert admin.get("/admin/").status_code == 302


def test_an_operator_with_few_rights_cannot_make_themselves_more(db: None) -> None:
    helper = person(is_staff=True)
    helper.user_permissions.add(Permission.objects.get(codename="change_user"))
    client = browser(helper)
    fields = {"email": helper.email, "language": "en", "is_active": "on", "is_superuser": "on"}
    client.post(_url(User, "change", helper.pk), fields)
    helper.refresh_from_db()
    assert not helper.is_superuser
    boss = operator()
    passwords = {"password1": "another long one", "password2": "another long one"}
    assert client.post(f"/admin/accounts/user/{boss.pk}/password/", passwords).status_code == 403


# ---------------------------------------------------------------- policy


def test_only_the_admin_has_the_looser_policy(admin: Client) -> None:
    loose = admin.get("/admin/")["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-eval'" in loose
    assert "'unsafe-inline'" not in re.findall("script-src[^;]*", loose)[0]
    strict = admin.get("/accounts/password/change/")["Content-Security-Policy"]
    assert "unsafe" not in strict


# ---------------------------------------------------------------- money


@pytest.mark.parametrize("model", ["ledgerentry", "balance", "auditentry"])
@pytest.mark.parametrize("page", ["add", "change", "delete"])
def test_money_and_audit_cannot_be_changed(
    admin: Client, customer: Customer, model: str, page: str
) -> None:
    row: LedgerEntry | None = LedgerEntry.objects.filter(organization=customer.id).first()
    assert row is not None
    AuditEntry.objects.create(action="something")
    pk = {
        "ledgerentry": row.pk,
        "balance": customer.id,
        "auditentry": AuditEntry.objects.get(action="something").pk,
    }[model]
    url = reverse(f"admin:accounts_{model}_{page}", args=() if page == "add" else (pk,))
    response = admin.post(url, {"amount": 1, "micro": 1, "post": "yes"})
    assert response.status_code == 403
    assert customer.balance() == 100 * MICRO
    chosen = {"action": "delete_selected", "_selected_action": [pk], "post": "yes"}
    admin.post(reverse(f"admin:accounts_{model}_changelist"), chosen)
    row.refresh_from_db()


def test_top_up_and_correction(admin: Client, customer: Customer) -> None:
    url = reverse("admin:accounts_organization_adjust_credits", args=(customer.id,))
    assert admin.get(url).status_code == 200
    assert customer.balance() == 100 * MICRO
    confirmed(admin, customer, "12.5")
    confirmed(admin, customer, "-0.000001", "Rounding")
    changes = [(kind, micro) for kind, micro, _ in customer.ledger()]
    assert changes == [("top_up", 12_500_000), ("correction", -1)]
    entries = AuditEntry.objects.filter(organization=customer.organization).order_by("id")
    assert [entry.detail for entry in entries] == [
        {"credits": "12.5", "reason": "Invoice 7"},
        {"credits": "-0.000001", "reason": "Rounding"},
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"credits": "1", "reason": ""},
        {"credits": "0", "reason": "Nothing"},
        {"credits": "", "reason": "Nothing"},
        {"credits": "1.0000001", "reason": "Too fine"},
        {"credits": "-100.000001", "reason": "Too much"},
        {"credits": "9" * 30, "reason": "Too much"},
        {"credits": "NaN", "reason": "Not a number"},
    ],
)
def test_invalid_top_ups(admin: Client, customer: Customer, fields: dict[str, str]) -> None:
    url = reverse("admin:accounts_organization_adjust_credits", args=(customer.id,))
    for step in ({}, {"confirmed": "on"}):
        response = admin.post(url, {"reference": str(uuid.uuid4()), **fields, **step})
        assert response.status_code == 200
        assert response.context["form"].errors
    assert customer.ledger() == []
    assert not AuditEntry.objects.filter(organization=customer.organization).exists()


def test_prices_are_written_and_shown_in_credits(admin: Client) -> None:
    admin.post(_url(Price, "add"), {"prefix": "971", "micro": "0.25"})
    price = Price.objects.get(prefix="971")
    assert price.micro == 250_000
    page = admin.get(_url(Price, "change", price.pk)).content.decode()
    assert 'value="0.25"' in page
    admin.post(_url(Price, "change", price.pk), {"prefix": "971", "micro": "0.250000"})
    entry = AuditEntry.objects.filter(action="price.changed").last()
    assert entry is None or "values" not in entry.detail, "nothing changed"
    refused = admin.post(_url(Price, "add"), {"prefix": "+971", "micro": "-1"})
    assert set(refused.context["adminform"].form.errors) == {"prefix", "micro"}


# ---------------------------------------------------------------- customers


def test_an_organization_with_its_members(admin: Client, customer: Customer) -> None:
    user = person()
    fields = {
        "name": "Renamed",
        "max_parts": "3",
        "low_balance_threshold": "5.5",
        "send_per_minute": "120",
        "bulk_per_minute": "",
        "calls_per_minute": "60",
        "memberships-TOTAL_FORMS": "1",
        "memberships-INITIAL_FORMS": "0",
        "memberships-0-user": user.pk,
        "memberships-0-role": "finance",
    }
    assert admin.post(_url(Organization, "change", customer.id), fields).status_code == 302
    customer.organization.refresh_from_db()
    assert customer.organization.low_balance_threshold == 5_500_000
    assert customer.organization.send_per_minute == 120
    assert customer.organization.bulk_per_minute is None
    assert customer.organization.calls_per_minute == 60
    assert Member.objects.get(user=user).role == "finance"
    entry = AuditEntry.objects.get(
        action="organization.changed", organization=customer.organization
    )
    assert entry.detail["values"]["send_per_minute"] == [None, 120]
    assert entry.detail["values"]["low_balance_threshold"][1] == 5_500_000
    assert admin.get(_url(Organization, "delete", customer.id)).status_code == 403


def test_a_members_role_changes_but_not_who_it_is(admin: Client, customer: Customer) -> None:
    user = member(customer.organization, Role.VIEWER)
    row = Member.objects.get(user=user)
    page = _url(Organization, "change", customer.id)
    fields = {
        "name": "Renamed",
        "max_parts": "3",
        "low_balance_threshold": "0",
        "memberships-TOTAL_FORMS": "1",
        "memberships-INITIAL_FORMS": "1",
        "memberships-0-id": row.pk,
        "memberships-0-user": person().pk,
        "memberships-0-role": "finance",
    }
    assert user.email in admin.get(page).content.decode()
    assert admin.post(page, fields).status_code == 302
    row.refresh_from_db()
    assert (row.user, row.role) == (user, "finance")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("send_per_minute", "0"),
        ("bulk_per_minute", "-1"),
        ("calls_per_minute", "many"),
        ("send_per_minute", "9" * 12),
        ("low_balance_threshold", "-1"),
        ("low_balance_threshold", "0.0000001"),
        ("max_parts", "11"),
    ],
)
def test_invalid_limits(admin: Client, customer: Customer, field: str, value: str) -> None:
    fields = {
        "name": "Renamed",
        "max_parts": "3",
        "low_balance_threshold": "0",
        "memberships-TOTAL_FORMS": "0",
        "memberships-INITIAL_FORMS": "0",
    }
    response = admin.post(_url(Organization, "change", customer.id), fields | {field: value})
    assert set(response.context["adminform"].form.errors) == {field}
    customer.organization.refresh_from_db()
    assert customer.organization.name != "Renamed"


# ---------------------------------------------------------------- carriers


CARRIER = {
    "slug": "gulf",
    "name": "Gulf",
    "enabled": "on",
    "host": "smsc.example.com",
    "port": "2775",
    "tls_verify": "on",
    "system_id": "esme",
    "password": "s3cret",
    "bind_mode": "trx",
    "binds": "1",
    "window": "50",
    "throughput": "0",
    "enquire_link_interval": "30",
    "response_timeout": "30",
    "gsm_encoding": "unpacked",
    "source_coding": "latin1",
    "submit_id_form": "as_is",
    "receipt_id_form": "as_is",
    "source_ton_alphanumeric": "5",
    "source_npi_alphanumeric": "0",
    "source_ton_numeric": "1",
    "source_npi_numeric": "1",
    "source_ton_short_code": "3",
    "source_npi_short_code": "0",
    "destination_ton": "1",
    "destination_npi": "1",
    "live_binds-TOTAL_FORMS": "0",
    "live_binds-INITIAL_FORMS": "0",
}


def test_a_carriers_password_is_kept_but_never_shown(admin: Client) -> None:
    assert admin.post(_url(Carrier, "add"), CARRIER).status_code == 302
    carrier = Carrier.objects.get(slug="gulf")
    assert carrier.password == "s3cret"
    page = admin.get(_url(Carrier, "change", carrier.pk)).content.decode()
    assert "s3cret" not in page
    admin.post(_url(Carrier, "change", carrier.pk), CARRIER | {"password": "", "name": "Renamed"})
    carrier.refresh_from_db()
    assert (carrier.name, carrier.password) == ("Renamed", "s3cret")
    admin.post(_url(Carrier, "change", carrier.pk), CARRIER | {"password": "n3w"})
    carrier.refresh_from_db()
    assert carrier.password == "n3w"
    details = str(list(AuditEntry.objects.values_list("detail", flat=True)))
    assert "s3cret" not in details
    assert "n3w" not in details
    assert "'password': 'changed'" in details


def test_a_password_too_long_for_smpp_is_refused(admin: Client) -> None:
    response = admin.post(_url(Carrier, "add"), CARRIER | {"password": "ninechars"})
    assert "password" in response.context["adminform"].form.errors


def test_pausing_and_disabling_a_carrier(admin: Client, carrier: Carrier) -> None:
    for act, field, value in (
        ("pause", "paused", True),
        ("resume", "paused", False),
        ("drain", "draining", True),
        ("resume", "draining", False),
        ("disable", "enabled", False),
        ("enable", "enabled", True),
    ):
        url = reverse(f"admin:messaging_carrier_{act}", args=(carrier.pk,))
        assert url in admin.get(_url(Carrier, "change", carrier.pk)).content.decode()
        assert admin.get(url).status_code == 200
        assert admin.post(url).status_code == 302
        carrier.refresh_from_db()
        assert getattr(carrier, field) is value
    switched = AuditEntry.objects.filter(action="carrier.switched", target=str(carrier))
    assert switched.count() == 6


@pytest.mark.parametrize(
    ("state", "offered"),
    [
        ({}, {"pause", "drain", "disable"}),
        ({"paused": True}, {"resume", "drain", "disable"}),
        ({"draining": True}, {"resume", "pause", "disable"}),
        ({"enabled": False}, {"pause", "drain", "enable"}),
    ],
)
def test_only_what_would_change_something_is_offered(
    admin: Client, world: World, state: dict[str, bool], offered: set[str]
) -> None:
    carrier = world.carrier(**state)
    page = admin.get(_url(Carrier, "change", carrier.pk)).content.decode()
    acts = ("pause", "resume", "drain", "enable", "disable")
    urls = {act: reverse(f"admin:messaging_carrier_{act}", args=(carrier.pk,)) for act in acts}
    assert {act for act, url in urls.items() if url in page} == offered


def test_a_carriers_figures(
    admin: Client, carrier: Carrier, world: World, customer: Customer
) -> None:
    now = timezone.now()
    for minutes, tally in (
        (5, Tally(accepted=900, throttled=80, refused=15, unanswered=5, delivered=300, failed=100)),
        (600, Tally(accepted=4321)),
    ):
        traffic.record(carrier.pk, tally, now - timedelta(minutes=minutes))
    for _ in range(3):
        world.message(customer, carrier)
    page = admin.get(_url(Carrier, "change", carrier.pk)).content.decode()
    for text in (">900<", ">5,221<", "10.0%", "75.0%", ">3<"):
        assert text in page, text
    row = admin.get(_url(Carrier, "changelist"), {"q": carrier.name}).content.decode()
    assert "10.0%" in row


def test_a_route_with_its_carriers_in_order(admin: Client, carrier: Carrier, world: World) -> None:
    second = world.carrier()
    fields = {
        "prefix": "971",
        "enabled": "on",
        "steps-TOTAL_FORMS": "2",
        "steps-INITIAL_FORMS": "0",
        "steps-0-position": "1",
        "steps-0-carrier": carrier.pk,
        "steps-1-position": "0",
        "steps-1-carrier": second.pk,
    }
    assert admin.post(_url(Route, "add"), fields).status_code == 302
    steps = Route.objects.get(prefix="971").steps.all()
    assert [step.carrier for step in steps] == [second, carrier]
    assert (
        f"{second.name} → {carrier.name}" in admin.get(_url(Route, "changelist")).content.decode()
    )


# ---------------------------------------------------------------- messages


@pytest.fixture
def sent(world: World, customer: Customer, carrier: Carrier) -> Message:
    return world.message(customer, carrier, text="My PIN is 4711", reference="order-7")


def test_texts_are_masked_until_a_reason_is_given(admin: Client, sent: Message) -> None:
    page = admin.get(_url(Message, "change", sent.pk)).content.decode()
    assert "4711" not in page
    assert "14 characters" in page
    url = reverse("admin:messaging_message_read_text", args=(sent.pk,))
    assert "4711" not in admin.get(url).content.decode()
    assert "4711" not in admin.post(url, {"reason": ""}).content.decode()
    response = admin.post(url, {"reason": "Complaint 9"})
    assert "4711" in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    entry = AuditEntry.objects.get(organization=sent.organization)
    assert (entry.action, entry.detail) == ("message.text_read", {"reason": "Complaint 9"})


@pytest.mark.parametrize("term", ["id", "uuid", "+966501234567", "00966 50 123 4567", "order-7"])
def test_a_message_is_found_by_what_people_know(
    admin: Client, sent: Message, world: World, customer: Customer, carrier: Carrier, term: str
) -> None:
    world.message(customer, carrier, to="+966509999999", reference="order-8")
    term = {"id": sent.public_id, "uuid": str(sent.id)}.get(term, term)
    response = admin.get(_url(Message, "changelist"), {"q": term})
    assert [row.pk for row in response.context["cl"].result_list] == [sent.pk]


def test_the_list_of_messages_counts_no_further_than_it_must(
    admin: Client, sent: Message, django_assert_max_num_queries
) -> None:
    with django_assert_max_num_queries(12) as captured:
        admin.get(_url(Message, "changelist"))
    counts = [q["sql"] for q in captured.captured_queries if "COUNT(" in q["sql"].upper()]
    # The other queries are the menu's counts of objects that wait for an operator.
    for sql in counts:
        assert "LIMIT 10000" in sql or "senderid" in sql or "heldprefix" in sql


def test_nobody_changes_a_message(admin: Client, sent: Message) -> None:
    assert admin.post(_url(Message, "change", sent.pk), {"text": "Other"}).status_code == 403
    assert admin.post(_url(Message, "delete", sent.pk), {"post": "yes"}).status_code == 403
