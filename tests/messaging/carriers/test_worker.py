"""A carrier worker between a real database and a misbehaving carrier.

The worker runs in a thread with its own event loop, as in its process. The tests do the wake-ups
and the sweeps themselves.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import MICRO
from imissive.env import read_env
from imissive.run import carriers
from imissive.run.programs import ROOT, carrier_command
from messaging.carriers import (
    bind_status,
    failover,
    pdus,
    receipt_intake,
    receipt_rules,
    receipts,
    sweeps,
    traffic,
    worker_liveness,
)
from messaging.carriers import (
    queue as submitting,
)
from messaging.carriers import (
    worker as carrier_worker,
)
from messaging.carriers.traffic import Tally
from messaging.carriers.worker import CarrierWorker
from messaging.models import Attempt, Carrier, CarrierBind, EarlyReceipt, Message
from messaging.routing import cache
from messaging.smpp import receipt as smpp_receipt
from messaging.smpp.constants import ESM_DELIVERY_RECEIPT, DataCoding, Tag
from messaging.smpp.constants import Status as Smpp
from messaging.smpp.events import Closed, CloseReason
from messaging.smpp.pdus import DeliverSm
from messaging.smpp.simulator import Simulator, line
from messaging.smpp.simulator.accounts import Accounts
from messaging.states import FINAL, Status
from messaging.text import encoding
from tests.support.factories import Customer, World
from tests.support.faults import PASSING, failing
from tests.support.platforms import until
from tests.support.simulators import RunningSimulator, running_simulator

pytestmark = pytest.mark.timeout(60)

T = TypeVar("T")
SECONDS = 30.0
"""A timeout for steps that take no time on an idle machine."""
NUMBER = "+96650000000{}"
ARABIC = "مرحبا بك في خدمة الرسائل"
LONG = "A text that fits in no single part. " * 8
LONG_ARABIC = "رسالة طويلة لا تتسع لها رسالة واحدة. " * 5


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll often and retry soon."""
    monkeypatch.setattr(carrier_worker, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(carrier_worker, "STATUS_SECONDS", 0.1)
    monkeypatch.setattr(submitting, "FIRST_RETRY_SECONDS", 0.05)
    monkeypatch.setattr("messaging.smpp.client.FIRST_RECONNECT_SECONDS", 0.05)
    monkeypatch.setattr("messaging.smpp.client.LONGEST_RECONNECT_SECONDS", 0.2)
    monkeypatch.setattr("messaging.smpp.client.REFUSED_SECONDS", 0.05)


class RunningWorker:
    """A carrier worker in its own thread."""

    def __init__(self, carrier: Carrier, name: str) -> None:
        self.worker: CarrierWorker
        self.failure: BaseException | None = None
        self._carrier, self._name = carrier, name
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="carrier", daemon=True)
        self._thread.start()
        assert self._started.wait(SECONDS)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._main())
        except BaseException as error:
            self.failure = error
        finally:
            self._started.set()

    async def _main(self) -> None:
        self.worker = CarrierWorker(self._carrier)
        if self._name:
            self.worker.name = self._name
        self._started.set()
        await self.worker.run(self._stop)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the worker's thread and return its result."""

        async def called() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(SECONDS)

    def wake(self) -> None:
        for wakeup in self.worker.wakeups.values():
            self._loop.call_soon_threadsafe(wakeup.set)

    @property
    def bound(self) -> bool:
        return all(bind.bound for bind in self.worker.pool.binds)

    @property
    def submitted(self) -> int:
        return sum(bind.submitted for bind in self.worker.pool.binds)

    def stop(self) -> float:
        """Stop it, wait until it has stopped, and return the seconds that it took."""
        started = time.monotonic()
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "the worker does not end"
        if self.failure is not None:
            raise self.failure
        return time.monotonic() - started


@contextmanager
def working(carrier: Carrier, *, name: str = "", bound: bool = True) -> Iterator[RunningWorker]:
    """Run a worker of that carrier, and wait for its binds if `bound`."""
    running = RunningWorker(Carrier.objects.get(id=carrier.id), name)
    try:
        if bound:
            until(lambda: running.bound or running.failure, SECONDS)
        yield running
    finally:
        running.stop()


class Scene:
    """A customer whose messages go over the carriers of one route."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.customer: Customer = world.customer()

    def carriers(self, *simulators: RunningSimulator, **fields: Any) -> list[Carrier]:
        """Create the customer's own route over a carrier for each simulator, in order."""
        fields = {"password": "secret"} | fields
        created = [self.world.carrier(port=each.port, **fields) for each in simulators]
        self.world.route("966", *created, owner=self.customer)
        return created

    def queue(self, carrier: Carrier, body: str = "Hello", **fields: Any) -> Message:
        """Create one accepted message, charged one credit per part."""
        parts = encoding.split(body)
        fields = {
            "text": body,
            "encoding": parts.encoding,
            "parts": len(parts.parts),
            "price": len(parts.parts) * MICRO,
        } | fields
        return self.world.message(self.customer, carrier, **fields)

    def queue_many(self, carrier: Carrier, count: int) -> list[Message]:
        """Create that many free messages, each to a different number."""
        now = timezone.now()
        created = [
            Message(
                organization=self.customer.organization,
                carrier=carrier,
                source="api",
                to=f"+96655{number:07}",
                country="SA",
                sender="MyCompany",
                text=f"Number {number}",
                encoding="gsm7",
                parts=1,
                price=0,
                status=Status.QUEUED,
                due_at=now - timedelta(seconds=1),
                created_at=now - timedelta(seconds=1),
                expires_at=now + timedelta(hours=1),
            )
            for number in range(count)
        ]
        return Message.objects.bulk_create(created)

    def statuses(self) -> Counter[str]:
        rows = Message.objects.filter(organization=self.customer.organization)
        return Counter(rows.values_list("status", flat=True))

    def settle(self, *also: Callable[[], object], seconds: float = SECONDS) -> None:
        """Wait until every message is final; repeat the sweep's steps and `also` meanwhile."""
        final = {str(status) for status in FINAL}

        def ended() -> bool:
            for act in (receipts.match_waiting, *also):
                act()
            return not set(self.statuses()) - final

        until(ended, seconds, self.statuses)


@pytest.fixture
def scene(committed_world: World) -> Scene:
    return Scene(committed_world)


def status_of(message: Message) -> str:
    message.refresh_from_db()
    return message.status


def attempts_of(message: Message) -> list[tuple[str, int | None]]:
    rows = Attempt.objects.filter(message=message).order_by("id")
    return list(rows.values_list("outcome", "command_status"))


def refunds_of(customer: Customer) -> list[int]:
    return [amount for kind, amount, _ in customer.ledger() if kind == "refund"]


def wait_for(message: Message, status: Status) -> None:
    until(lambda: status_of(message) == status, SECONDS, lambda: status_of(message))


def times_submitted(*simulators: RunningSimulator) -> Counter[str]:
    """Return the number of submits to each destination."""
    return Counter(submit.destination for each in simulators for submit in each.submits)


