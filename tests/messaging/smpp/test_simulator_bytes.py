"""Hostile bytes: the simulator responds by the specification or closes, and keeps serving."""

from __future__ import annotations

from random import Random

import pytest

from messaging.smpp import pdus
from messaging.smpp.codec import encode
from messaging.smpp.constants import CommandId, Status
from messaging.smpp.handlers import LinkConfig
from tests.support.simulators import running_simulator
from tests.support.smpp_clients import raw_esme, serves, submit_sm


def header(length: int, command_id: int, sequence: int = 7, status: int = 0) -> bytes:
    return b"".join(n.to_bytes(4, "big") for n in (length, command_id, status, sequence))


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("length", [2_000_000_000, 0xFFFFFFFF, 15, 0])
def test_a_length_that_no_pdu_can_have(bound, length):
    with (
        running_simulator() as simulator,
        raw_esme(simulator.port, pdus.BindTransceiver if bound else None) as esme,
    ):
        esme.send_raw(header(length, CommandId.SUBMIT_SM) + b"x" * 1000)
        nack = esme.receive()
        assert isinstance(nack, pdus.GenericNack)
        assert nack.status == Status.ESME_RINVCMDLEN
        assert esme.closed()
        assert serves(simulator.port)


def test_an_unknown_command():
    with running_simulator() as simulator, raw_esme(simulator.port) as esme:
        esme.send_raw(header(20, 0x000000FF) + b"abcd")
        nack = esme.receive()
        assert isinstance(nack, pdus.GenericNack)
        assert (nack.status, nack.sequence) == (Status.ESME_RINVCMDID, 7)
        assert esme.request(submit_sm()).status == 0


@pytest.mark.parametrize("cut", [1, 4, 30])
def test_a_truncated_body(cut):
    frame = encode(submit_sm(b"x" * 20))
    with running_simulator() as simulator, raw_esme(simulator.port) as esme:
        esme.send_raw(header(len(frame) - cut, CommandId.SUBMIT_SM) + frame[16:-cut])
        response = esme.receive()
        assert isinstance(response, pdus.SubmitSmResp)
        assert response.sequence == 7
        assert response.status in (Status.ESME_RINVMSGLEN, Status.ESME_RINVCMDLEN)
        assert esme.request(submit_sm()).status == 0
        assert simulator.tally.submits == 1


def test_a_pdu_that_never_ends():
    config = LinkConfig(session_init_timeout=0.2)
    with running_simulator(config=config) as simulator, raw_esme(simulator.port, None) as esme:
        esme.send_raw(header(1000, CommandId.BIND_TRANSCEIVER) + b"demo")
        assert serves(simulator.port)
        assert esme.closed()
        simulator.wait_for(lambda sim: not sim.connections)


def test_cut_off_in_the_middle_of_a_pdu():
    with running_simulator() as simulator:
        with raw_esme(simulator.port) as esme:
            esme.send_raw(encode(submit_sm())[:30])
        simulator.wait_for(lambda sim: not sim.connections)
        assert serves(simulator.port)


def test_responses_without_a_request():
    with running_simulator() as simulator, raw_esme(simulator.port) as esme:
        for command in (CommandId.DELIVER_SM_RESP, CommandId.ENQUIRE_LINK_RESP):
            esme.send_raw(header(16, command))
        esme.send_raw(header(16, CommandId.GENERIC_NACK, status=3))
        assert esme.request(submit_sm()).status == 0


def test_requests_before_the_bind_and_out_of_its_direction():
    with running_simulator() as simulator:
        with raw_esme(simulator.port, None) as esme:
            assert esme.request(submit_sm()).status == Status.ESME_RINVBNDSTS
        with raw_esme(simulator.port, pdus.BindReceiver) as esme:
            assert esme.request(submit_sm()).status == Status.ESME_RINVBNDSTS
            again = esme.request(pdus.BindReceiver("demo", "secret"))
            assert again.status == Status.ESME_RALYBND
        assert simulator.tally.submits == 0


def test_noise():
    random = Random(4)
    with running_simulator() as simulator, raw_esme(simulator.port, system_id="calm") as calm:
        for turn in range(60):
            with raw_esme(simulator.port, pdus.BindTransceiver if turn % 2 else None) as esme:
                length = random.randrange(16, 64)
                command = random.choice(list(CommandId))
                esme.send_raw(header(length, command) + random.randbytes(length - 16))
                esme.send_raw(random.randbytes(200))
        simulator.wait_for(lambda sim: sim.connections == 1)
        assert calm.request(submit_sm()).status == 0
