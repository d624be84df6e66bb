"""Messages for later: when they are accepted, held by a country's hours, released, and put off."""

import json
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from accounts.models import MICRO
from messaging import tasks
from messaging.carriers import queue, sweeps
from messaging.models import Message, SendingRule, Suppression
from messaging.routing import cache
from messaging.states import Status
from tests.messaging.sending.test_sms_cancel import overlapping
from tests.support.factories import (
    PHONE,
    SENDER,
    Api,
    Customer,
    World,
)

HOUR = timedelta(hours=1)
SHOP = "Shop-AD"


def now() -> datetime:
    return datetime.now(UTC)


def text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def send(api: Api, **fields: Any):
    return api.post("/v1/sms/send", {"to": PHONE, "message": "Hello"} | fields)


def sent(api: Api, **fields: Any) -> dict[str, Any]:
    answer = send(api, **fields)
    assert answer.status_code == 202, answer.content
    body: dict[str, Any] = answer.json()
    return body


def only(customer: Customer) -> Message:
    [message] = customer.messages()
    return message


def claim(carrier, *, urgent: bool = True):
    return queue.claim(carrier.id, urgent=urgent, limit=10, lease=uuid.uuid4())


def make_due(**fields: Any) -> None:
    """Have every message be due. The database's clock stands still while a test's transaction is
    open, so that even what was sent at once is not yet."""
    Message.objects.update(due_at=now() - HOUR, **fields)


def hours(opens: timedelta, closes: timedelta) -> tuple[datetime, datetime]:
    """Have the Saudi rule open and close so long from now; when that is, to the second."""
    opening, closing = ((now() + span).replace(microsecond=0) for span in (opens, closes))
    SendingRule.objects.update(opens=opening.time(), closes=closing.time(), time_zone="UTC")
    cache.reload()
    return opening, closing


@pytest.fixture
def shop(world: World, carrier) -> Customer:
    """A customer whose sender is an advertiser's."""
    return world.customer(sender=SHOP)


# ---------------------------------------------------------------- the time asked for


@pytest.mark.parametrize(
    "write",
    [
        lambda at: at.isoformat(),
        lambda at: at.isoformat().replace("+00:00", "Z"),
        lambda at: (at + 3 * HOUR).replace(tzinfo=None).isoformat() + "+03:00",
        lambda at: (at - 3.5 * HOUR).replace(tzinfo=None).isoformat() + "-03:30",
        lambda at: (at + 14 * HOUR).replace(tzinfo=None).isoformat() + "+14:00",
        lambda at: at.strftime("%Y%m%dT%H%M%SZ"),
    ],
)
def test_a_time_in_any_offset(api, customer, carrier, write):
    at = now().replace(microsecond=0) + 5 * HOUR
    body = sent(api, scheduled_at=write(at))
    assert (body["status"], body["scheduled_at"]) == ("scheduled", text(at))
    message = only(customer)
    assert (message.scheduled_at, message.due_at) == (at, at)


@pytest.mark.parametrize("ahead", [timedelta(seconds=1), timedelta(days=90, seconds=-30)])
def test_up_to_ninety_days_ahead(api, carrier, ahead):
    assert sent(api, scheduled_at=(now() + ahead).isoformat())["status"] == "scheduled"


@pytest.mark.parametrize("behind", [0, 1, 55])
def test_a_minute_of_skew_is_forgiven(api, customer, carrier, behind):
    body = sent(api, scheduled_at=(now() - timedelta(seconds=behind)).isoformat())
    assert (body["status"], body["scheduled_at"]) == ("queued", None)
    assert (only(customer).due_at or now()) <= now()


@pytest.mark.parametrize(
    "written",
    [
        # From when the test runs: the suite may have collected it minutes before.
        pytest.param(timedelta(seconds=-65), id="past"),
        pytest.param(timedelta(days=90, minutes=5), id="far"),
        "2027-01-15T10:00:00",
        "2027-01-15",
        "2027-02-30T10:00:00Z",
        "10:00",
        "tomorrow",
        "",
        "1800000000",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
    ],
)
@pytest.mark.parametrize("path", ["send", "bulk"])
def test_what_is_no_time_to_send_at(api, customer, carrier, written, path):
    row = {"to": PHONE, "message": "Hello"}
    if isinstance(written, timedelta):
        written = (now() + written).isoformat()
    body = (row if path == "send" else {"messages": [row]}) | {"scheduled_at": written}
    before = customer.stored()
    answer = api.post(f"/v1/sms/{path}", body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "INVALID_SCHEDULE")
    assert error["field"] == "scheduled_at"
    assert customer.stored() == before


