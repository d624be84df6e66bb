"""Faults of the simulator by its options, and receipts that are not acknowledged."""

from __future__ import annotations

import threading
import time

import pytest

from messaging.smpp import pdus
from messaging.smpp.codec import FrameError
from messaging.smpp.constants import Status
from messaging.smpp.simulator import behaviours
from tests.support.simulators import running_simulator
from tests.support.smpp_clients import (
    RawEsme,
    raw_esme,
    serves,
    submit_sm,
)

NEVER = 3600.0  # a receipt_delay beyond the end of the test


def statuses(esme: RawEsme, count: int) -> list[int]:
    """Return the statuses of that many submits in one window."""
    sequences = esme.send(*(submit_sm(b"%d" % i) for i in range(count)))
    responses = [esme.receive() for _ in sequences]
    assert sorted(response.sequence for response in responses) == sequences
    return [response.status for response in responses]


# -- refusals and slow responses --------------------------------------------------------------


def test_rate_limit():
    with running_simulator(receipt_delay=NEVER, rate_limit=20) as simulator:
        with raw_esme(simulator.port) as esme:
            results = statuses(esme, 40)
            assert results[:20] == [0] * 20
            assert results.count(Status.ESME_RTHROTTLED) >= 18
            assert serves(simulator.port)  # another system_id has its own rate
            time.sleep(0.2)
            assert 3 <= statuses(esme, 40).count(0) < 40
        assert simulator.tally.submits == 81


def test_refusals_come_and_go():
    refusals = {Status.ESME_RMSGQFUL: 0.25, Status.ESME_RTHROTTLED: 0.25}
    with (
        running_simulator(receipt_delay=NEVER, refusals=refusals) as simulator,
        raw_esme(simulator.port) as esme,
    ):
        results = statuses(esme, 400)
        for status, expected in ((0, 200), *((status, 100) for status in refusals)):
            assert abs(results.count(status) - expected) < 50
        simulator.options.refusals = {Status.ESME_RSYSERR: 1.0}
        assert statuses(esme, 10) == [Status.ESME_RSYSERR] * 10
        simulator.options.refusals = {}
        assert statuses(esme, 10) == [0] * 10


def test_slow_responses():
    with (
        running_simulator(receipt_delay=0, answer_delay=0.2) as simulator,
        raw_esme(simulator.port) as esme,
    ):
        start = time.monotonic()
        esme.send(submit_sm(), submit_sm())
        kinds = [type(esme.receive()) for _ in range(4)]
        assert time.monotonic() - start >= 0.2
        assert kinds[0] is pdus.SubmitSmResp  # no receipt before its response


def test_jitter_lets_responses_overtake():
    with (
        running_simulator(receipt_delay=NEVER, answer_jitter=0.1) as simulator,
        raw_esme(simulator.port) as esme,
    ):
        sequences = esme.send(*(submit_sm() for _ in range(20)))
        answered = [esme.receive().sequence for _ in sequences]
        assert answered != sequences
        assert sorted(answered) == sequences


def test_blackhole():
    with (
        running_simulator(receipt_delay=0, blackhole=True) as simulator,
        raw_esme(simulator.port) as esme,
    ):
        esme.send(*(submit_sm() for _ in range(1500)))
        simulator.wait_for(lambda sim: sim.tally.submits == 1500)
        assert isinstance(esme.request(pdus.EnquireLink()), pdus.EnquireLinkResp)
        assert {submit.status for submit in simulator.submits} == {None}
        simulator.options.blackhole = False
        assert esme.request(submit_sm()).status == 0


def test_enquire_link_ignored():
    with (
        running_simulator(receipt_delay=NEVER, ignore_enquire_link=True) as simulator,
        raw_esme(simulator.port) as esme,
    ):
        esme.send(pdus.EnquireLink())
        assert esme.request(submit_sm()).status == 0  # and nothing came before it
        simulator.options.ignore_enquire_link = False
        assert isinstance(esme.request(pdus.EnquireLink()), pdus.EnquireLinkResp)


