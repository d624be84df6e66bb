"""The pages of an organization's dashboard, and a URL of each for newly created objects."""

import re
import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache

from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from accounts.access.page_access import public_id
from accounts.keys.api_keys import create_key
from accounts.models import Invitation, Member
from imissive.core import ids
from messaging.contacts.imports import keep, keep_rejected
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
from tests.support.people import person
from webhooks.models import Delivery, Event


@cache
def url_parameters() -> dict[str, list[str]]:
    """Return the other parameters of each URL name under /dashboard/<organization_id>/."""
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


def url_of(name: str, world: World, customer: Customer, carrier: Carrier) -> str:
    """Return the page's URL for new objects of the customer: earlier requests may change others."""
    organization = customer.organization
    factories: dict[str, Callable[[], object]] = {
        "message_id": lambda: world.message(customer, carrier).public_id,
        "export_id": lambda: (
            Export.objects.create(organization=organization, due_at=timezone.now()).public_id
        ),
        "batch_id": lambda: Batch.objects.create(organization=organization),
        "member_id": lambda: Member.objects.create(organization=organization, user=person()).pk,
        "invitation_id": lambda: _invitation(customer).pk,
        "file_id": lambda: keep_rejected(organization, []).id,
        "upload_id": lambda: keep(organization, lambda: [b"number\n+966501234567\n"]).id,
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
        factories["sender_id"] = lambda: document.sender.public_id
        factories["document_id"] = lambda: document.id
    more = {each: factories[each]() for each in url_parameters()[name]}
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