def test_it_is_charged_when_it_is_accepted(api, customer, carrier):
    sent(api, scheduled_at=(now() + HOUR).isoformat())
    assert customer.balance() == 99 * MICRO
    make_due()
    assert sweeps.release_scheduled() == 1
    assert customer.balance() == 99 * MICRO


def test_its_validity_counts_from_its_time(api, customer, carrier):
    at = now() + 24 * HOUR
    sent(api, scheduled_at=at.isoformat(), validity=3600)
    assert only(customer).expires_at == at + HOUR


def test_a_batch_is_released_together(api, customer, carrier):
    rows = [{"to": f"+96650123456{number}", "message": "Hello"} for number in range(3)]
    api.post("/v1/sms/bulk", {"messages": rows, "scheduled_at": (now() + HOUR).isoformat()})
    assert sweeps.release_scheduled() == 0
    make_due()
    assert sweeps.release_scheduled() == 3
    assert len(claim(carrier, urgent=False)) == 3


def test_its_timeline(api, customer, carrier):
    at = now() + HOUR
    body = sent(api, scheduled_at=at.isoformat())
    make_due()
    sweeps.release_scheduled()
    timeline = api.get(f"/v1/sms/{body['message_id']}").json()["timeline"]
    assert [(row["event"], row["detail"]) for row in timeline] == [
        ("accepted", None),
        ("scheduled", f"until {text(at)}"),
        ("queued", None),
    ]


def test_what_was_due_while_nothing_ran_is_released_and_obeys_its_validity(api, customer, carrier):
    """The platform was down at that time: the rest of the validity is left, and no more."""
    at = now() - 2 * HOUR
    for validity in (HOUR, 3 * HOUR):
        sent(api, scheduled_at=(now() + HOUR).isoformat())
        newest = customer.messages()[-1]
        Message.objects.filter(id=newest.id).update(
            scheduled_at=at, due_at=at, expires_at=at + validity
        )
    assert sweeps.release_scheduled() == 2
    assert len(claim(carrier)) == 1
    assert sweeps.expire_queued() == 1
    late, in_time = customer.messages()
    assert (late.status, in_time.status) == ("expired", "sending")
    assert customer.balance() == 99 * MICRO


# ---------------------------------------------------------------- a country's hours


def test_outside_of_the_hours_it_is_held_till_they_open(shop, carrier):
    opening, closing = hours(HOUR, 2 * HOUR)
    body = sent(shop.api, validity=600)
    assert (body["status"], body["scheduled_at"]) == ("scheduled", text(opening))
    message = only(shop)
    assert (message.due_at, message.window_closes_at) == (opening, closing)
    assert message.expires_at == opening + timedelta(seconds=600)
    assert shop.balance() == 99 * MICRO
    timeline = shop.api.get(f"/v1/sms/{body['message_id']}").json()["timeline"]
    assert [(row["event"], row["detail"]) for row in timeline] == [
        ("accepted", None),
        ("held", f"until {text(opening)}"),
    ]


def test_outside_of_the_hours_it_is_refused_where_that_is_asked_for(shop):
    hours(HOUR, 2 * HOUR)
    before = shop.stored()
    answer = send(shop.api, outside_window="refuse")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "INVALID_SCHEDULE")
    assert error["field"] == "scheduled_at"
    assert "(UTC)" in error["message"]
    assert shop.stored() == before


def test_within_the_hours_it_goes_at_once(shop, carrier):
    _, closing = hours(-HOUR, HOUR)
    body = sent(shop.api, outside_window="refuse")
    assert (body["status"], body["scheduled_at"]) == ("queued", None)
    assert only(shop).window_closes_at == closing
    make_due()
    assert len(claim(carrier)) == 1