# -- broken connections -----------------------------------------------------------------------


def test_connection_dropped_within_a_window():
    with running_simulator(receipt_delay=0.01, drop_after=10) as simulator:
        with raw_esme(simulator.port, pdus.BindTransmitter) as esme:
            esme.send(*(submit_sm(b"%d" % i) for i in range(20)))
            answered = []
            while (pdu := esme.receive()) is not None:
                answered.append(pdu)
        assert len(answered) < 10
        accepted = simulator.accepted
        assert [submit.text for submit in accepted] == [str(i) for i in range(10)]
        assert accepted[-1].status is None
        simulator.wait_for(lambda sim: sim.waiting_receipts == 10)

        with raw_esme(simulator.port, pdus.BindReceiver) as esme:
            receipts = [esme.receive() for _ in range(10)]
        receipted = {pdu.tlv_text(0x001E) for pdu in receipts}
        assert receipted == {submit.message_id for submit in accepted}
        assert simulator.tally.submits == 10


def test_drop_all_and_reconnect():
    with running_simulator(receipt_delay=NEVER) as simulator:
        with raw_esme(simulator.port) as one, raw_esme(simulator.port) as two:
            simulator.drop_all()
            assert one.closed()
            assert two.closed()
        assert simulator.connections == 0
        assert serves(simulator.port)


def test_unbind_all():
    with running_simulator(receipt_delay=NEVER) as simulator, raw_esme(simulator.port) as esme:
        unbinding = threading.Thread(target=simulator.unbind_all)
        unbinding.start()
        unbind = esme.receive()
        assert isinstance(unbind, pdus.Unbind)
        esme.respond(unbind)
        assert esme.closed()
        unbinding.join(5)
        assert simulator.connections == 0


def test_unbound_within_a_window():
    """Pending responses and receipts are still sent after its unbind."""
    with (
        running_simulator(receipt_delay=0.01, unbind_after=2) as simulator,
        raw_esme(simulator.port) as esme,
    ):
        sequences = esme.send(submit_sm(), submit_sm(), submit_sm())
        received = [esme.receive() for _ in range(7)]
        kinds = [type(pdu) for pdu in received]
        assert kinds.count(pdus.Unbind) == 1
        responses = [pdu for pdu in received if isinstance(pdu, pdus.SubmitSmResp)]
        assert [(pdu.sequence, pdu.status) for pdu in responses] == [(n, 0) for n in sequences]
        assert kinds.count(pdus.DeliverSm) == 3


def test_garbage():
    with running_simulator(receipt_delay=NEVER, garbage_after=2) as simulator:
        with raw_esme(simulator.port) as esme:
            assert esme.request(submit_sm()).status == 0
            esme.send(submit_sm())
            with pytest.raises(FrameError):
                esme.receive()
        simulator.options.garbage_after = None
        with raw_esme(simulator.port) as esme:
            simulator.inject(b"\xff" * 64)
            with pytest.raises(FrameError):
                esme.receive()


# -- binds ------------------------------------------------------------------------------------


def test_bind_rules():
    with running_simulator(
        password="secret", system_ids=frozenset({"demo"}), max_binds=2
    ) as simulator:
        port = simulator.port

        def bind(system_id: str, word: str) -> int:
            with raw_esme(port, None) as esme:
                return int(esme.request(pdus.BindTransceiver(system_id, word)).status)

        assert bind("demo", "wrong") == Status.ESME_RINVPASWD
        assert bind("other", "secret") == Status.ESME_RINVSYSID
        with raw_esme(port), raw_esme(port):
            assert bind("demo", "secret") == Status.ESME_RALYBND
        simulator.wait_for(lambda sim: not sim.connections)
        simulator.options.refuse_binds = Status.ESME_RBINDFAIL
        assert bind("demo", "secret") == Status.ESME_RBINDFAIL
        simulator.options.refuse_binds = 0
        assert bind("demo", "secret") == 0


