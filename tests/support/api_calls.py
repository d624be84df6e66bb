"""A valid call of every route of the API, for the tests that cover all routes.

The routes come from the URL resolver. A route without a row here fails those tests, so that a new
route gets its scope and a valid call.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.roles import Scope
from messaging.models import Carrier, Suppression
from tests.support import otps
from tests.support.factories import PHONE, Api, Customer, World
from webhooks.models import Delivery, Event, EventType

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_numbers = itertools.count(1)
# Without authentication.
PUBLIC = {"openapi.json"}
Request = tuple[str, Any]
"""Path and body."""


@dataclass(frozen=True)
class Scene:
    """The objects of a call: a customer with credits, whose numbers a carrier serves.

    With `test` the objects are of test mode, as a test key creates them.
    """

    world: World
    customer: Customer
    carrier: Carrier
    test: bool = False

    @property
    def api(self) -> Api:
        """Return the customer's key of that mode."""
        return self.customer.test_api if self.test else self.customer.api


@dataclass(frozen=True)
class Good:
    """A call that gets `status` with a key that has `scope`; `make` creates its objects."""

    scope: str
    status: int
    make: Callable[[Scene], Request]


def routes() -> Iterator[tuple[str, type[Any]]]:
    """Yield the pattern below /v1/ and the view class of every route of the API."""
    for below, pattern in _patterns(get_resolver()):
        if below.startswith("v1/") and below.removeprefix("v1/") not in PUBLIC:
            view: Any = pattern.callback
            yield below.removeprefix("v1/"), view.view_class


def _patterns(resolver: URLResolver) -> Iterator[tuple[str, URLPattern]]:
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            for below, pattern in _patterns(entry):
                yield str(entry.pattern) + below, pattern
        else:
            yield str(entry.pattern), entry


def calls() -> list[tuple[str, str]]:
    """Return the method and pattern of every operation of the API."""
    return [
        (method, pattern)
        for pattern, view in routes()
        for method in METHODS
        if hasattr(view, method.lower())
    ]