def test_the_hours_are_those_of_the_time_that_it_is_scheduled_for(shop):
    opening, closing = hours(HOUR, 2 * HOUR)
    within, after = opening + HOUR / 2, closing + HOUR / 2
    body = sent(shop.api, scheduled_at=within.isoformat(), outside_window="refuse")
    assert body["scheduled_at"] == text(within)
    body = sent(shop.api, scheduled_at=after.isoformat())
    assert body["scheduled_at"] == text(opening + 24 * HOUR)
    assert (
        send(shop.api, scheduled_at=after.isoformat(), outside_window="refuse").status_code == 400
    )


def test_other_senders_and_countries_have_no_hours(customer, shop, world):
    hours(HOUR, 2 * HOUR)
    world.serve("971")
    assert sent(customer.api)["status"] == "queued"
    assert sent(shop.api, to="+971501234567")["status"] == "queued"
    assert {message.window_closes_at for message in (*customer.messages(), *shop.messages())} == {
        None
    }


def test_a_disabled_rule_is_none(shop):
    hours(HOUR, 2 * HOUR)
    SendingRule.objects.update(enabled=False)
    cache.reload()
    assert sent(shop.api)["status"] == "queued"


def test_in_a_batch_each_message_has_its_own_hours(customer, world):
    opening, _ = hours(HOUR, 2 * HOUR)
    world.sender(customer, SHOP)
    rows = [{"to": PHONE, "message": "Hello", "sender_id": name} for name in (SENDER, SHOP, SENDER)]
    body = customer.api.post("/v1/sms/bulk", {"messages": rows}).json()
    assert [(row["status"], row["scheduled_at"]) for row in body["messages"]] == [
        ("queued", None),
        ("scheduled", text(opening)),
        ("queued", None),
    ]
    refused = {"messages": rows, "outside_window": "refuse"}
    body = customer.api.post("/v1/sms/bulk", refused).json()
    assert [row["status"] for row in body["messages"]] == ["queued", "rejected", "queued"]
    assert body["messages"][1]["error"]["code"] == "INVALID_SCHEDULE"


def test_the_rule_of_saudi_arabia_is_there_from_the_beginning(db):
    rule = SendingRule.objects.get()
    told = f"{rule.country} {rule.sender_suffix} {rule.opens} {rule.closes} {rule.time_zone}"
    assert told == "SA -AD 09:00:00 19:00:00 Asia/Riyadh"


def test_a_test_key_obeys_the_hours_too(shop, world):
    world.carrier(is_sandbox=True)
    hours(HOUR, 2 * HOUR)
    assert sent(shop.test_api)["status"] == "scheduled"


# ---------------------------------------------------------------- when the hours have closed


@pytest.fixture
def late(shop, carrier) -> Message:
    """A queued message whose hours closed a minute ago; the next ones open in 23 hours."""
    hours(-2 * HOUR, HOUR)
    sent(shop.api, reference="order 7")
    hours(-HOUR, timedelta(minutes=-1))
    message = only(shop)
    make_due(created_at=now() - HOUR, window_closes_at=now() - timedelta(minutes=1))
    message.refresh_from_db()
    return message


def test_a_carrier_never_gets_it(late, carrier):
    assert claim(carrier) == []


def test_it_is_held_for_the_next_opening(late, shop, carrier):
    before = late.expires_at
    assert sweeps.hold_late() == 1
    late.refresh_from_db()
    window = cache.tables().sending_hours("SA", SHOP)
    assert window is not None
    tomorrow = window.opening(now())
    assert timedelta(hours=22) < tomorrow - now() < timedelta(hours=24)
    assert (late.status, late.due_at, late.scheduled_at) == ("scheduled", tomorrow, tomorrow)
    assert late.queued_at is None
    assert late.expires_at - before == tomorrow - late.created_at, "its validity counts from there"
    assert late.window_closes_at == tomorrow + HOUR - timedelta(minutes=1)
    assert shop.balance() == 99 * MICRO
    assert sweeps.hold_late() == 0
    assert claim(carrier) == []


def test_its_timeline_says_why(late, shop):
    sweeps.hold_late()
    late.refresh_from_db()
    timeline = shop.api.get(f"/v1/sms/{late.public_id}").json()["timeline"]
    assert [row["event"] for row in timeline] == ["accepted", "held"]
    assert timeline[1]["detail"].endswith(f"held until {text(late.scheduled_at)}.")
    assert "SA" in timeline[1]["detail"]