def receipt(carrier_message_id: str, state: str = "DELIVRD") -> DeliverSm:
    return DeliverSm(
        esm_class=ESM_DELIVERY_RECEIPT,
        source_addr="966512345678",
        short_message=f"id:{carrier_message_id} sub:001 dlvrd:001 submit date:2601010000"
        f" done date:2601010000 stat:{state} err:000 text:".encode(),
    )


def deliver(simulator: RunningSimulator, pdu: DeliverSm) -> None:
    """Send a custom deliver_sm from the simulator to the carrier worker."""
    simulator.call(lambda: simulator._simulator._accounts.of("esme").outbox.put(pdu))


# ---------------------------------------------------------------- submits


def test_texts_arrive_unchanged(scene: Scene) -> None:
    with running_simulator(receipt_delay=0.01) as simulator:
        [carrier] = scene.carriers(simulator)
        bodies = ["Hello, world", ARABIC, LONG, LONG_ARABIC, "Euro: €, brackets: [~]"]
        messages = {body: scene.queue(carrier, body) for body in bodies}
        with working(carrier):
            scene.settle()

        assert scene.statuses() == {"delivered": len(bodies)}
        submits = {submit.message_id: submit for submit in simulator.accepted}
        for body, message in messages.items():
            parts = list(message.submitted_parts.order_by("number"))
            mine = [submits.pop(part.carrier_message_id) for part in parts]
            assert "".join(submit.text for submit in mine) == body
            assert [part.number for part in parts] == list(range(1, message.parts + 1))
            assert {part.status for part in parts} == {"delivered"}
            arabic = body in (ARABIC, LONG_ARABIC)
            assert {s.data_coding for s in mine} == {
                DataCoding.UCS2 if arabic else DataCoding.DEFAULT
            }
            if message.parts == 1:
                assert mine[0].concat is None
            else:
                concats = [submit.concat for submit in mine]
                assert [(c.total, c.index) for c in concats if c] == [
                    (message.parts, number) for number in range(1, message.parts + 1)
                ]
                assert len({c.reference for c in concats if c}) == 1
        assert not submits
        assert refunds_of(scene.customer) == []


def test_every_magic_number_has_its_documented_outcome(scene: Scene) -> None:
    scene.world.endpoint(scene.customer, "message.sent", "message.delivered", "message.failed")
    with running_simulator(receipt_delay=0.01, time_scale=0.02) as simulator:
        [carrier] = scene.carriers(simulator)
        to = {n: scene.queue(carrier, to=NUMBER.format(n)) for n in range(1, 9)}
        to[9] = scene.queue(carrier)  # any other
        with working(carrier):
            until(
                lambda: scene.statuses() == {"delivered": 6, "failed": 2, "sent": 1},
                SECONDS,
                scene.statuses,
            )
            until(lambda: simulator.tally.receipts_answered == 8, SECONDS)

        assert {n: status_of(message) for n, message in to.items()} == {
            1: "delivered",
            2: "failed",
            3: "failed",
            4: "delivered",
            5: "sent",
            6: "delivered",
            7: "delivered",
            8: "delivered",
            9: "delivered",
        }
        assert {n: message.error_code for n, message in to.items() if message.error_code} == {
            2: "UNDELIV",
            3: "ESME_RINVDSTADR",
        }
        # The carrier charges for what it accepted; what it refused is refunded.
        assert scene.customer.ledger()[-1] == ("refund", MICRO, to[3].id)
        assert refunds_of(scene.customer) == [MICRO]
        throttled = ("throttled", Smpp.ESME_RTHROTTLED)
        assert attempts_of(to[4]) == [throttled, throttled]
        assert to[4].submits == 3
        events = Counter(scene.customer.events())
        for n, message in to.items():
            expected = ["message.sent"] if n != 3 else []
            if n != 5:
                expected.append("message.failed" if n in (2, 3) else "message.delivered")
            assert [kind for kind, about in events if about == message.id] == expected
        assert set(events.values()) == {1}

        # 5 never gets a receipt: it expires by its validity.
        Message.objects.filter(id=to[5].id).update(due_at=timezone.now())
        sweeps.expire_sent()
        assert status_of(to[5]) == "expired"


# ---------------------------------------------------------------- responses other than accepted


def test_a_refusal_is_final_and_refunded_once(scene: Scene) -> None:
    with running_simulator(refusals={Smpp.ESME_RINVDSTADR: 1.0}) as simulator:
        [carrier] = scene.carriers(simulator)
        message = scene.queue(carrier, LONG)
        with working(carrier):
            wait_for(message, Status.FAILED)

        assert message.error_code == "ESME_RINVDSTADR"
        assert message.final_at is not None
        assert attempts_of(message) == [("refused", Smpp.ESME_RINVDSTADR)]
        assert len(simulator.submits) == message.parts
        assert refunds_of(scene.customer) == [message.price]
        assert scene.customer.balance() == 100 * MICRO


def test_a_throttled_message_is_retried_until_accepted(scene: Scene) -> None:
    with running_simulator(
        refusals={Smpp.ESME_RTHROTTLED: 0.7, Smpp.ESME_RMSGQFUL: 0.3}, receipt_delay=0
    ) as simulator:
        [carrier] = scene.carriers(simulator)
        messages = [scene.queue(carrier, to=f"+96655000000{n}") for n in range(5)]
        with working(carrier) as running:
            until(lambda: all(len(attempts_of(m)) >= 2 for m in messages), SECONDS)
            assert set(scene.statuses()) <= {"queued", "sending"}
            simulator.options.refusals = {}
            scene.settle()
            bind = running.worker.pool.binds[0]
            assert bind.throttled == simulator.tally.refused
            assert bind.submitted == 5

        assert scene.statuses() == {"delivered": 5}
        outcomes = [outcome for message in messages for outcome, _ in attempts_of(message)]
        assert outcomes == ["throttled"] * simulator.tally.refused
        assert refunds_of(scene.customer) == []


def test_a_failing_carrier_hands_over_to_the_next(scene: Scene) -> None:
    with (
        running_simulator(refusals={Smpp.ESME_RSYSERR: 1.0}) as unwell,
        running_simulator(receipt_delay=0) as well,
    ):
        first, second = scene.carriers(unwell, well)
        messages = [scene.queue(first, body) for body in ("Hello", LONG)]
        with working(first), working(second):
            scene.settle()

        assert scene.statuses() == {"delivered": 2}
        for message in messages:
            message.refresh_from_db()
            assert message.carrier_id == second.id
            assert {part.carrier_id for part in message.submitted_parts.all()} == {second.id}
            [attempt] = Attempt.objects.filter(message=message)
            assert (attempt.carrier_id, attempt.outcome, attempt.command_status) == (
                first.id,
                "refused for now",
                Smpp.ESME_RSYSERR,
            )
        assert refunds_of(scene.customer) == []


