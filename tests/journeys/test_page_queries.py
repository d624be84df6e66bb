"""No page runs more queries because it lists more rows (N+1).

Each page of tests/screenshots.py is requested twice: with the showcase as it is, and with many more
rows of everything. `python -m tests.bench.pages` measures them at a million messages.
"""

import secrets
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.audit import trail
from accounts.credits import ledger
from accounts.keys.api_keys import create_key
from accounts.models import MICRO, Invitation, LedgerEntry
from accounts.operators import impersonation
from messaging.models import (
    Attempt,
    Carrier,
    Contact,
    ContactList,
    MessagePart,
    Price,
    Route,
    SenderId,
    Suppression,
    TextTemplate,
)
from messaging.models.audience import ListEntry
from messaging.routing import cache
from tests.screenshots import pages_of
from tests.support import showcase
from tests.support.people import PLAIN_STATIC, member
from webhooks.models import Delivery, Endpoint, Event

MORE = 8


@pytest.fixture
def shown(db: None, settings, monkeypatch: pytest.MonkeyPatch) -> showcase.Showcase:
    settings.STORAGES = PLAIN_STATIC
    # Otherwise the routing cache, which is valid for a second, is read again on a busy machine.
    monkeypatch.setattr(cache, "MAX_AGE_SECONDS", 600.0)
    return showcase.make()


def test_more_rows_do_not_need_more_queries(shown: showcase.Showcase) -> None:
    before = _queries(shown)
    for number in range(MORE):
        _more(shown, number)
    after = _queries(shown)
    grown = {name: (before[name], after[name]) for name in before if after[name] > before[name]}
    assert grown == {}


def _queries(shown: showcase.Showcase) -> dict[str, int]:
    """Return the number of queries of each page, after filling the caches."""
    clients = {"": Client()}
    for who in ("owner", "newcomer", "operator"):
        clients[who] = Client()
        clients[who].force_login(getattr(shown, who))
    clients["acting"] = acting_client(shown)
    found = {}
    for name, (who, path) in pages_of(shown).items():
        clients[who].get(path)
        with CaptureQueriesContext(connection) as captured:
            response = clients[who].get(path, follow=True)
        assert response.status_code in (200, 404), (name, response.status_code)
        found[name] = len(captured)
    return found


def acting_client(shown: showcase.Showcase) -> Client:
    """Return a client of the operator who impersonates the showcase's organization."""
    client = Client()
    client.force_login(shown.operator)
    held = client.session
    impersonation.start(held, shown.operator, shown.organization, "Ticket 118")
    held.save()
    return client


def _more(shown: showcase.Showcase, number: int) -> None:
    """Create one more row of everything that pages list."""
    organization, now = shown.organization, timezone.now()
    digest = secrets.token_bytes(32)
    user = member(organization)
    key, _ = create_key(organization, f"Key {number}", test=False, created_by=user)
    SenderId.objects.create(
        organization=organization, name=f"MORE{number}", kind=SenderId.Kind.ALPHANUMERIC
    )
    Invitation.objects.create(
        organization=organization, email=f"more{number}@x.example", digest=digest, sent_at=now,
        expires_at=now + timedelta(days=1), invited_by=user,
    )  # fmt: skip
    TextTemplate.objects.create(organization=organization, name=f"More {number}", text="Hello")
    people = ContactList.objects.create(organization=organization, name=f"More {number}")
    contact = Contact.objects.create(organization=organization, number=f"+96656{number:07d}")
    ListEntry.objects.create(contact_list=people, contact=contact)
    Suppression.objects.create(organization=organization, number=f"+96658{number:07d}")
    ledger.adjust(organization, MICRO, reason="More", actor=user)
    ledger.post([ledger.Posting(organization.id, LedgerEntry.Kind.CHARGE, -MICRO)])
    trail.record("key.created", actor=user, organization=organization, target=key.public_id)
    _more_traffic(shown, number)


def _more_traffic(shown: showcase.Showcase, number: int) -> None:
    organization, message = shown.organization, shown.failed
    endpoint = Endpoint.objects.create(
        organization=organization, url=f"https://more{number}.example/", secret="whsec_bW9yZQ=="
    )
    event = Event.objects.create(
        organization=organization, type="message.failed", message_id=message.id, body="{}"
    )
    for each in (endpoint, shown.endpoint):
        Delivery.objects.create(
            event=event, endpoint=each, status=Delivery.Status.PENDING,
            next_attempt_at=timezone.now(),
        )  # fmt: skip
    Attempt.objects.create(message=message, carrier=shown.carrier, outcome="throttled")
    MessagePart.objects.create(
        message=message, number=number + 2, carrier=shown.carrier, submitted_at=timezone.now()
    )
    carrier = Carrier.objects.create(slug=f"more-{number}", name=f"More {number}", host="x.example")
    route = Route.objects.create(prefix=f"88{number}")
    route.steps.create(carrier=carrier, position=0)
    Price.objects.create(prefix=f"88{number}", micro=MICRO)