def test_it_is_released_and_told_when_they_open_again(late, shop, carrier, world):
    sweeps.hold_late()
    world.endpoint(shop, "message.queued")
    hours(-HOUR, HOUR)
    make_due(window_closes_at=now() + HOUR)
    assert sweeps.release_scheduled() == 1
    [event] = shop.event_rows()
    assert json.loads(event.body)["data"]["reference"] == "order 7"
    assert len(claim(carrier)) == 1


def test_a_scheduled_one_whose_hours_passed_while_nothing_ran_waits_for_the_next(late, carrier):
    Message.objects.update(
        status=Status.SCHEDULED, queued_at=None, due_at=now() - HOUR, scheduled_at=now() - HOUR
    )
    assert sweeps.release_scheduled() == 0
    tasks.release()
    late.refresh_from_db()
    assert late.status == "scheduled"
    assert late.due_at > now() + 22 * HOUR
    assert claim(carrier) == []


def test_what_a_carrier_has_a_part_of_goes_on(late, carrier, world):
    Message.objects.update(parts=2, submits=1)
    world.part(late, "c-1")
    assert sweeps.hold_late() == 1
    late.refresh_from_db()
    assert (late.status, late.window_closes_at) == ("queued", None)
    [claimed] = claim(carrier)
    assert claimed.submitted_parts == {1}


def test_when_the_rule_is_gone_it_goes(late, carrier):
    SendingRule.objects.update(enabled=False)
    cache.reload()
    sweeps.hold_late()
    assert len(claim(carrier)) == 1


def test_when_they_are_open_again_it_goes_until_they_close(late, carrier):
    _, closing = hours(-HOUR, HOUR)
    sweeps.hold_late()
    late.refresh_from_db()
    assert (late.status, late.window_closes_at) == ("queued", closing)
    assert len(claim(carrier)) == 1


def test_a_held_one_can_be_canceled(late, shop):
    sweeps.hold_late()
    assert shop.api.post(f"/v1/sms/{late.public_id}/cancel").status_code == 200
    assert shop.balance() == 100 * MICRO
    assert only(shop).window_closes_at is None


def test_holding_is_bounded_and_takes_the_latest_first(late, shop, world, carrier):
    for minutes in (3, 2):
        world.message(
            shop, carrier, sender=SHOP, window_closes_at=now() - timedelta(minutes=minutes)
        )
    assert [sweeps.hold_late(limit=2), sweeps.hold_late(limit=2)] == [2, 1]
    assert {message.status for message in shop.messages()} == {"scheduled"}


def test_what_a_worker_is_claiming_is_not_held(committed_world):
    carrier, customer = committed_world.serve(), committed_world.customer()
    message = committed_world.message(
        customer, carrier, window_closes_at=now() + timedelta(seconds=0.2)
    )
    claimed, held = overlapping(
        lambda: queue.claim(carrier.id, urgent=False, limit=1, lease=uuid.uuid4()),
        lambda: threading.Event().wait(0.3) or sweeps.hold_late(),
    )
    assert ([one.id for one in claimed], held) == ([message.id], 0)
    with transaction.atomic():
        assert sweeps.hold_late() == 0


# ---------------------------------------------------------------- who has opted out


def test_who_has_opted_out_is_not_written_to(api, customer, carrier, world):
    Suppression.objects.create(organization=customer.organization, number=PHONE, source="api")
    answer = send(api, to="00966 50 123 4567")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (403, "DESTINATION_BLOCKED", "to")
    rows = [{"to": number, "message": "Hello"} for number in (PHONE, "+966501234568")]
    body = api.post("/v1/sms/bulk", {"messages": rows}).json()
    assert [row["status"] for row in body["messages"]] == ["rejected", "queued"]
    assert body["messages"][0]["error"]["code"] == "DESTINATION_BLOCKED"
    assert customer.balance() == 99 * MICRO


def test_another_organizations_list_is_its_own(api, outsider, carrier):
    Suppression.objects.create(organization=outsider.organization, number=PHONE, source="api")
    assert send(api).status_code == 202