def test_a_failing_carrier_without_a_next_one_is_retried(scene: Scene) -> None:
    with running_simulator(refusals={Smpp.ESME_RSYSERR: 1.0}, receipt_delay=0) as simulator:
        [carrier] = scene.carriers(simulator)
        message = scene.queue(carrier)
        with working(carrier):
            until(lambda: len(attempts_of(message)) >= 2, SECONDS)
            simulator.options.refusals = {}
            wait_for(message, Status.DELIVERED)
        assert {outcome for outcome, _ in attempts_of(message)} == {"refused for now"}


def test_without_a_response_it_is_retried_once_and_then_fails(scene: Scene, settings) -> None:
    settings.CARRIER_LEASE = 4
    with running_simulator(blackhole=True) as simulator:
        [carrier] = scene.carriers(simulator, response_timeout=1)
        message = scene.queue(carrier)
        with working(carrier):
            wait_for(message, Status.FAILED)

        assert message.error_code == "NO_RESPONSE"
        assert (message.submits, message.unanswered) == (2, 2)
        assert attempts_of(message) == [("unanswered", None)] * 2
        assert len(simulator.submits) == 2
        assert refunds_of(scene.customer) == [MICRO]


@pytest.mark.parametrize("body", line.ANSWER_BODIES)
def test_a_positive_response_is_an_acceptance_whatever_its_body(scene: Scene, body: Any) -> None:
    """Ignoring it would send the text twice and refund it: the platform would pay for both."""
    with running_simulator(receipt_delay=0.05, answer_body=body) as simulator:
        [carrier] = scene.carriers(
            simulator, submit_id_form="decimal", receipt_id_form="decimal", response_timeout=1
        )
        scene.queue(carrier)
        scene.queue(carrier, LONG)
        expected = {"delivered": 2} if body not in ("empty", "none") else {"sent": 2}
        with working(carrier):
            until(lambda: scene.statuses() == expected, SECONDS, scene.statuses)
            until(lambda: simulator.tally.receipts_answered == 3, SECONDS)
        assert len(simulator.submits) == len(simulator.accepted) == 3
        assert scene.statuses() == expected
        assert (
            Attempt.objects.filter(message__organization=scene.customer.organization).count() == 0
        )
        assert refunds_of(scene.customer) == []
        if "sent" in expected:
            # No receipt can match: it expires by its validity, and is not sent again.
            Message.objects.filter(status="sent").update(due_at=timezone.now())
            sweeps.expire_sent()
            assert scene.statuses() == {"expired": 2}
            assert refunds_of(scene.customer) == []


@pytest.mark.parametrize("tail", ["00", "616263", "0204ffff", "2061206e6f7465"])
def test_a_receipt_with_trailing_octets_is_applied(scene: Scene, tail: str) -> None:
    with running_simulator(receipt_delay=0.05, receipt_tail=bytes.fromhex(tail)) as simulator:
        [carrier] = scene.carriers(simulator)
        scene.queue_many(carrier, 5)
        with working(carrier):
            scene.settle()
            until(lambda: [row.protocol_errors for row in bind_rows(carrier)] == [5], SECONDS)
        assert scene.statuses() == {"delivered": 5}
        assert simulator.tally.receipts_refused == 0


def test_a_text_that_cannot_be_encoded_fails_alone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = pdus.submit_pdus

    def submit_pdus(*arguments: Any, body: str, **more: Any) -> Any:
        if body == "poison":
            raise RuntimeError("no way")
        return original(*arguments, body=body, **more)

    monkeypatch.setattr(carrier_worker, "submit_pdus", submit_pdus)
    with running_simulator(receipt_delay=0) as simulator:
        [carrier] = scene.carriers(simulator)
        bad = [scene.queue(carrier, "poison"), scene.queue(carrier, sender="Ünencödäble€")]
        good = scene.queue(carrier)
        with working(carrier):
            scene.settle()
        assert [status_of(message) for message in [*bad, good]] == ["failed", "failed", "delivered"]
        assert {message.error_code for message in bad} == {"NOT_ENCODABLE"}
        assert refunds_of(scene.customer) == [MICRO, MICRO]


def test_a_text_that_one_carrier_cannot_encode_moves_to_the_next(scene: Scene) -> None:
    """For example, a sender ID with characters that only the other carrier supports."""
    with running_simulator() as latin, running_simulator(receipt_delay=0) as gsm:
        first, second = scene.carriers(latin, gsm)
        change(second, source_coding="gsm")
        cache.reload()
        message = scene.queue(first, sender="ΔELTA")
        plain = scene.queue(first)
        with working(first), working(Carrier.objects.get(id=second.id)):
            scene.settle()
        assert [status_of(message), status_of(plain)] == ["delivered", "delivered"]
        assert [submit.source for submit in gsm.accepted] == ["\x10ELTA"]
        assert len(latin.accepted) == 1
        assert refunds_of(scene.customer) == []


def test_long_messages_do_not_deadlock_on_their_own_slots(scene: Scene) -> None:
    """More parts than slots, the first of them throttled: holding its slot until the last part gets
    its response would deadlock."""
    with running_simulator(receipt_delay=0) as simulator:
        [carrier] = scene.carriers(simulator, window=1)
        messages = [scene.queue(carrier, LONG, to=NUMBER.format(n)) for n in (4, 4, 9)]
        assert messages[0].parts == 2
        scene.queue(carrier, to=NUMBER.format(3))
        with working(carrier) as running:
            scene.settle()
            until(lambda: running.worker.pool.binds[0].in_use == 0, SECONDS)
        assert scene.statuses() == {"delivered": 3, "failed": 1}


# ---------------------------------------------------------------- binds that are down


def test_a_carrier_that_is_down_from_the_start_is_skipped(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bind_status, "RETURN_GRACE", timedelta(0))
    with (
        running_simulator(refuse_binds=Smpp.ESME_RBINDFAIL) as down,
        running_simulator(receipt_delay=0) as up,
    ):
        first, second = scene.carriers(down, up)
        message = scene.queue(first)
        with working(first, bound=False), working(second):
            scene.settle(failover.reroute_from_down)
        message.refresh_from_db()
        assert (message.status, message.carrier_id) == ("delivered", second.id)
        assert attempts_of(message) == []
        assert (down.submits, len(up.submits)) == ([], 1)


def test_messages_that_a_lost_carrier_did_not_get_move_to_the_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bind_status, "RETURN_GRACE", timedelta(0))
    window = 5
    with (
        running_simulator(answer_delay=0.03, receipt_delay=0) as lost,
        running_simulator(receipt_delay=0) as up,
    ):
        first, second = scene.carriers(lost, up, window=window)
        scene.queue_many(first, 60)
        with working(first), working(second):
            lost.wait_for(lambda carrier: len(carrier.accepted) >= 15, SECONDS)
            lost.options.refuse_binds = Smpp.ESME_RBINDFAIL
            lost.drop_all()
            until(lambda: swept() and not scene.statuses().keys() & {"queued", "sending"}, SECONDS)
            # The lost carrier sends receipts for what it accepted, once it is back.
            lost.options.refuse_binds = Smpp.ESME_ROK
            scene.settle()

        assert scene.statuses() == {"delivered": 60}
        times = times_submitted(lost, up)
        assert len(times) == 60
        assert max(times.values()) <= 2
        assert sum(times.values()) - 60 <= window
        assert up.submits


