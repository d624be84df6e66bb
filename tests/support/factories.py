"""Factories of test data: customers with keys and credits, carriers, routes, prices, messages.

A World creates rows in the current transaction; `forget` deletes those of a committed one, except
those that the database refuses to delete (the ledger, and so the organizations).
"""

import itertools
import json
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from django.db import connection
from django.db.models import QuerySet
from django.test import Client

from accounts.credits import ledger
from accounts.keys.api_keys import create_key
from accounts.models import MICRO, ApiKey, Balance, LedgerEntry, Organization
from messaging.models import (
    Batch,
    Campaign,
    Carrier,
    EarlyReceipt,
    Message,
    Price,
    Route,
    SenderDocument,
    SenderId,
    SmppAccount,
)
from messaging.models import MessagePart as Part
from messaging.routing import cache
from messaging.senders import approval, documents
from messaging.states import Status
from tests.support import transitions
from webhooks.models import Delivery, Endpoint, Event

T = TypeVar("T")

SENDER = "MyCompany"
PHONE = "+966501234567"
PDF = b"%PDF-1.7\n1 0 obj<<>>endobj\nstartxref\n9\n%%EOF\n"
client = Client()
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Api:
    """A client of the REST API that authenticates with one key."""

    secret: str

    def post(self, path: str, body: Any = None, *, raw: str | bytes | None = None, **more: Any):
        """POST `body` as JSON, or `raw` as it is; `more` are WSGI headers or `content_type`."""
        kind = more.pop("content_type", "application/json")
        data = json.dumps(body) if raw is None else raw
        # Django's client sends no Content-Type for an empty body unless it is given.
        return client.post(path, data, kind, CONTENT_TYPE=kind, **self._bearer(), **more)

    def get(self, path: str, **more: Any):
        """GET the path; `more` are WSGI headers."""
        return client.get(path, **self._bearer(), **more)

    def _bearer(self) -> dict[str, Any]:
        return {"HTTP_AUTHORIZATION": f"Bearer {self.secret}"} if self.secret else {}


@dataclass(frozen=True)
class Customer:
    """An organization with a live and a test key."""

    organization: Organization
    api: Api
    test_api: Api

    @property
    def id(self) -> uuid.UUID:
        return self.organization.id

    def balance(self) -> int:
        """Return the balance in micro-credits, read from the database."""
        return Balance.objects.get(organization=self.organization).micro

    def ledger(self) -> list[tuple[str, int, uuid.UUID | None]]:
        """Return the ledger after the first top-up: kind, micro-credits, reference."""
        rows = LedgerEntry.objects.filter(organization=self.organization).order_by("id")
        return list(rows.values_list("kind", "amount", "reference"))[1:]

    def messages(self) -> list[Message]:
        """Return all messages, oldest first."""
        return list(Message.objects.filter(organization=self.organization).order_by("id"))

    def events(self) -> list[tuple[str, uuid.UUID | None]]:
        """Return the type and message of every event, oldest first."""
        return [(event.type, event.message_id) for event in self.event_rows()]

    def event_rows(self) -> list[Event]:
        """Return every event, oldest first."""
        return list(
            Event.objects.filter(organization=self.organization).order_by("created_at", "id")
        )

    def stored(self) -> dict[str, Any]:
        """Return everything that a refused request must not change."""
        mine = {"organization": self.organization}
        return {
            "balance": self.balance(),
            "ledger": LedgerEntry.objects.filter(**mine).count(),
            "messages": Message.objects.filter(**mine).count(),
            "batches": Batch.objects.filter(**mine).count(),
            "events": Event.objects.filter(**mine).count(),
        }


