"""A code is only in its message until submission, and in the response to a test key."""

import io
import json
import logging
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.urls import reverse

from accounts.access.page_access import public_id
from imissive.core import logs
from messaging.carriers import queue
from messaging.carriers.command_statuses import SubmitOutcome
from messaging.carriers.queue import Result, SubmittedPart
from messaging.models import Carrier, Message
from messaging.routing.tables import Tables
from messaging.states import Status
from otp.limits import sms_pumping
from otp.verification import completion, housekeeping
from tests.support import otps
from tests.support.factories import Api, Customer, World, advance
from tests.support.otps import (
    check,
    code_of,
    send,
    wrong,
)
from tests.support.people import (
    PLAIN_STATIC,
    browser,
    member,
    operator,
)

HIDDEN = "•" * 8


@pytest.fixture(autouse=True)
def _plain_static(settings: Any) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def sent(api: Api) -> dict[str, Any]:
    """Send a code of eight digits, which are unlikely to occur anywhere else by chance."""
    return send(api, length=8, origin="example.com")


@pytest.fixture
def code(sent: dict[str, Any]) -> str:
    return code_of(sent["otp_id"])


def claim(carrier: Carrier, lease: uuid.UUID) -> list[queue.Claimed]:
    """Claim the queued messages, as a carrier's worker does."""
    Message.objects.filter(carrier=carrier).update(due_at=datetime.now(UTC) - timedelta(minutes=1))
    return queue.claim(carrier.id, urgent=True, limit=10, lease=lease)


def submit(carrier: Carrier) -> None:
    """Submit the queued messages to the carrier."""
    lease = uuid.uuid4()
    results = [
        Result(
            message,
            SubmitOutcome.ACCEPTED,
            [SubmittedPart(message.id, 1, "smsc-1", datetime.now(UTC))],
        )
        for message in claim(carrier, lease)
    ]
    queue.write_results(carrier.id, lease, results)


def places(text: str) -> set[str]:
    """Return the tables of the whole database with the text in any column of any row."""
    found = set()
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT count(*) FROM "{table}" t WHERE t::text LIKE %s', [f"%{text}%"])
            if cursor.fetchone()[0]:
                found.add(table)
    return found


# ---------------------------------------------------------------- the database


def test_before_submission_only_the_message_has_the_code(
    sent: dict[str, Any], code: str, carrier: Carrier
) -> None:
    assert places(code) == {"messaging_message"}
    # Nor as hexadecimal digits, as a binary column would show it.
    assert places(code.encode().hex()) == set()
    submit(carrier)
    assert otps.message(sent["message_id"]).status == Status.SENT
    assert places(code) == set()
    assert otps.message(sent["message_id"]).text == (
        f"Your verification code is {HIDDEN}. Do not share it with anyone.\n@example.com #{HIDDEN}"
    )


def test_a_claimed_message_has_the_code(sent: dict[str, Any], code: str, carrier: Carrier) -> None:
    [claimed] = claim(carrier, uuid.uuid4())
    assert code in claimed.text
    assert code in otps.message(sent["message_id"]).text


@pytest.mark.parametrize("how", ["failed", "expired", "canceled"])
def test_an_unsent_final_message_no_longer_has_the_code(
    api: Api, sent: dict[str, Any], code: str, how: str
) -> None:
    if how == "canceled":
        api.post(f"/v1/otp/{sent['otp_id']}/cancel")
    else:
        advance(Message.objects.all(), how)
    assert places(code) == set()


def test_no_event_has_the_code(
    api: Api, customer: Customer, world: World, carrier: Carrier
) -> None:
    world.endpoint(customer)
    sent = send(api, length=8)
    code = code_of(sent["otp_id"])
    submit(carrier)
    check(api, sent["otp_id"], wrong(sent["otp_id"]))
    check(api, sent["otp_id"], code)
    bodies = [event.body for event in customer.event_rows()]
    kinds = [json.loads(body)["event"] for body in bodies]
    assert kinds == ["message.queued", "message.sent", "otp.verified"]
    assert not any(code in body for body in bodies)