def swept() -> bool:
    sweeps.requeue_abandoned()
    failover.reroute_from_down()
    return True


# ---------------------------------------------------------------- receipts


@pytest.mark.parametrize(
    ("written", "in_receipts"),
    [("decimal", "hex"), ("hex", "decimal"), ("hex", "same"), ("uuid", "same")],
)
def test_ids_match_in_every_format(scene: Scene, written: Any, in_receipts: Any) -> None:
    forms = {
        "submit_id_form": "as_is" if in_receipts == "same" else written,
        "receipt_id_form": "as_is" if in_receipts == "same" else in_receipts,
    }
    with running_simulator(
        id_form=written, receipt_id_form=in_receipts, receipt_delay=0.01
    ) as simulator:
        [carrier] = scene.carriers(simulator, **forms)
        messages = [scene.queue(carrier), scene.queue(carrier, LONG)]
        with working(carrier):
            scene.settle()
        assert [status_of(message) for message in messages] == ["delivered"] * 2
        assert not EarlyReceipt.objects.filter(carrier=carrier).exists()


def test_a_receipt_before_the_response_is_kept(scene: Scene) -> None:
    scene.world.endpoint(scene.customer, "message.sent", "message.delivered")
    with running_simulator(blackhole=True) as simulator:
        [carrier] = scene.carriers(simulator)
        message = scene.queue(carrier)
        early = EarlyReceipt.objects.filter(carrier=carrier)
        with working(carrier):
            simulator.wait_for(lambda carrier: carrier.submits, SECONDS)
            deliver(simulator, receipt("42"))
            until(lambda: simulator.tally.receipts_answered == 1, SECONDS)
            assert early.count() == 1
            assert status_of(message) == Status.SENDING

            [line] = bound_lines(simulator)
            submit = simulator.submits[0].pdu
            simulator.call(lambda: line.respond(submit, message_id="42"))
            wait_for(message, Status.DELIVERED)
        assert not early.exists()
        assert Counter(scene.customer.events()) == {
            ("message.sent", message.id): 1,
            ("message.delivered", message.id): 1,
        }


def test_receipts_of_an_unbinding_carrier_are_applied_to_the_end(scene: Scene) -> None:
    """It unbinds with responses and receipts outstanding: none of them is lost."""
    with running_simulator(
        unbind_after=40, answer_delay=0.3, receipt_delay=0.05, receipt_attempts=1
    ) as simulator:
        [carrier] = scene.carriers(simulator, window=50)
        scene.queue_many(carrier, 100)
        with working(carrier):
            scene.settle()
            until(lambda: simulator.tally.receipts_answered >= 100, SECONDS)
        assert scene.statuses() == {"delivered": 100}
        assert simulator.tally.receipts_refused == simulator.tally.receipts_lost == 0
        # Submits that still got a response are not repeated.
        assert set(times_submitted(simulator).values()) == {1}


def test_a_duplicate_receipt_counts_once_and_gets_two_responses(scene: Scene) -> None:
    scene.world.endpoint(scene.customer, "message.delivered")
    with running_simulator(time_scale=0) as simulator:
        [carrier] = scene.carriers(simulator)
        messages = [scene.queue(carrier, to=NUMBER.format(6)) for _ in range(10)]
        with working(carrier):
            until(lambda: simulator.tally.receipts_answered == 20, SECONDS)
            scene.settle()
        assert Counter(scene.customer.events()) == {
            ("message.delivered", message.id): 1 for message in messages
        }


def test_unmatched_receipts_and_other_pdus_get_a_response(scene: Scene) -> None:
    unknown, underway = receipt("123456"), receipt("77", "ENROUTE")
    forged = DeliverSm(source_addr="966512345678", short_message=receipt("78").short_message)
    reply = DeliverSm(source_addr="966512345678", short_message=b"Stop")
    strange = DeliverSm(
        esm_class=ESM_DELIVERY_RECEIPT,
        short_message=bytes(range(256))[:254],
        tlvs={Tag.RECEIPTED_MESSAGE_ID: b"\xff\x00\x00"},
    )
    with running_simulator() as simulator:
        [carrier] = scene.carriers(simulator)
        with working(carrier) as running:
            for pdu in (unknown, forged, underway, reply, strange):
                deliver(simulator, pdu)
            until(lambda: simulator.tally.receipts_answered == 5, SECONDS)
            assert simulator.tally.receipts_refused == 0
            assert running.worker.pool.binds[0].receipts == 5
        kept = EarlyReceipt.objects.filter(carrier=carrier)
        assert set(kept.values_list("carrier_message_id", "status", "reason")) == {
            ("123456", "delivered", "unmatched"),
            ("78", "delivered", "unmarked"),
            ("ÿ", "", "unreadable"),
        }


UNUSED: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    (
        {"receipt_esm_class": 0, "receipt_style": "text"},
        {"receipts_unmarked": True},
        "unmarked",
        "",
    ),
    ({"receipt_state": 1}, {"receipt_text_first": True}, "contradiction", ""),
    (
        {"receipt_word": "NODLV", "receipt_style": "text"},
        {"receipt_words": {"NODLV": "failed"}},
        "unknown_word",
        "NODLV",
    ),
    ({"receipt_by": "data_sm"}, {"receipts_by_data_sm": True}, "data_sm", ""),
]


@pytest.mark.parametrize(
    ("options", "setting", "reason", "word"), UNUSED, ids=[row[2] for row in UNUSED]
)
def test_unused_receipts_are_kept_and_applied_once_a_setting_allows_them(
    scene: Scene, options: dict[str, Any], setting: dict[str, Any], reason: str, word: str
) -> None:
    """None is refused or dropped: operators see them, change a setting, and they are applied."""
    with running_simulator(receipt_delay=0.05, **options) as simulator:
        [carrier] = scene.carriers(
            simulator, receipts_by_data_sm="receipts_by_data_sm" not in setting
        )
        failing = scene.queue(carrier, to=NUMBER.format(2))
        with working(carrier):
            until(lambda: simulator.tally.receipts_answered == 1, SECONDS)
            assert simulator.tally.receipts_refused == 0
            kept = EarlyReceipt.objects.get(carrier=carrier)
            assert (kept.reason, kept.word or word) == (reason, word or kept.word)
            assert kept.carrier_message_id == simulator.accepted[0].message_id
            assert "id:" in kept.raw
            assert status_of(failing) == Status.SENT
            assert receipts.use_kept() == 0

            change(carrier, **setting)
            assert receipts.use_kept() == 1
            assert not EarlyReceipt.objects.filter(carrier=carrier).exists()
            assert status_of(failing) == Status.FAILED
            assert failing.error_code == (word or "UNDELIV")
            # From now on, they are applied on arrival, once the worker has the new setting.
            later = scene.queue(carrier, to=NUMBER.format(2))
            until(lambda: receipts.use_kept() or status_of(later) == Status.FAILED, SECONDS)
            wait_for(later, Status.FAILED)