def ask(secret: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Make a call and return its response; headers are passed like `idempotency_key="k"`."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if secret:
        given["Authorization"] = f"Bearer {secret}"
    data = b"" if body is None else json.dumps(body).encode()
    kind = "" if body is None else "application/json"
    return Client().generic(method, path, data, content_type=kind, headers=given)


# ---------------------------------------------------------------- the calls


def _message(scene: Scene, **fields: Any) -> str:
    return scene.world.message(scene.customer, scene.carrier, test=scene.test, **fields).public_id


def _batch(scene: Scene) -> str:
    body = {
        "messages": [{"to": PHONE, "message": "One of a batch"}],
        "scheduled_at": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
    }
    response = scene.api.post("/v1/sms/bulk", body).json()
    return str(response["batch_id"])


def _endpoint(scene: Scene) -> str:
    return scene.world.endpoint(scene.customer, test=scene.test).public_id


def _delivery(scene: Scene) -> str:
    """Create a completed delivery, which can be replayed."""
    event = Event.objects.create(
        organization=scene.customer.organization, type=EventType.WEBHOOK_TEST, body="{}"
    )
    delivery = Delivery.objects.create(
        event=event,
        endpoint=scene.world.endpoint(scene.customer, test=scene.test),
        event_type=event.type,
        status=Delivery.Status.FAILED,
        finished_at=datetime.now(UTC),
    )
    return delivery.public_id


def _phone() -> str:
    """Return a number that no other call has used."""
    return f"+96650555{next(_numbers):04d}"


def _fresh_otp(scene: Scene) -> Request:
    return "/v1/otp/send", {"phone": _phone()}


def _otp(scene: Scene) -> str:
    """Create a pending verification whose cooldown is over."""
    otp_id = str(otps.send(scene.api, phone=_phone())["otp_id"])
    otps.pass_by(scene.customer, 61)
    return otp_id


def _check(scene: Scene) -> Request:
    return "/v1/otp/verify", {"otp_id": _otp(scene), "code": "12345"}


def _sender(scene: Scene) -> str:
    name = f"Shop {next(_numbers)}"
    return scene.world.sender(scene.customer, name, test=scene.test).public_id


def _fresh_sender(scene: Scene) -> Request:
    return "/v1/sender-ids", {"name": f"Shop {next(_numbers)}"}


def _suppressed(scene: Scene) -> str:
    number = _phone()
    Suppression.objects.create(
        organization=scene.customer.organization, test=scene.test, number=number, source="api"
    )
    return number


def _fixed(path: str, body: Any = None) -> Callable[[Scene], Request]:
    return lambda scene: (f"/v1/{path}", body)


def _about(
    create: Callable[[Scene], str], path: str, body: Any = None
) -> Callable[[Scene], Request]:
    """Return a call whose path has the id of the object that `create` creates."""
    return lambda scene: (f"/v1/{path}".format(create(scene)), body)


_SMS = {"to": PHONE, "message": "Hello"}

GOOD: dict[tuple[str, str], Good] = {
    ("GET", "balance"): Good(Scope.BALANCE, 200, _fixed("balance")),
    ("POST", "sms/send"): Good(Scope.SMS_SEND, 202, _fixed("sms/send", _SMS)),
    ("POST", "sms/bulk"): Good(Scope.SMS_SEND, 202, _fixed("sms/bulk", {"messages": [_SMS, _SMS]})),
    ("POST", "sms/estimate"): Good(Scope.SMS_SEND, 200, _fixed("sms/estimate", _SMS)),
    ("GET", "usage"): Good(Scope.SMS_READ, 200, _fixed("usage")),
    ("GET", "sms"): Good(Scope.SMS_READ, 200, _fixed("sms")),
    ("GET", "sms/<str:message_id>"): Good(Scope.SMS_READ, 200, _about(_message, "sms/{}")),
    ("POST", "sms/<str:message_id>/cancel"): Good(
        Scope.SMS_SEND, 200, _about(_message, "sms/{}/cancel")
    ),
    ("GET", "batches/<str:batch_id>"): Good(Scope.SMS_READ, 200, _about(_batch, "batches/{}")),
    ("POST", "batches/<str:batch_id>/cancel"): Good(
        Scope.SMS_SEND, 200, _about(_batch, "batches/{}/cancel")
    ),
    ("POST", "otp/send"): Good(Scope.OTP, 202, _fresh_otp),
    ("POST", "otp/verify"): Good(Scope.OTP, 200, _check),
    ("POST", "otp/<str:otp_id>/resend"): Good(Scope.OTP, 200, _about(_otp, "otp/{}/resend")),
    ("POST", "otp/<str:otp_id>/cancel"): Good(Scope.OTP, 200, _about(_otp, "otp/{}/cancel")),
    ("GET", "otp/<str:otp_id>"): Good(Scope.OTP, 200, _about(_otp, "otp/{}")),
    ("GET", "sender-ids"): Good(Scope.SENDER_IDS, 200, _fixed("sender-ids")),
    ("POST", "sender-ids"): Good(Scope.SENDER_IDS, 201, _fresh_sender),
    ("GET", "sender-ids/<str:sender_id>"): Good(
        Scope.SENDER_IDS, 200, _about(_sender, "sender-ids/{}")
    ),
    ("GET", "suppressions"): Good(Scope.SMS_READ, 200, _fixed("suppressions")),
    ("POST", "suppressions"): Good(
        Scope.SMS_SEND, 201, _fixed("suppressions", {"numbers": [PHONE]})
    ),
    ("GET", "suppressions/<str:number>"): Good(
        Scope.SMS_READ, 200, _about(_suppressed, "suppressions/{}")
    ),
    ("DELETE", "suppressions/<str:number>"): Good(
        Scope.SMS_SEND, 204, _about(_suppressed, "suppressions/{}")
    ),
    ("GET", "webhooks"): Good(Scope.WEBHOOKS, 200, _fixed("webhooks")),
    ("POST", "webhooks"): Good(
        Scope.WEBHOOKS, 201, _fixed("webhooks", {"url": "https://example.com/hook"})
    ),
    **{
        (method, "webhooks/<str:webhook_id>"): Good(
            Scope.WEBHOOKS, status, _about(_endpoint, "webhooks/{}", body)
        )
        for method, status, body in (
            ("GET", 200, None),
            ("PATCH", 200, {"description": "Changed"}),
            ("DELETE", 204, None),
        )
    },
    ("POST", "webhooks/<str:webhook_id>/test"): Good(
        Scope.WEBHOOKS, 202, _about(_endpoint, "webhooks/{}/test")
    ),
    ("POST", "webhooks/<str:webhook_id>/rotate-secret"): Good(
        Scope.WEBHOOKS, 200, _about(_endpoint, "webhooks/{}/rotate-secret")
    ),
    ("POST", "webhooks/<str:webhook_id>/replay"): Good(
        Scope.WEBHOOKS,
        202,
        _about(
            _endpoint,
            "webhooks/{}/replay",
            {"from": "2026-01-01T00:00:00Z", "to": "2027-01-01T00:00:00Z"},
        ),
    ),
    ("GET", "webhooks/<str:webhook_id>/deliveries"): Good(
        Scope.WEBHOOKS, 200, _about(_endpoint, "webhooks/{}/deliveries")
    ),
    ("GET", "webhooks/deliveries/<str:delivery_id>"): Good(
        Scope.WEBHOOKS, 200, _about(_delivery, "webhooks/deliveries/{}")
    ),
    ("POST", "webhooks/deliveries/<str:delivery_id>/replay"): Good(
        Scope.WEBHOOKS, 202, _about(_delivery, "webhooks/deliveries/{}/replay")
    ),
}