def test_a_refused_bind_may_be_retried():
    with (
        running_simulator(password="secret") as simulator,
        raw_esme(simulator.port, None) as esme,
    ):
        wrong = esme.request(pdus.BindTransceiver("demo", "wrong"))
        assert wrong.status == Status.ESME_RINVPASWD
        esme.bind()
        assert esme.request(submit_sm()).status == 0


# -- unacknowledged receipts ------------------------------------------------------------------


def test_receipts_wait_for_a_receiver_and_rotate():
    with running_simulator(receipt_delay=0) as simulator:
        port = simulator.port
        with raw_esme(port, pdus.BindTransmitter) as sender:
            assert set(statuses(sender, 10)) == {0}
            assert simulator.waiting_receipts == 10
        with (
            raw_esme(port, pdus.BindReceiver, "other") as other,
            raw_esme(port, pdus.BindReceiver) as one,
        ):
            assert len([one.receive() for _ in range(10)]) == 10
            with (
                raw_esme(port, pdus.BindReceiver) as two,
                raw_esme(port, pdus.BindTransmitter) as sender,
            ):
                statuses(sender, 10)
                for receiver in (one, two):
                    assert {type(receiver.receive()) for _ in range(5)} == {pdus.DeliverSm}
            with pytest.raises(TimeoutError):
                other.receive(0.05)


def test_receipts_without_a_response_are_sent_again_on_another_bind():
    with running_simulator(receipt_delay=0, receipt_window=3) as simulator:
        with raw_esme(simulator.port) as esme:
            esme.send(*(submit_sm() for _ in range(5)))
            received = [esme.receive() for _ in range(8)]
            receipts = [pdu for pdu in received if isinstance(pdu, pdus.DeliverSm)]
            assert len(receipts) == 3  # the window is full
            esme.respond(receipts[0])
            fourth = esme.receive()
            assert isinstance(fourth, pdus.DeliverSm)
        with raw_esme(simulator.port, pdus.BindReceiver) as esme:
            again = []
            for _ in range(4):
                pdu = esme.receive()
                esme.respond(pdu)
                again.append(pdu.tlv_text(0x001E))
            ids = [submit.message_id for submit in simulator.submits]
            assert receipts[0].tlv_text(0x001E) == ids[0]
            assert set(again) == set(ids[1:])
        assert simulator.tally.receipts_lost == 0


def test_a_refused_receipt_is_retried_a_few_times():
    with (
        running_simulator(
            receipt_delay=0, receipt_attempts=3, receipt_retry_delay=0.01
        ) as simulator,
        raw_esme(simulator.port) as esme,
    ):
        esme.send(submit_sm())
        assert isinstance(esme.receive(), pdus.SubmitSmResp)
        for _ in range(3):
            receipt = esme.receive()
            esme.respond(receipt, Status.ESME_RX_T_APPN)
        with pytest.raises(TimeoutError):
            esme.receive(0.1)
        assert simulator.tally.receipts_refused == 3
        assert simulator.tally.receipts_lost == 1


# -- decisions --------------------------------------------------------------------------------


def test_the_throttles_forget_the_oldest():
    throttles = behaviours.Throttles()
    first = submit_sm(b"first")
    assert throttles.throttle("demo", first, 2)
    for number in range(10_000):
        throttles.throttle("demo", submit_sm(b"%d" % number), 2)
    assert [throttles.throttle("demo", first, 2) for _ in range(3)] == [True, True, False]


def test_a_rate_allows_a_burst_of_one_second():
    rate = behaviours.Rate()
    assert [rate.allows(2.0, 100.0) for _ in range(3)] == [True, True, False]
    assert [rate.allows(2.0, 100.5) for _ in range(2)] == [True, False]
    assert [rate.allows(2.0, 200.0) for _ in range(3)] == [True, True, False]