def test_receipts_by_data_sm_are_applied_by_default(scene: Scene) -> None:
    with running_simulator(receipt_delay=0.05, receipt_by="data_sm") as simulator:
        [carrier] = scene.carriers(simulator)
        scene.queue_many(carrier, 5)
        with working(carrier):
            scene.settle()
        assert scene.statuses() == {"delivered": 5}


def test_receipts_with_too_long_fields_are_applied(scene: Scene) -> None:
    with running_simulator(receipt_delay=0.05, receipt_long=True) as simulator:
        [carrier] = scene.carriers(simulator)
        scene.queue_many(carrier, 5)
        with working(carrier):
            scene.settle()
        assert scene.statuses() == {"delivered": 5}
        assert simulator.tally.receipts_refused == 0


def test_a_receipt_that_cannot_be_applied_is_kept_as_unwritable(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = receipts._apply

    def apply(carrier_id: int, batch: Any, **named: Any) -> Any:
        if batch:
            raise KeyError("made up")
        return original(carrier_id, batch, **named)

    monkeypatch.setattr(receipts, "_apply", apply)
    with running_simulator(receipt_delay=0.05) as simulator:
        [carrier] = scene.carriers(simulator)
        scene.queue(carrier)
        with working(carrier):
            until(lambda: simulator.tally.receipts_answered == 1, SECONDS)
        kept = EarlyReceipt.objects.get(carrier=carrier)
        assert (kept.reason, kept.status) == ("unwritable", "delivered")
        assert kept.carrier_message_id == simulator.accepted[0].message_id


def test_a_receipt_that_cannot_be_stored_at_all_stays_with_the_carrier(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any, **_named: Any) -> None:
        raise KeyError("made up")

    # The only receipt is the test's own.
    with running_simulator(receipt_delay=600, receipt_retry_delay=0.1) as simulator:
        [carrier] = scene.carriers(simulator)
        message = scene.queue(carrier)
        with working(carrier):
            wait_for(message, Status.SENT)
            with monkeypatch.context() as broken:
                broken.setattr(receipts, "apply", fail)
                deliver(simulator, receipt(simulator.accepted[0].message_id))
                until(lambda: simulator.tally.receipts_refused >= 2, SECONDS)
            until(lambda: simulator.tally.receipts_answered, SECONDS)
            wait_for(message, Status.DELIVERED)


def test_a_receipt_gets_its_response_only_after_the_commit(scene: Scene) -> None:
    with running_simulator(receipt_delay=600) as simulator:
        [carrier] = scene.carriers(simulator)
        message = scene.queue(carrier)
        with working(carrier):
            wait_for(message, Status.SENT)
            with transaction.atomic():
                locked = Message.objects.select_for_update().get(id=message.id)
                deliver(simulator, receipt(simulator.accepted[0].message_id))
                until(waits_for_a_lock, SECONDS)
                assert locked.status == Status.SENT
                assert simulator.tally.receipts_sent == 1
                assert simulator.tally.receipts_answered == 0
                time.sleep(0.1)  # nor after a while
                assert simulator.tally.receipts_answered == 0
            until(lambda: simulator.tally.receipts_answered == 1, SECONDS)
            assert status_of(message) == Status.DELIVERED


def waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])


# ---------------------------------------------------------------- settings and status


def change(carrier: Carrier, **fields: Any) -> None:
    Carrier.objects.filter(id=carrier.id).update(**fields)


def test_pause_stops_submitting_within_a_claim_and_resume_continues(scene: Scene) -> None:
    with running_simulator(receipt_delay=0) as simulator:
        [carrier] = scene.carriers(simulator, throughput=40)
        scene.queue_many(carrier, 300)
        with working(carrier) as running:
            links = [bind.link for bind in running.worker.pool.binds]
            simulator.wait_for(lambda carrier: len(carrier.submits) >= 10, SECONDS)
            change(carrier, paused=True)
            until(lambda: running.worker.carrier.paused, SECONDS)
            until(lambda: set(scene.statuses()) == {"queued", "delivered"}, SECONDS, scene.statuses)
            submitted = len(simulator.submits)
            assert submitted < 300
            scene.queue(carrier)
            running.wake()
            time.sleep(0.3)  # several polls of the queue
            assert len(simulator.submits) == submitted
            assert running.bound

            change(carrier, paused=False, throughput=0)
            scene.settle()
            # Neither that nor a new throughput needs new binds.
            assert [bind.link for bind in running.worker.pool.binds] == links
        assert scene.statuses() == {"delivered": 301}
        assert set(times_submitted(simulator).values()) == {1}


def test_draining_stops_submits_but_not_receipts(scene: Scene) -> None:
    with running_simulator(receipt_delay=1) as simulator:
        [carrier] = scene.carriers(simulator, throughput=40)
        scene.queue_many(carrier, 120)
        with working(carrier) as running:
            simulator.wait_for(lambda carrier: len(carrier.submits) >= 10, SECONDS)
            change(carrier, draining=True)
            until(lambda: running.worker.carrier.draining, SECONDS)
            until(lambda: set(scene.statuses()) == {"queued", "delivered"}, SECONDS, scene.statuses)
            delivered = scene.statuses()["delivered"]
            assert delivered == len(simulator.submits) < 120
            assert running.bound

            def counted() -> bool:
                counted = traffic.since(timezone.now() - timedelta(hours=1))
                tally = counted.get(carrier.pk, Tally())
                return (tally.accepted, tally.delivered) == (delivered, delivered)

            until(counted, SECONDS)
            change(carrier, draining=False, throughput=0)
            scene.settle()
        assert scene.statuses() == {"delivered": 120}
        assert set(times_submitted(simulator).values()) == {1}


def test_a_new_window_needs_no_new_binds(scene: Scene) -> None:
    with running_simulator(blackhole=True) as simulator:
        [carrier] = scene.carriers(simulator, window=2)
        scene.queue_many(carrier, 20)
        with working(carrier) as running:
            link = running.worker.pool.binds[0].link
            simulator.wait_for(lambda carrier: len(carrier.submits) == 2, SECONDS)
            change(carrier, window=7)
            simulator.wait_for(lambda carrier: len(carrier.submits) == 7, SECONDS)
            assert running.worker.pool.binds[0].link is link
            simulator.drop_all()  # or the stop would wait for the responses


