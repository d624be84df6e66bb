"""The message log, and one message's page with its timeline and its reasons in plain words."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from accounts.access.page_access import public_id
from accounts.credits import ledger
from accounts.models import MICRO, LedgerEntry
from messaging.log import pages as log
from messaging.log.failure_reasons import STATUS_LABELS, reason
from messaging.models import Attempt, Carrier, Message
from messaging.smpp.constants import Status as CommandStatus
from messaging.states import Status
from tests.support import showcase
from tests.support.factories import Customer, World
from tests.support.people import PLAIN_STATIC, browser, member
from webhooks.models import Delivery, Event, FailedAttempt


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


# ---------------------------------------------------------------- the log


def _numbers(page: str) -> list[str]:
    return re.findall(r'<bdi dir="ltr">(\+\d+)</bdi>', page)


@pytest.fixture
def many(world: World, customer: Customer, carrier: Carrier) -> list[str]:
    """The numbers of 120 messages, newest first."""
    for index in range(120):
        status = Status.FAILED if index % 10 == 0 else Status.DELIVERED
        world.message(customer, carrier, to=f"+9665000{index:05d}", status=status)
    # By their ids: the order of those of one millisecond is random, but the same ever after.
    return list(log.messages_of(customer.organization).values_list("to", flat=True))


def _follow(owner: Client, url: str, page: str, rel: str) -> str:
    link = re.search(rf'rel="{rel}" href="([^"]+)"', page)
    assert link, page
    return _text(owner, url + link.group(1).replace("&amp;", "&"))


def test_pages_of_the_log(owner: Client, customer: Customer, many: list[str]) -> None:
    url = f"{_home(customer)}messages/"
    first = _text(owner, url)
    second = _follow(owner, url, first, "next")
    third = _follow(owner, url, second, "next")
    assert _numbers(first) + _numbers(second) + _numbers(third) == many
    assert 'rel="next"' not in third
    assert _numbers(_follow(owner, url, third, "prev")) == many[50:100]
    assert _numbers(_follow(owner, url, second, "prev")) == many[:50]


def test_the_log_filtered_by_status(owner: Client, customer: Customer, many: list[str]) -> None:
    page = _text(owner, f"{_home(customer)}messages/", status="failed")
    assert len(_numbers(page)) == 12
    assert all(number.endswith("0") for number in _numbers(page))
    unknown = _text(owner, f"{_home(customer)}messages/", status="'; DROP")
    assert len(_numbers(unknown)) == 50


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("+966500000042", 1),
        ("00966 50 000 0042", 1),
        ("00042", 1),
        ("0004", 11),
        ("٠٠٠٤٢", 1),
        ("nobody", 0),
        ("%", 0),
    ],
)
def test_the_log_filtered_by_number(
    owner: Client, customer: Customer, many: list[str], typed: str, found: int
) -> None:
    page = _text(owner, f"{_home(customer)}messages/", number=typed)
    assert len(_numbers(page)) == found
    assert ("No message matches" in page) is (found == 0)


def test_the_log_of_a_status_goes_both_ways(
    owner: Client, customer: Customer, many: list[str]
) -> None:
    url = f"{_home(customer)}messages/"
    first = _text(owner, url, status="delivered")
    second = _follow(owner, url, first, "next")
    third = _follow(owner, url, second, "next")
    pages = [_numbers(page) for page in (first, second, third)]
    assert [len(page) for page in pages] == [50, 50, 8]
    assert [number for page in pages for number in page] == [
        number for number in many if not number.endswith("0")
    ]
    assert _numbers(_follow(owner, url, third, "prev")) == pages[1]


def test_an_id_in_the_search_box_leads_to_its_message(
    owner: Client, customer: Customer, sent: Message
) -> None:
    response = owner.get(f"{_home(customer)}messages/", {"number": sent.public_id})
    assert response["Location"] == f"{_home(customer)}messages/{sent.public_id}/"


@pytest.mark.parametrize("cursor", ["before", "after"])
@pytest.mark.parametrize("value", ["", "x", "msg_", "msg_" + "z" * 26])
def test_a_cursor_that_is_none(owner: Client, customer: Customer, cursor: str, value: str) -> None:
    owner.get(f"{_home(customer)}messages/", {cursor: value})


def test_the_open_log_refreshes_only_when_something_is_new(
    owner: Client, world: World, customer: Customer, carrier: Carrier, sent: Message
) -> None:
    url = f"{_home(customer)}messages/"
    page = _text(owner, url)
    (poll,) = re.findall(r'hx-get="([^"]+)"', page)
    poll = poll.replace("&amp;", "&")
    htmx = {"HX-Request": "true"}
    assert owner.get(poll, headers=htmx).status_code == 204
    world.message(customer, carrier, to="+966507777777")
    part = owner.get(poll, headers=htmx).content.decode()
    assert "+966507777777" in part
    assert "<html" not in part
    assert "<html" in _text(owner, poll), "an address copied out of it is a whole page"
    assert "hx-get" not in _text(owner, url, live="off")


# ---------------------------------------------------------------- one message


def _timeline(page: str) -> list[str]:
    steps = page.split('<ol class="timeline">')[1].split("</ol>")[0]
    return [
        re.sub(r"<[^>]+>", "", title) for title in re.findall(r'class="title">(.*?)</span>', steps)
    ]


def test_the_timeline_tells_all_that_the_database_knows(wakes: list[object], db: None) -> None:
    shown = showcase.make()
    client = browser(shown.owner)
    home = f"/dashboard/{showcase.organization_id(shown)}/messages/"
    delivered = _text(client, f"{home}{shown.delivered.public_id}/")
    assert _timeline(delivered) == [
        "Accepted and charged",
        "Queued for the carrier",
        "Webhook message.queued: received by your server",
        "Part 1 of 2 sent to Gulf Carrier",
        "Part 2 of 2 sent to Gulf Carrier",
        "Webhook message.sent: received by your server",
        "Receipt for part 1 of 2: Delivered",
        "Receipt for part 2 of 2: Delivered",
        "Delivered",
        "Webhook message.delivered: received by your server",
    ]
    assert "7C41A901" in delivered
    assert "hx-get" not in delivered, "nothing more is to come"
    failed = _text(client, f"{home}{shown.failed.public_id}/")
    assert _timeline(failed) == [
        "Accepted and charged",
        "Queued for the carrier",
        "Gulf Carrier was busy; trying again",
        "Sent to Gulf Carrier",
        "Webhook message.sent: received by your server",
        "Receipt: Failed",
        "Failed",
        "Webhook message.failed: attempt 1 failed, trying again",
    ]
    assert "the phone may be off, full, or unreachable" in failed
    assert "Try again later" in failed
    assert "ESME_RTHROTTLED" in failed
    assert "hx-get" in failed


def test_what_waits_says_for_what(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    nine = datetime(2027, 1, 15, 6, tzinfo=UTC)  # in Riyadh
    url = f"{_home(customer)}messages/"
    waiting = {"status": Status.SCHEDULED, "queued_at": None}
    scheduled = world.message(customer, carrier, scheduled_at=nine, **waiting)
    held = world.message(customer, carrier, scheduled_at=nine, sender="Shop-AD", **waiting)
    assert _timeline(_text(owner, f"{url}{scheduled.public_id}/")) == [
        "Accepted and charged",
        "Scheduled to go out later",
    ]
    page = _text(owner, f"{url}{held.public_id}/")
    assert _timeline(page)[1] == "Held until the hours in which its country lets it go"
    assert "09:00 to 19:00 (Asia/Riyadh)" in page
    Attempt.objects.create(message=held, carrier=carrier, outcome="held", detail="Not in time.")
    page = _text(owner, f"{url}{held.public_id}/")
    assert len(_timeline(page)) == 2
    assert _timeline(page)[1].startswith("Its country&#x27;s hours ended before it was sent")


def test_what_was_canceled_says_so(owner: Client, customer: Customer, carrier: Carrier) -> None:
    body = {"to": "+966501234567", "message": "Hello"}
    message_id = customer.api.post("/v1/sms/send", body).json()["message_id"]
    customer.api.post(f"/v1/sms/{message_id}/cancel")
    page = _text(owner, f"{_home(customer)}messages/{message_id}/")
    assert _timeline(page)[-1] == "Canceled; the credits came back"
    listed = _text(owner, f"{_home(customer)}messages/", status="canceled")
    assert _numbers(listed) == ["+966501234567"]


def test_every_status_has_a_page(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    for status in Status:
        final = datetime.now(UTC) if status in (Status.CANCELED, Status.EXPIRED) else None
        message = world.message(customer, carrier, status=status, final_at=final, test=True)
        page = _text(owner, f"{_home(customer)}messages/{message.public_id}/")
        assert str(STATUS_LABELS[status]) in page


def test_what_came_back_is_said(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    message = world.message(
        customer, carrier, status=Status.FAILED, error_code="ESME_RINVDSTADR", price=MICRO
    )
    refund = ledger.Posting(customer.id, LedgerEntry.Kind.REFUND, MICRO, message.id)
    ledger.post([refund])
    page = _text(owner, f"{_home(customer)}messages/{message.public_id}/")
    assert '<bdi dir="ltr">1</bdi> credits came back' in page
    assert "does not exist" in page


@pytest.mark.parametrize("outcome", ["throttled", "refused for now", "refused", "unanswered", "?"])
def test_every_outcome_of_an_attempt_has_words(
    owner: Client, customer: Customer, sent: Message, outcome: str
) -> None:
    Attempt.objects.create(
        message=sent, carrier=sent.carrier, outcome=outcome, command_status=0x7FFFFFFF
    )
    page = _text(owner, f"{_home(customer)}messages/{sent.public_id}/")
    assert sent.carrier.name in _timeline(page)[-1]
    assert "0x7FFFFFFF" in page


@pytest.mark.parametrize("status", list(Delivery.Status))
@pytest.mark.parametrize("attempts", [0, 1, 9])
def test_every_delivery_has_words(
    owner: Client, world: World, customer: Customer, sent: Message, status: str, attempts: int
) -> None:
    endpoint = world.endpoint(customer)
    event = Event.objects.create(
        organization=customer.organization, type="message.sent", message_id=sent.id, body="{}"
    )
    Delivery.objects.create(event=event, endpoint=endpoint, status=status, attempts=attempts)
    page = _text(owner, f"{_home(customer)}messages/{sent.public_id}/")
    assert _timeline(page)[-1].startswith("Webhook message.sent: ")


def test_each_attempt_at_a_webhook_has_its_place(
    owner: Client, world: World, customer: Customer, sent: Message
) -> None:
    """With the receiver's answer, and when it is tried again."""
    endpoint = world.endpoint(customer)
    event = Event.objects.create(
        organization=customer.organization, type="message.sent", message_id=sent.id, body="{}"
    )
    now = datetime.now(UTC)
    delivery = Delivery.objects.create(
        event=event,
        endpoint=endpoint,
        attempts=3,
        attempted_at=now + timedelta(minutes=3),
        next_attempt_at=datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC),
        response_status=500,
        duration_ms=77,
    )
    for number, response in ((1, 502), (2, None), (3, 500)):
        FailedAttempt.objects.create(
            delivery=delivery,
            number=number,
            at=now + timedelta(minutes=number),
            response_status=response,
            response_body="",
            error="" if response else "timed out",
            duration_ms=10 * number,
        )
    page = _text(owner, f"{_home(customer)}messages/{sent.public_id}/")
    assert _timeline(page)[-3:] == [
        "Webhook message.sent: attempt 1 failed",
        "Webhook message.sent: attempt 2 failed",
        "Webhook message.sent: attempt 3 failed, trying again",
    ]
    for expected in ("502 · 10 ms", "timed out", "500 · 77 ms", "2031-01-02 03:04:05"):
        assert expected in page
    delivery.status, delivery.attempts = Delivery.Status.DELIVERED, 4
    delivery.finished_at, delivery.response_status = now + timedelta(minutes=4), 204
    delivery.save()
    page = _text(owner, f"{_home(customer)}messages/{sent.public_id}/")
    assert _timeline(page)[-2:] == [
        "Webhook message.sent: attempt 3 failed",
        "Webhook message.sent: received by your server at attempt 4",
    ]
    assert "204 · 77 ms" in page


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"source": "otp"}, "As a one-time password"),
        ({"source": "smpp"}, "Over SMPP"),
        ({"source": "dashboard"}, "From the dashboard"),
        ({"source": "else"}, "else"),
    ],
)
def test_the_timeline_says_how_it_came(
    owner: Client, world: World, customer: Customer, carrier: Carrier, fields: dict, words: str
) -> None:
    message = world.message(customer, carrier, **fields)
    assert words in _text(owner, f"{_home(customer)}messages/{message.public_id}/")


