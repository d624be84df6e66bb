"""Permissions of every page of an organization's dashboard, as one table.

A new URL without a row here fails. The rows have the permitted roles; other members get 403, an
outsider 404, and an anonymous user is redirected to the login.
"""

import re
import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache

import pytest
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from accounts.access.page_access import public_id
from accounts.keys.api_keys import create_key
from accounts.models import Invitation, Member
from accounts.roles import Role
from imissive.core import ids
from messaging.contacts.imports import keep_rejected
from messaging.models import (
    Batch,
    Carrier,
    Contact,
    ContactList,
    Export,
    SenderStep,
    Suppression,
    TextTemplate,
)
from messaging.senders import approval
from otp.models import Verification
from tests.support import campaigns
from tests.support.factories import Customer, World
from tests.support.people import (
    PLAIN_STATIC,
    browser,
    member,
    person,
)
from webhooks.models import Delivery, Event

ALL = frozenset(Role)
RUNS_IT = frozenset({Role.OWNER, Role.ADMIN})
BUILDS = RUNS_IT | {Role.DEVELOPER}
PAYS = RUNS_IT | {Role.FINANCE}
OWNS = frozenset({Role.OWNER})

TABLE: dict[str, tuple[str, frozenset[Role]]] = {
    "overview": ("GET", ALL),
    "messages": ("GET", ALL),
    "message": ("GET", ALL),
    "search": ("GET", ALL),
    "exports": ("GET", ALL),
    "new_export": ("POST", ALL),
    "fetch_export": ("GET", ALL),
    "cancel_export": ("GET POST", ALL),
    "cancel_message": ("GET POST", BUILDS),
    "resend_message": ("GET POST", BUILDS),
    "batch": ("GET", ALL),
    "cancel_batch": ("GET POST", BUILDS),
    "test_message": ("GET POST", BUILDS),
    "compose": ("GET POST", BUILDS),
    "compose_estimate": ("POST", BUILDS),
    "send_composed": ("POST", BUILDS),
    "contacts": ("GET", ALL),
    "new_contact": ("GET POST", BUILDS),
    "import_contacts": ("GET POST", BUILDS),
    "not_imported": ("GET", BUILDS),
    "export_contacts": ("POST", BUILDS),
    "contact_lists": ("GET POST", ALL),
    "contact_list": ("GET POST", BUILDS),
    "remove_contact_list": ("GET POST", BUILDS),
    "contact": ("GET POST", BUILDS),
    "remove_contact": ("GET POST", BUILDS),
    "suppressions": ("GET", ALL),
    "add_suppressions": ("GET POST", BUILDS),
    "remove_suppression": ("GET POST", BUILDS),
    "templates": ("GET", ALL),
    "new_template": ("GET POST", BUILDS),
    "template": ("GET POST", BUILDS),
    "remove_template": ("GET POST", BUILDS),
    "campaigns": ("GET", ALL),
    "new_campaign": ("GET POST", BUILDS),
    "campaign": ("GET", ALL),
    "campaign_recipients": ("GET POST", BUILDS),
    "campaign_columns": ("GET POST", BUILDS),
    "campaign_text": ("GET POST", BUILDS),
    "campaign_check": ("GET", BUILDS),
    "campaign_start": ("GET POST", BUILDS),
    "pause_campaign": ("POST", BUILDS),
    "resume_campaign": ("POST", BUILDS),
    "unschedule_campaign": ("POST", BUILDS),
    "cancel_campaign": ("GET POST", BUILDS),
    "delete_campaign": ("GET POST", BUILDS),
    "campaign_problems": ("GET", ALL),
    "campaign_failures": ("GET", ALL),
    "team": ("GET", ALL),
    "invite": ("POST", RUNS_IT),
    "leave": ("GET POST", ALL),
    "resend_invitation": ("POST", RUNS_IT),
    "revoke_invitation": ("POST", RUNS_IT),
    "change_role": ("POST", RUNS_IT),
    "remove_member": ("GET POST", RUNS_IT),
    "keys": ("GET", BUILDS),
    "new_key": ("GET POST", BUILDS),
    "rotate_key": ("GET POST", BUILDS),
    "restrict_key": ("GET POST", BUILDS),
    "revoke_key": ("GET POST", BUILDS),
    "sender_ids": ("GET", ALL),
    "sender_id": ("GET", ALL),
    "new_sender": ("GET POST", RUNS_IT),
    "ask_sender_again": ("GET POST", RUNS_IT),
    "default_sender": ("POST", RUNS_IT),
    "withdraw_sender": ("GET POST", RUNS_IT),
    "sender_document": ("GET", RUNS_IT),
    "dismiss_sender_notice": ("POST", RUNS_IT),
    "smpp": ("GET", ALL),
    "smpp_password": ("GET POST", BUILDS),
    "webhooks": ("GET", BUILDS),
    "new_webhook": ("GET POST", BUILDS),
    "event_feed": ("GET", BUILDS),
    "webhook_delivery": ("GET", BUILDS),
    "replay_delivery": ("POST", BUILDS),
    "webhook": ("GET", BUILDS),
    "edit_webhook": ("GET POST", BUILDS),
    "rotate_webhook": ("GET POST", BUILDS),
    "switch_webhook": ("POST", BUILDS),
    "delete_webhook": ("GET POST", BUILDS),
    "test_webhook": ("POST", BUILDS),
    "replay_webhook": ("GET POST", BUILDS),
    "otp": ("GET", ALL),
    "choose_countries": ("POST", BUILDS),
    "send_try": ("POST", BUILDS),
    "otp_try": ("GET POST", BUILDS),
    "audit": ("GET", RUNS_IT),
    "export_audit": ("GET", RUNS_IT),
    "settings": ("GET", ALL),
    "rename_organization": ("POST", OWNS),
    "set_alert": ("POST", PAYS),
    "usage": ("GET", ALL),
    "usage_file": ("GET", ALL),
    "credits": ("GET", PAYS),
    "ledger_file": ("GET", PAYS),
    "prices": ("GET", PAYS),
    "close_organization": ("GET POST", OWNS),
}
"""The methods and the permitted roles of each URL, by its name."""