def test_new_settings_bind_after_the_old_binds_are_gone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals: list[int] = []
    refusal = Accounts.refusal

    def spy(self: Accounts, bind: Any) -> int:
        refusals.append(refusal(self, bind))
        return refusals[-1]

    monkeypatch.setattr(Accounts, "refusal", spy)
    with running_simulator(max_binds=2, answer_delay=0.02, receipt_delay=0) as simulator:
        [carrier] = scene.carriers(simulator, binds=2, window=5)
        scene.queue_many(carrier, 200)
        with working(carrier) as running:
            simulator.wait_for(lambda carrier: len(carrier.accepted) >= 20, SECONDS)
            change(carrier, system_type="new")
            until(lambda: running.worker.carrier.system_type == "new", SECONDS)
            scene.settle()
            assert {link.bind.system_type for link in bound_lines(simulator)} == {"new"}
            change(carrier, binds=1, bind_mode="tx_rx")
            until(lambda: len(running.worker.pool.binds) == 2 and running.bound, SECONDS)
            until(lambda: [row.mode for row in bind_rows(carrier)] == ["tx", "rx"], SECONDS)
            change(carrier, bind_mode="trx")
            until(lambda: [row.mode for row in bind_rows(carrier)] == ["trx"], SECONDS)
        assert scene.statuses() == {"delivered": 200}
        assert set(times_submitted(simulator).values()) == {1}
        assert set(refusals) == {Smpp.ESME_ROK}


def bound_lines(simulator: RunningSimulator) -> list[Any]:
    return simulator.call(lambda: [line for line in simulator._simulator.lines if line.bound])


def bind_rows(carrier: Carrier) -> list[CarrierBind]:
    return list(CarrierBind.objects.filter(carrier=carrier).order_by("worker", "number"))


def test_current_bind_status_is_reported(scene: Scene) -> None:
    with running_simulator(password="secret", receipt_delay=0) as simulator:
        [carrier] = scene.carriers(simulator, binds=2, window=3, password="wrong")
        for worker, age in (("dead:1", 120), ("other:2", 20)):
            updated = timezone.now() - timedelta(seconds=age)
            CarrierBind.objects.create(
                carrier=carrier,
                worker=worker,
                number=0,
                mode="trx",
                state="bound",
                since=updated,
                updated_at=updated,
            )
        with working(carrier, bound=False) as running:

            def mine() -> list[CarrierBind]:
                return [row for row in bind_rows(carrier) if row.worker == running.worker.name]

            error = "bind refused: ESME_RINVPASWD (0x0000000E): invalid password"
            until(lambda: [row.last_error for row in mine()] == [error] * 2, SECONDS)
            assert {row.state for row in mine()} <= {"connecting", "waiting"}
            # Dead workers' rows are deleted; those of workers that may be alive are kept.
            until(lambda: {row.worker for row in bind_rows(carrier)} == {
                "other:2", running.worker.name,
            }, SECONDS)  # fmt: skip

            change(carrier, password="secret")
            until(lambda: [row.state for row in mine()] == ["bound"] * 2, SECONDS)
            assert [(row.number, row.mode, row.last_error) for row in mine()] == [
                (0, "trx", ""),
                (1, "trx", ""),
            ]
            scene.queue_many(carrier, 10)
            until(lambda: sum(row.submitted for row in mine()) == 10, SECONDS)
            until(lambda: sum(row.receipts for row in mine()) == 10, SECONDS)
            until(lambda: [row.in_flight for row in mine()] == [0, 0], SECONDS)
            simulator.options.blackhole = True
            scene.queue_many(carrier, 10)
            until(lambda: [row.in_flight for row in mine()] == [3, 3], SECONDS)
            seen = mine()[0].updated_at
            until(lambda: mine()[0].updated_at > seen, SECONDS)
            simulator.drop_all()


# ---------------------------------------------------------------- shutdown


def test_shutdown_finishes_pending_submits_and_returns_the_rest(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[CloseReason] = []
    original = Simulator._on_closed

    def on_closed(self: Simulator, link: Any, reason: Closed, unanswered: object) -> None:
        ends.append(reason.reason)
        original(self, link, reason, unanswered)

    monkeypatch.setattr(Simulator, "_on_closed", on_closed)
    with running_simulator(answer_delay=0.2, receipt_delay=0) as simulator:
        [carrier] = scene.carriers(simulator, binds=2, window=5)
        scene.queue_many(carrier, 100)
        with working(carrier) as running:
            simulator.wait_for(lambda carrier: len(carrier.accepted) >= 12, SECONDS)
            running.stop()

        assert ends == [CloseReason.PEER_UNBOUND] * 2
        statuses = scene.statuses()
        done = len(simulator.accepted)
        assert statuses["sending"] == 0
        assert statuses["queued"] == 100 - done > 0
        assert statuses["sent"] + statuses["delivered"] == done
        left = Message.objects.filter(carrier=carrier, status=Status.QUEUED)
        assert set(left.values_list("lease", "submits", "unanswered")) == {(None, 0, 0)}
        assert not Attempt.objects.filter(carrier=carrier).exists()
        rows = bind_rows(carrier)
        assert {(row.state, row.in_flight, row.last_error) for row in rows} == {
            ("waiting", 0, "the carrier worker was stopped")
        }

        simulator.options.answer_delay = 0
        with working(carrier, name="next"):
            scene.settle()
        assert scene.statuses() == {"delivered": 100}
        assert set(times_submitted(simulator).values()) == {1}


def test_shutdown_has_a_deadline_and_records_unanswered_submits(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier_worker, "STOP_SECONDS", 1.0)
    with running_simulator(blackhole=True) as simulator:
        [carrier] = scene.carriers(simulator, window=4)
        long = scene.queue(carrier, LONG)
        with working(carrier) as running:
            simulator.wait_for(lambda carrier: len(carrier.submits) == long.parts, SECONDS)
            scene.queue_many(carrier, 30)
            simulator.wait_for(lambda carrier: len(carrier.submits) == 4, SECONDS)
            assert running.stop() < 10
        assert scene.statuses() == {"queued": 31}
        rows = Message.objects.filter(carrier=carrier)
        unanswered_numbers = {f"+{submit.destination}" for submit in simulator.submits}
        assert {row.to for row in rows if row.unanswered == 1} == unanswered_numbers
        assert {row.to for row in rows if row.submits == 1} == unanswered_numbers
        assert {row.lease for row in rows} == {None}
        assert attempts_of(long) == [("unanswered", None)]


def test_a_stopped_worker_returns_its_database_connections(scene: Scene) -> None:
    with running_simulator(receipt_delay=0) as simulator:
        [carrier] = scene.carriers(simulator)
        pool = connection.pool  # type: ignore[attr-defined]
        for number in range(3):
            scene.queue_many(carrier, 20)
            with working(carrier, name=f"worker {number}"):
                scene.settle()
            until(lambda: connections_in_use(pool) <= 1, SECONDS, pool.get_stats)


def connections_in_use(pool: Any) -> int:
    stats = pool.get_stats()
    return int(stats["pool_size"] - stats["pool_available"])


# ---------------------------------------------------------------- the database


@contextmanager
def database_down() -> Iterator[None]:
    """Cut every database session but this thread's, and refuse new ones."""
    name = connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        mine = cursor.fetchone()[0]
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as other:
        other.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND pid <> %s AND backend_type = 'client backend'",
                [name, mine],
            )
            yield
        finally:
            other.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def test_a_database_outage_loses_nothing(scene: Scene, settings) -> None:
    settings.CARRIER_LEASE = 10
    window = 9
    with running_simulator(answer_delay=0.02, receipt_delay=0.05) as simulator:
        [carrier] = scene.carriers(simulator, window=window)
        scene.queue_many(carrier, 300)
        with working(carrier) as running:
            simulator.wait_for(lambda carrier: len(carrier.accepted) >= 50, SECONDS)
            with database_down():
                # Only a commit releases a slot, so at most one window is submitted.
                simulator.wait_for(
                    lambda carrier: running.worker.pool.binds[0].in_use == window, SECONDS
                )
                simulator.wait_for(
                    lambda carrier: carrier.tally.receipts_sent > carrier.tally.receipts_answered,
                    SECONDS,
                )
                time.sleep(0.5)  # a while
                assert running.worker.pool.binds[0].in_use == window
                assert simulator.tally.receipts_sent > simulator.tally.receipts_answered
                assert len(simulator.submits) < 300
            scene.settle(sweeps.requeue_abandoned)
            until(lambda: simulator.waiting_receipts == 0, SECONDS)

        assert scene.statuses() == {"delivered": 300}
        times = times_submitted(simulator)
        assert len(times) == 300
        assert sum(times.values()) - 300 <= window