def test_an_idempotent_response_is_stored_encrypted(test_api: Api, world: World) -> None:
    """The response to a test key contains the code."""
    world.carrier(is_sandbox=True)
    body = {"phone": "+966500000001", "length": 8}
    response = test_api.post(otps.SEND, body, HTTP_IDEMPOTENCY_KEY="k").json()
    code = response["test_code"]
    assert test_api.post(otps.SEND, body, HTTP_IDEMPOTENCY_KEY="k").json() == response
    assert places(code) == {"messaging_message"}
    assert places(code.encode().hex()) == set()


def test_no_task_has_the_code(
    api: Api, wakes: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        sent = send(api, length=8)
    assert wakes
    assert code_of(sent["otp_id"]) not in repr(wakes)


# ---------------------------------------------------------------- pages and the API


def test_the_api_shows_the_text_without_it(api: Api, sent: dict[str, Any], code: str) -> None:
    response = api.get(f"/v1/sms/{sent['message_id']}")
    assert response.status_code == 200
    assert HIDDEN in response.json()["text"]
    assert code not in response.content.decode()


def test_the_dashboard_shows_the_text_without_it(
    customer: Customer, sent: dict[str, Any], code: str
) -> None:
    owner = browser(member(customer.organization))
    home = f"/dashboard/{public_id(customer.organization)}/"
    page = owner.get(f"{home}messages/{sent['message_id']}/").content.decode()
    assert HIDDEN in page
    for address in ("", "messages/", f"messages/{sent['message_id']}/"):
        response = owner.get(home + address)
        assert response.status_code == 200
        assert code not in response.content.decode()


def test_the_admin_does_not_show_the_code(
    customer: Customer, sent: dict[str, Any], code: str
) -> None:
    admin = browser(operator())
    message, verification = otps.message(sent["message_id"]), otps.row(sent["otp_id"])
    read = reverse("admin:messaging_message_read_text", args=(message.pk,))
    response = admin.post(read, {"reason": "Complaint"})
    assert HIDDEN in response.content.decode()
    pages = [
        response,
        admin.get(reverse("admin:messaging_message_change", args=(message.pk,))),
        admin.get("/admin/messaging/message/"),
        admin.get(reverse("admin:otp_verification_change", args=(verification.pk,))),
        admin.get("/admin/otp/verification/"),
        admin.get("/admin/accounts/auditentry/"),
    ]
    for page in pages:
        assert page.status_code == 200
        text = page.content.decode()
        assert code not in text
        assert bytes(verification.seed).hex() not in text
        assert bytes(verification.digest).hex() not in text


# ---------------------------------------------------------------- logs


@pytest.fixture(params=[True, False], ids=["json", "people"])
def written(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """Collect everything that this process logs at the most verbose level."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    logs.configure(level="DEBUG", as_json=request.param)
    output = io.StringIO()
    [handler] = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(output)
    yield output
    logs.configure(level=settings.LOG_LEVEL, as_json=settings.LOG_JSON)
    root.handlers = handlers
    root.setLevel(level)


def test_no_log_has_the_code(api: Api, carrier: Carrier, written: io.StringIO) -> None:
    first = send(api, length=8)
    found = [code_of(first["otp_id"])]
    check(api, first["otp_id"], wrong(first["otp_id"]))
    api.post(otps.SEND, {"phone": "+966501234567"})
    submit(carrier)
    check(api, first["otp_id"], found[0])
    second = send(api, length=8, phone="+966501234568")
    found.append(code_of(second["otp_id"]))
    api.post(f"/v1/otp/{second['otp_id']}/cancel")
    completion.expire_due()
    sms_pumping.watch()
    housekeeping.purge()
    logging.getLogger("test").debug("the end of %s", "it")
    out = written.getvalue()
    assert "the end of it" in out
    assert not any(code in out for code in found)


def test_an_internal_error_logs_no_code(
    api: Api, customer: Customer, written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL's error quotes the refused row, and with it the text."""
    monkeypatch.setattr(Tables, "price", lambda *_arguments, **_options: -1)
    response = api.post(otps.SEND, {"phone": "+966501234567", "length": 8})
    assert response.status_code == 500
    assert customer.messages() == []
    assert otps.live(customer) == []
    out = written.getvalue()
    assert response["X-Request-Id"] in out
    assert "message_price" in out
    assert "DETAIL: [redacted]" in out
    assert "verification code is" not in out