def test_the_timeline_names_key_and_batch(
    owner: Client, customer: Customer, carrier: Carrier
) -> None:
    rows = [{"to": "+966501234567", "message": "Hello"}]
    response = customer.api.post("/v1/sms/bulk", {"messages": rows}).json()
    message_id, batch_id = response["messages"][0]["message_id"], response["batch_id"]
    page = _text(owner, f"{_home(customer)}messages/{message_id}/")
    assert "By the API, in a bulk call, with the key “live” (" in page
    assert f"{_home(customer)}batches/{batch_id}/" in page


def test_what_no_carrier_took_says_so(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    over = {"status": Status.EXPIRED, "final_at": datetime.now(UTC), "error_code": "EXPIRED"}
    never = world.message(customer, carrier, **over)
    sent = world.message(customer, carrier, sent_at=datetime.now(UTC), **over)
    url = f"{_home(customer)}messages/"
    assert "No carrier took" in _text(owner, f"{url}{never.public_id}/")
    assert "out of reach" in _text(owner, f"{url}{sent.public_id}/")


@pytest.mark.parametrize("status", [each for each in CommandStatus if each])
def test_every_answer_of_a_carrier_has_words(status: CommandStatus) -> None:
    found = reason(status.name)
    assert found is not None
    assert found != reason("0x00000500")


def test_another_organizations_webhooks_do_not_show(
    owner: Client, world: World, customer: Customer, outsider: Customer, sent: Message
) -> None:
    theirs = world.endpoint(outsider)
    event = Event.objects.create(
        organization=outsider.organization, type="message.sent", message_id=sent.id, body="{}"
    )
    Delivery.objects.create(event=event, endpoint=theirs)
    page = _text(owner, f"{_home(customer)}messages/{sent.public_id}/")
    assert "Webhook" not in "".join(_timeline(page))


def test_a_text_is_shown_and_never_run(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    message = world.message(
        customer, carrier, text="<script>alert(1)</script>", reference='"><img src=x>'
    )
    for url in (_home(customer), f"{_home(customer)}messages/{message.public_id}/"):
        page = _text(owner, url)
        assert "<script>alert" not in page
        assert "<img src=x>" not in page


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("UNDELIV", "could not deliver"),
        ("UNDELIV 001", "could not deliver"),
        ("UNDELIV:069", "could not deliver"),
        ("EXPIRED", "within its validity"),
        ("REJECTD", "rejected"),
        ("ESME_RINVDSTADR", "does not exist"),
        ("ESME_RINVSRCADR", "sender ID"),
        ("NO_RESPONSE", "did not answer"),
        ("INSUFFICIENT_CREDITS", "balance"),
        ("0x00000500", "a code of its own"),
    ],
)
def test_codes_in_plain_words(code: str, words: str) -> None:
    found = reason(code)
    assert found is not None
    assert words in str(found.what)
    assert str(found.to_do).endswith(".")


def test_no_code_no_reason() -> None:
    assert reason("") is None