class World:
    """The factory of a test's data; every name and slug is unique."""

    def __init__(self) -> None:
        self.customers: list[Customer] = []
        self.carriers: list[Carrier] = []
        self.routes: list[Route] = []
        self.prices: list[Price] = []

    def customer(self, credits: int = 100, *, sender: str | None = SENDER) -> Customer:
        """Create an active organization with credits and, unless None, an approved sender ID."""
        organization = Organization.objects.create(name=f"Customer {next(_numbers)}")
        ledger.adjust(organization, credits * MICRO, reason="paid", actor=None)
        customer = Customer(
            organization,
            Api(create_key(organization, "live", test=False)[1]),
            Api(create_key(organization, "test", test=True)[1]),
        )
        self.customers.append(customer)
        if sender is not None:
            self.sender(customer, sender)
        return customer

    def sender(self, customer: Customer, name: str, **fields: Any) -> SenderId:
        """Create a sender ID, approved unless `fields` differ."""
        fields = {"kind": SenderId.Kind.ALPHANUMERIC, "status": SenderId.Status.APPROVED} | fields
        return SenderId.in_any_mode.create(organization=customer.organization, name=name, **fields)

    def document(self, customer: Customer) -> SenderDocument:
        """Create a pending sender ID with a document, and return the document."""
        sender = approval.request_sender(
            customer.organization,
            f"Sender {next(_numbers)}",
            "Orders",
            "Hello",
            documents=[documents.document("letter.pdf", PDF)],
        )
        return SenderDocument.objects.get(sender=sender)

    def endpoint(self, customer: Customer, *events: str, test: bool = False) -> Endpoint:
        """Create a webhook endpoint for those events, or for all."""
        return Endpoint.objects.create(
            organization=customer.organization,
            test=test,
            url="https://example.com/hook",
            events=list(events),
            secret="whsec_c2VjcmV0",
        )

    def carrier(self, **fields: Any) -> Carrier:
        """Create an enabled carrier without a route."""
        name = f"carrier-{next(_numbers)}"
        fields = {"slug": name, "name": name, "host": "127.0.0.1", "system_id": "esme"} | fields
        carrier = Carrier.objects.create(**fields)
        self.carriers.append(carrier)
        cache._cached = None
        return carrier

    def route(self, prefix: str, *carriers: Carrier, owner: Customer | None = None) -> Route:
        """Create a route over those carriers, in the order of failover."""
        route = Route.objects.create(
            prefix=prefix, organization=owner.organization if owner else None
        )
        for position, carrier in enumerate(carriers):
            route.steps.create(carrier=carrier, position=position)
        self.routes.append(route)
        cache._cached = None
        return route

    def price(self, prefix: str, micro: int, *, owner: Customer | None = None) -> Price:
        """Create a price of `micro` micro-credits per part."""
        price = Price.objects.create(
            prefix=prefix, micro=micro, organization=owner.organization if owner else None
        )
        self.prices.append(price)
        cache._cached = None
        return price

    def serve(self, prefix: str = "966", micro: int = MICRO) -> Carrier:
        """Create a carrier with a route and a price per part for a prefix."""
        carrier = self.carrier()
        self.route(prefix, carrier)
        self.price(prefix, micro)
        return carrier

    def message(self, customer: Customer, carrier: Carrier, **fields: Any) -> Message:
        """Create a message in the state after accepting: queued, due, of one part.

        `fields` may differ. A price is charged.
        """
        now = datetime.now(UTC)
        fields = {
            "source": "api",
            "to": PHONE,
            "country": "SA",
            "sender": SENDER,
            "text": "Hello",
            "encoding": "gsm7",
            "parts": 1,
            "price": 0,
            "status": Status.QUEUED,
            "due_at": now - timedelta(seconds=5),
            "created_at": now - timedelta(seconds=5),
            "queued_at": now - timedelta(seconds=5),
            "expires_at": now + timedelta(hours=1),
        } | fields
        message = Message.objects.create(
            organization=customer.organization, carrier=carrier, **fields
        )
        if message.price:
            charge = LedgerEntry.Kind.CHARGE
            ledger.post([ledger.Posting(customer.id, charge, -message.price, message.id)])
        return message

    def part(self, message: Message, carrier_message_id: str, number: int = 1, **fields: Any):
        """Create a part that the carrier accepted under that id."""
        fields = {"carrier": message.carrier, "submitted_at": datetime.now(UTC)} | fields
        return Part.objects.create(
            message=message, number=number, carrier_message_id=carrier_message_id, **fields
        )

    def forget(self) -> None:
        """Delete the committed rows that can be deleted."""
        mine = {"organization__in": [customer.organization for customer in self.customers]}
        Delivery.objects.filter(endpoint__in=Endpoint.objects.filter(**mine)).delete()
        SenderId.in_any_mode.filter(**mine).delete()
        for model in (Event, Endpoint, Campaign, Message, Batch, ApiKey):
            model.objects.filter(**mine).delete()
        SmppAccount.objects.filter(**mine).delete()
        EarlyReceipt.objects.filter(carrier__in=self.carriers).delete()
        for row in (*self.routes, *self.prices, *self.carriers):
            row.delete()


def advance(messages: QuerySet[Message], status: str, **fields: Any) -> None:
    """Bring messages to a status by the shortest sequence of transitions, and set `fields` there.

    It uses plain updates, like all code that changes a message.
    """
    for message in messages.only("status"):
        one = Message.objects.filter(id=message.id)
        for passed in transitions.way(message.status, status)[:-1]:
            one.update(status=passed)
        one.update(status=status, **fields)


def noting(statements: list[str]) -> Callable[..., Any]:
    """Return a wrapper for `connection.execute_wrapper` that appends each statement to the list.

    Unlike Django's own capture, it records the text of prepared statements too.
    """

    def note(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        statements.append(sql)
        return execute(sql, parameters, many, context)

    return note


def in_threads(works: Sequence[Callable[[], T]], *, timeout: float = 60.0) -> list[T]:
    """Run each function in a thread of its own, all started at once.

    Return their results, or raise the first exception.
    """
    barrier = threading.Barrier(len(works))
    results: dict[int, T] = {}
    failures: list[BaseException] = []

    def run(index: int) -> None:
        try:
            barrier.wait(timeout)
            results[index] = works[index]()
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    if failures:
        raise failures[0]
    return [results[index] for index in range(len(works))]