def test_repeatedly_cut_database_sessions_lose_nothing(scene: Scene, settings) -> None:
    settings.CARRIER_LEASE = 10
    with running_simulator(answer_delay=0.005, receipt_delay=0.01) as simulator:
        [carrier] = scene.carriers(simulator, window=20)
        scene.queue_many(carrier, 300)
        with working(carrier):
            for goal in (50, 100, 150, 200):
                simulator.wait_for(lambda c, goal=goal: len(c.accepted) >= goal, SECONDS)  # type: ignore[misc]
                with connection.cursor() as cursor:
                    cursor.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                        " AND backend_type = 'client backend'"
                    )
            scene.settle(sweeps.requeue_abandoned)
        assert scene.statuses() == {"delivered": 300}
        assert len(times_submitted(simulator)) == 300


def test_a_row_that_the_database_refuses_blocks_no_other(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here because of an id that no column can hold, in the response and in the receipt."""
    original = smpp_receipt.normalize_id
    bad: set[str] = set()

    def normalize_id(message_id: str, form: Any) -> str:
        if int(message_id) % 10 == 3:
            bad.add(message_id)
            return "x" * 300
        return original(message_id, form)

    monkeypatch.setattr(carrier_worker, "normalize_id", normalize_id)
    monkeypatch.setattr(receipt_rules, "normalize_id", normalize_id)
    with running_simulator(receipt_delay=0.05) as simulator:
        [carrier] = scene.carriers(simulator)
        scene.queue_many(carrier, 50)
        with working(carrier):
            until(lambda: simulator.tally.receipts_answered == 50, SECONDS)
            # Receipts that cannot be applied are acknowledged because they are kept for operators.
            unwritable = EarlyReceipt.objects.filter(carrier=carrier, reason="unwritable")
            assert unwritable.count() == 5
            until(lambda: not scene.statuses().keys() & {"queued", "sending"}, SECONDS)
        assert len(bad) == 5
        # It was accepted once and is not submitted again; its receipts cannot be matched.
        assert scene.statuses() == {"delivered": 45, "sent": 5}
        assert set(times_submitted(simulator).values()) == {1}


def test_a_failing_receipt_does_not_affect_others(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here because of a bug in the code, which no database would notice."""
    original = receipts.apply

    def apply(carrier_id: int, batch: Any) -> None:
        if any(receipt.code.startswith("UNDELIV") for receipt in batch):
            raise KeyError("made up")
        original(carrier_id, batch)

    monkeypatch.setattr(receipts, "apply", apply)
    with running_simulator(receipt_delay=0.05) as simulator:
        [carrier] = scene.carriers(simulator)
        scene.queue_many(carrier, 20)
        bad = scene.queue(carrier, to=NUMBER.format(2))
        with working(carrier) as worker:
            until(lambda: simulator.tally.receipts_answered == 21, SECONDS)
            assert worker.failure is None
        assert scene.statuses() == {"delivered": 20, "sent": 1}
        assert status_of(bad) == "sent"


@pytest.mark.parametrize("sqlstate", PASSING)
def test_a_receipt_is_not_acknowledged_during_a_database_outage(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, sqlstate: str
) -> None:
    monkeypatch.setattr(receipt_intake, "RESPONSE_SECONDS", 0.2)
    with running_simulator(
        receipt_delay=0.05, receipt_attempts=1000, receipt_retry_delay=0.1
    ) as simulator:
        [carrier] = scene.carriers(simulator)
        with working(carrier):
            with failing("messaging_messagepart", sqlstate, on="UPDATE"):
                scene.queue_many(carrier, 20)
                simulator.wait_for(lambda carrier: carrier.tally.receipts_refused > 40, SECONDS)
                assert simulator.tally.receipts_answered == 0
                assert scene.statuses() == {"sent": 20}
            scene.settle()
            until(lambda: simulator.tally.receipts_answered == 20, SECONDS)
        assert scene.statuses() == {"delivered": 20}
        assert set(times_submitted(simulator).values()) == {1}


def test_a_carrier_that_never_resends_loses_no_receipt(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipt_intake, "RESPONSE_SECONDS", 0.2)
    with running_simulator(receipt_delay=0.05, receipt_attempts=1) as simulator:
        [carrier] = scene.carriers(simulator)
        with working(carrier):
            with failing("messaging_messagepart", "25006", on="UPDATE"):
                scene.queue_many(carrier, 20)
                simulator.wait_for(lambda carrier: carrier.tally.receipts_lost == 20, SECONDS)
            scene.settle()
        assert scene.statuses() == {"delivered": 20}


@pytest.mark.parametrize("sqlstate", PASSING)
def test_a_result_keeps_its_slot_until_it_is_committed(scene: Scene, sqlstate: str) -> None:
    with running_simulator(receipt_delay=0.05) as simulator:
        [carrier] = scene.carriers(simulator, window=7)
        with working(carrier) as running:
            with failing("messaging_messagepart", sqlstate):
                scene.queue_many(carrier, 40)
                simulator.wait_for(lambda carrier: len(carrier.accepted) == 7, SECONDS)
                time.sleep(0.5)  # nothing more may be submitted meanwhile
                assert len(simulator.submits) == 7
                assert running.worker.pool.binds[0].in_use == 7
            scene.settle()
        assert scene.statuses() == {"delivered": 40}
        assert set(times_submitted(simulator).values()) == {1}


def test_an_outage_longer_than_the_lease_resubmits_nothing(
    scene: Scene, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other worker claims what a live worker could not write, however the sweeps run."""
    settings.CARRIER_LEASE = 2
    monkeypatch.setattr(worker_liveness, "SILENT_SECONDS", 3.0)
    with running_simulator(receipt_delay=0.05) as simulator:
        [carrier] = scene.carriers(simulator, window=20)
        with working(carrier):
            scene.queue_many(carrier, 5)
            scene.settle()
            with failing("messaging_messagepart", "25006"):
                scene.queue_many(carrier, 15)
                simulator.wait_for(lambda carrier: len(carrier.accepted) == 20, SECONDS)
                until_over = time.monotonic() + 2 * settings.CARRIER_LEASE
                while time.monotonic() < until_over:
                    sweep()
            scene.settle(sweep)
        assert len(simulator.submits) == 20


def sweep() -> None:
    """Run the sweeps that concern workers with claimed messages."""
    sweeps.release_dead()
    sweeps.requeue_abandoned()
    time.sleep(0.05)


def test_a_worker_wrongly_declared_dead_continues_with_a_new_lease(scene: Scene) -> None:
    """Its claims went to other workers: it submits none of them, and claims again."""
    # The first submit holds the only slot while the worker is declared dead and notices it, so that
    # the second message waits for the slot meanwhile.
    with running_simulator(receipt_delay=0.05, answer_delay=8) as simulator:
        [carrier] = scene.carriers(simulator, window=1)
        scene.queue_many(carrier, 12)
        with working(carrier) as running:
            simulator.wait_for(lambda carrier: len(carrier.submits) == 1, SECONDS)
            lease = running.worker.lease
            worker_liveness.report_end(lease)
            sweeps.release_dead()
            until(lambda: running.worker.lease != lease, SECONDS)
            simulator.options.answer_delay = 0
            scene.settle()
            assert running.worker._held == {}
        assert scene.statuses() == {"delivered": 12}
        # Only the message outstanding at that moment was sent twice.
        assert sorted(times_submitted(simulator).values()) == [1] * 11 + [2]


# ---------------------------------------------------------------- several workers


def test_two_workers_of_one_carrier_share_its_queue(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier_worker, "CLAIM_AT_MOST", 10)
    with running_simulator(answer_delay=0.01, receipt_delay=0.01) as simulator:
        [carrier] = scene.carriers(simulator, window=5)
        with working(carrier, name="one") as one, working(carrier, name="two") as two:
            assert simulator.bound == 2
            scene.queue_many(carrier, 300)
            for running in (one, two):
                running.wake()
            scene.settle()
            until(lambda: {row.worker for row in bind_rows(carrier)} == {"one", "two"}, SECONDS)
            assert one.submitted + two.submitted == 300
            assert min(one.submitted, two.submitted) > 0
        assert scene.statuses() == {"delivered": 300}
        assert set(times_submitted(simulator).values()) == {1}


def test_urgent_messages_overtake_bulk_messages(scene: Scene) -> None:
    with running_simulator(receipt_delay=0) as simulator:
        [carrier] = scene.carriers(simulator, throughput=50)
        scene.queue_many(carrier, 200)
        with working(carrier) as running:
            simulator.wait_for(lambda carrier: len(carrier.submits) >= 10, SECONDS)
            before = len(simulator.submits)
            urgent = scene.queue(carrier, to="+966560000000", urgent=True)
            running.wake()
            wait_for(urgent, Status.DELIVERED)
            order = [submit.destination for submit in simulator.submits]
            position = order.index("966560000000")
            assert before <= position < 200
            change(carrier, throughput=0)
            scene.settle()


# ---------------------------------------------------------------- the process


@contextmanager
def worker_process(carrier: Carrier) -> Iterator[subprocess.Popen[str]]:
    """Start a carrier worker like the platform does."""
    environment = os.environ | {"IMISSIVE_CARRIER": carrier.slug, "DATABASE_URL": database_url()}
    process = subprocess.Popen(
        carrier_command(read_env(), carrier.slug),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


def ended(process: subprocess.Popen[str]) -> tuple[float, str]:
    """Send SIGTERM to a process; return the seconds until it ended, and its output."""
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    output, _ = process.communicate(timeout=SECONDS)
    return time.monotonic() - started, output


def test_a_real_worker_process_stops_gracefully_on_sigterm(scene: Scene) -> None:
    with running_simulator(answer_delay=0.2, receipt_delay=0.1) as simulator:
        [carrier] = scene.carriers(simulator, window=10)
        with worker_process(carrier) as process:
            simulator.wait_for(lambda carrier: carrier.bound == 1 or process.poll(), SECONDS)
            scene.queue_many(carrier, 200)
            simulator.wait_for(lambda carrier: len(carrier.accepted) >= 15, SECONDS)
            took, output = ended(process)

        assert process.returncode == 0, output
        assert took < carriers.GRACE, output
        assert "Traceback" not in output
        assert simulator.connections == 0
        statuses = scene.statuses()
        done = len(simulator.accepted)
        assert statuses["sending"] == 0, output
        assert statuses["queued"] == 200 - done > 0
        assert statuses["sent"] + statuses["delivered"] == done
        assert {row.state for row in bind_rows(carrier)} == {"waiting"}


def test_a_real_worker_process_under_load_stops_within_its_grace_period(scene: Scene) -> None:
    with running_simulator(receipt_delay=0.0) as simulator:
        [carrier] = scene.carriers(simulator, window=200, binds=2)
        with worker_process(carrier) as process:
            simulator.wait_for(lambda carrier: carrier.bound == 2 or process.poll(), SECONDS)
            for _ in range(10):
                scene.queue_many(carrier, 2_000)
            simulator.wait_for(lambda carrier: carrier.tally.accepted >= 2_000, SECONDS)
            took, output = ended(process)
        assert process.returncode == 0, output
        assert took < carriers.GRACE, output
        statuses = scene.statuses()
        assert statuses["sending"] == 0, output
        assert statuses["sent"] + statuses["delivered"] == simulator.tally.accepted
        assert statuses["queued"] == 20_000 - simulator.tally.submits > 0


def test_a_real_worker_process_hanging_in_the_database_stops_within_its_grace_period(
    scene: Scene,
) -> None:
    """Otherwise it is killed: its supervisor does not wait for locks."""
    with running_simulator(answer_delay=0.2) as simulator:
        [carrier] = scene.carriers(simulator, window=10)
        with worker_process(carrier) as process:
            simulator.wait_for(lambda carrier: carrier.bound == 1 or process.poll(), SECONDS)
            scene.queue_many(carrier, 50)
            simulator.wait_for(lambda carrier: len(carrier.accepted) >= 5, SECONDS)
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("LOCK TABLE messaging_message IN ACCESS EXCLUSIVE MODE")
                took, output = ended(process)
        assert took < carriers.GRACE, output
        assert "carrier_worker_cut_short" in output
        assert simulator.connections == 0


def database_url() -> str:
    """Return the test database's URL, for another process."""
    name = connection.settings_dict["NAME"]
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