@cache
def _addresses() -> dict[str, list[str]]:
    """Return the names of URLs under /dashboard/<organization_id>/ with their other parameters."""
    found: dict[str, list[str]] = {}
    for route, name in _walk(get_resolver().url_patterns, ""):
        if route.startswith("dashboard/<str:organization_id>/"):
            assert name, route
            found[name] = re.findall(r"<\w+:(\w+)>", route)[1:]
    return found


def _walk(patterns: list[URLPattern | URLResolver], before: str) -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns, route)
        else:
            yield route, pattern.name or ""


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


def _url(name: str, world: World, customer: Customer, carrier: Carrier) -> str:
    """Return the URL of a new object, since an earlier request may have completed another one."""
    organization = customer.organization
    makers: dict[str, Callable[[], object]] = {
        "message_id": lambda: world.message(customer, carrier).public_id,
        "export_id": lambda: (
            Export.objects.create(organization=organization, due_at=timezone.now()).public_id
        ),
        "batch_id": lambda: Batch.objects.create(organization=organization),
        "member_id": lambda: Member.objects.create(organization=organization, user=person()).pk,
        "invitation_id": lambda: _invitation(customer).pk,
        "file_id": lambda: keep_rejected(organization, []).id,
        "contact_id": lambda: (
            Contact.objects.create(organization=organization, number=_number()).public_id
        ),
        "list_id": lambda: (
            ContactList.objects.create(
                organization=organization, name=secrets.token_hex(8)
            ).public_id
        ),
        "number": lambda: (
            Suppression.objects.create(organization=organization, number=_number()).number
        ),
        "template_id": lambda: (
            TextTemplate.objects.create(
                organization=organization, name=secrets.token_hex(8), text="Hello {name}"
            ).public_id
        ),
        "campaign_id": lambda: campaigns.made(customer, [("0501234567", "Sara")]).public_id,
        "account_id": lambda: organization.smpp_accounts.create(system_id=secrets.token_hex(4)).pk,
        "key_id": lambda: create_key(organization, "x", test=True)[0].public_id,
        "sender_id": lambda: world.document(customer).sender.public_id,
        "notice_id": lambda: _notice(world, customer).pk,
        "otp_id": lambda: _test_verification(customer).public_id,
        "webhook_id": lambda: world.endpoint(customer).public_id,
        "delivery_id": lambda: _delivery(world, customer).public_id,
    }
    if name == "sender_document":
        document = world.document(customer)
        makers["sender_id"] = lambda: document.sender.public_id
        makers["document_id"] = lambda: document.id
    more = {each: makers[each]() for each in _addresses()[name]}
    return reverse(name, kwargs={"organization_id": public_id(organization), **more})


def _number() -> str:
    return f"+9665{secrets.randbelow(10**8):08d}"


def _invitation(customer: Customer) -> Invitation:
    digest = secrets.token_bytes(32)
    now = timezone.now()
    return Invitation.objects.create(
        organization=customer.organization,
        email=f"{digest.hex()[:20]}@x.example",
        digest=digest,
        sent_at=now - timedelta(hours=1),
        expires_at=now + timedelta(days=1),
    )


def _notice(world: World, customer: Customer) -> SenderStep:
    sender = world.document(customer).sender
    approval.reject(sender, person(), "No")
    return SenderStep.objects.get(sender=sender, status="rejected")


def _delivery(world: World, customer: Customer) -> Delivery:
    endpoint = world.endpoint(customer)
    kind = "webhook.test"
    event = Event.objects.create(organization=customer.organization, type=kind, body="{}")
    return Delivery.objects.create(event=event, endpoint=endpoint, event_type=kind)


def _test_verification(customer: Customer) -> Verification:
    now = timezone.now()
    return Verification.objects.create(
        organization=customer.organization, test=True, phone=f"+96650{secrets.randbelow(10**7):07}",
        country="SA", prefix="+96650", length=6, expiry=60, text="{code}",
        message_id=ids.new_uuid(), created_at=now, expires_at=now + timedelta(minutes=1),
    )  # fmt: skip


def test_every_address_has_its_row() -> None:
    assert set(TABLE) == set(_addresses())


@pytest.mark.parametrize("name", TABLE)
def test_each_role_gets_its_pages(
    name: str, world: World, customer: Customer, outsider: Customer, carrier: Carrier
) -> None:
    methods, allowed = TABLE[name]
    members = {role: browser(member(customer.organization, role)) for role in Role}
    strangers = [
        browser(member(outsider.organization)),
        browser(person()),
        browser(person(is_staff=True, is_superuser=True)),
    ]
    url = _url(name, world, customer, carrier)
    for method in ("GET", "POST"):
        responses = {}
        for role, client in members.items():
            if method == "POST":
                url = _url(name, world, customer, carrier)
            responses[role] = client.generic(method, url).status_code
        if method not in methods.split():
            assert set(responses.values()) == {405}, (method, responses)
            continue
        refused = {role for role, status in responses.items() if status == 403}
        assert refused == set(Role) - allowed, (method, responses)
        assert all(responses[role] in (200, 302) for role in allowed), (method, responses)
        for stranger in strangers:
            assert stranger.generic(method, url).status_code == 404
        nobody = browser(None).generic(method, url)
        assert (nobody.status_code, nobody["Location"].split("?")[0]) == (302, "/accounts/login/")
