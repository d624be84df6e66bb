"""The SMPP session with bytes and times from the tests, without a socket or waiting."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging.smpp import pdus
from messaging.smpp.codec import Framer, decode, encode
from messaging.smpp.constants import MAX_SEQUENCE, CommandId, Status, Tag
from messaging.smpp.errors import EncodeError
from messaging.smpp.events import (
    BindAccepted,
    BindRefused,
    BindRequested,
    Closed,
    CloseReason,
    PeerUnbinding,
    RemoteProtocolError,
    RequestReceived,
    ResponseReceived,
    ResponseTimedOut,
    UnexpectedResponse,
)
from messaging.smpp.session import LocalProtocolError, Session, SessionConfig
from messaging.smpp.states import ALLOWED, Role, State

CONFIG = SessionConfig(
    session_init_timeout=5.0,
    enquire_link_interval=30.0,
    response_timeout=10.0,
    max_inbound_pending=4,
)
BINDS = {
    State.BOUND_TX: pdus.BindTransmitter,
    State.BOUND_RX: pdus.BindReceiver,
    State.BOUND_TRX: pdus.BindTransceiver,
}
START = 1000.0


def sent_by(session: Session) -> list[Any]:
    return [decode(frame) for frame in Framer().feed(session.data_to_send())]


# Any: the tests inspect events of known types, not the union of all events.
def open_session(role: Role, config: SessionConfig = CONFIG) -> Any:
    return Session(role, config, START)


def bound_session(
    role: Role, state: State = State.BOUND_TRX, config: SessionConfig = CONFIG
) -> Any:
    """A session that has bound at START, with nothing left to send."""
    session = open_session(role, config)
    bind: Any = BINDS[state]("me", "pw")
    if role is Role.ESME:
        sequence = session.bind(bind, START)
        tlvs = {int(Tag.SC_INTERFACE_VERSION): b"\x34"}
        response = bind.response_type("smsc", tlvs, sequence=sequence)
        (event,) = session.receive_data(encode(response), START)
        assert event == BindAccepted(response)
    else:
        bind.sequence = 1
        (event,) = session.receive_data(encode(bind), START)
        assert session.accept_bind(event.pdu, "smsc", START)
    session.data_to_send()
    assert session.state is state
    return session


def submit(**fields) -> pdus.SubmitSm:
    return pdus.SubmitSm(destination_addr="1", short_message=b"x", **fields)


# -- binding ---------------------------------------------------------------------------------


@pytest.mark.parametrize("state", BINDS)
def test_both_sides_bind(state):
    esme, smsc = open_session(Role.ESME), open_session(Role.SMSC)
    bind = BINDS[state]("me", "pw")
    esme.bind(bind, START)
    (requested,) = smsc.receive_data(esme.data_to_send(), START)
    assert requested == BindRequested(bind)

    assert smsc.accept_bind(requested.pdu, "smsc", START)
    (accepted,) = esme.receive_data(smsc.data_to_send(), START)

    assert isinstance(accepted, BindAccepted)
    assert accepted.pdu.system_id == "smsc"
    assert esme.state is smsc.state is state
    assert esme.bound
    assert smsc.bound
    assert esme.interface_version == smsc.interface_version == 0x34
    assert esme.outstanding == smsc.inbound_pending == 0


def test_a_refused_bind_leaves_the_session_open():
    esme, smsc = open_session(Role.ESME), open_session(Role.SMSC)
    for attempt in range(2):
        esme.bind(pdus.BindTransceiver("me", "pw"), START)
        (requested,) = smsc.receive_data(esme.data_to_send(), START)
        assert smsc.refuse_bind(requested.pdu, Status.ESME_RINVPASWD), attempt
        assert esme.receive_data(smsc.data_to_send(), START) == [BindRefused(14)]
        assert esme.state is smsc.state is State.OPEN


def test_generic_nack_refuses_a_bind():
    esme = open_session(Role.ESME)
    sequence = esme.bind(pdus.BindTransceiver("me", "pw"), START)
    nack = pdus.GenericNack(status=Status.ESME_RINVCMDID, sequence=sequence)
    assert esme.receive_data(encode(nack), START) == [BindRefused(Status.ESME_RINVCMDID)]


@pytest.mark.parametrize(
    ("theirs", "answered_tlv", "negotiated"),
    [(0x34, b"\x34", 0x34), (0x33, None, 0x33), (0x00, None, 0x00), (0x50, b"\x34", 0x34)],
)
def test_smsc_negotiates_the_version(theirs, answered_tlv, negotiated):
    smsc = open_session(Role.SMSC)
    bind = pdus.BindTransceiver("me", "pw", interface_version=theirs, sequence=1)
    (requested,) = smsc.receive_data(encode(bind), START)
    smsc.accept_bind(requested.pdu, "smsc", START)
    (response,) = sent_by(smsc)
    assert response.tlvs.get(Tag.SC_INTERFACE_VERSION) == answered_tlv
    assert smsc.interface_version == negotiated


@pytest.mark.parametrize(("tlvs", "negotiated"), [({}, 0x33), ({0x0210: b"\x33"}, 0x33)])
def test_esme_negotiates_the_version(tlvs, negotiated):
    esme = open_session(Role.ESME)
    sequence = esme.bind(pdus.BindTransceiver("me", "pw"), START)
    esme.receive_data(encode(pdus.BindTransceiverResp("s", tlvs, sequence=sequence)), START)
    assert esme.interface_version == negotiated


def test_a_second_bind_is_refused_before_and_after_the_first_response():
    smsc = open_session(Role.SMSC)
    bind = pdus.BindTransceiver("me", "pw", sequence=1)
    (requested,) = smsc.receive_data(encode(bind), START)
    for _ in range(2):
        again = replace(bind, sequence=2)
        (event,) = smsc.receive_data(encode(again), START)
        assert event.status == Status.ESME_RALYBND
        (response,) = sent_by(smsc)
        assert response == pdus.BindTransceiverResp(status=Status.ESME_RALYBND, sequence=2)
        if not smsc.bound:
            smsc.accept_bind(requested.pdu, "smsc", START)
            sent_by(smsc)


def test_a_bind_has_one_response():
    smsc = open_session(Role.SMSC)
    bind = pdus.BindTransceiver("me", "pw", sequence=1)
    (requested,) = smsc.receive_data(encode(bind), START)
    smsc.accept_bind(requested.pdu, "smsc", START)
    with pytest.raises(LocalProtocolError):
        smsc.accept_bind(requested.pdu, "smsc", START)
    with pytest.raises(LocalProtocolError):
        smsc.refuse_bind(requested.pdu, Status.ESME_RBINDFAIL)


def test_a_response_to_a_bind_may_be_too_late():
    smsc = open_session(Role.SMSC)
    (requested,) = smsc.receive_data(encode(pdus.BindReceiver(sequence=1)), START)
    smsc.close(CloseReason.CONNECTION_LOST)
    assert not smsc.accept_bind(requested.pdu, "smsc", START)
    assert smsc.state is State.CLOSED


def test_an_esme_binds_once_at_a_time():
    esme = open_session(Role.ESME)
    esme.bind(pdus.BindTransceiver("me", "pw"), START)
    with pytest.raises(LocalProtocolError):
        esme.bind(pdus.BindTransceiver("me", "pw"), START)


# -- allowed requests ------------------------------------------------------------------------

REQUESTS: dict[int, pdus.Request] = {
    CommandId.SUBMIT_SM: submit(),
    CommandId.SUBMIT_MULTI: pdus.SubmitMulti(dest_address=[pdus.DistributionList("x")]),
    CommandId.DATA_SM: pdus.DataSm(),
    CommandId.QUERY_SM: pdus.QuerySm("1"),
    CommandId.CANCEL_SM: pdus.CancelSm(message_id="1"),
    CommandId.REPLACE_SM: pdus.ReplaceSm("1"),
    CommandId.DELIVER_SM: pdus.DeliverSm(),
    CommandId.ALERT_NOTIFICATION: pdus.AlertNotification(),
    CommandId.OUTBIND: pdus.Outbind(),
    CommandId.ENQUIRE_LINK: pdus.EnquireLink(),
}
# SMPP 3.4, table 2-1, repeated by hand.
TX, RX, TRX, OPEN = State.BOUND_TX, State.BOUND_RX, State.BOUND_TRX, State.OPEN
TABLE = {
    Role.ESME: {
        CommandId.SUBMIT_SM: {TX, TRX},
        CommandId.SUBMIT_MULTI: {TX, TRX},
        CommandId.DATA_SM: {TX, TRX},
        CommandId.QUERY_SM: {TX, TRX},
        CommandId.CANCEL_SM: {TX, TRX},
        CommandId.REPLACE_SM: {TX, TRX},
        CommandId.ENQUIRE_LINK: {TX, RX, TRX},
    },
    Role.SMSC: {
        CommandId.DELIVER_SM: {RX, TRX},
        CommandId.DATA_SM: {RX, TRX},
        CommandId.ALERT_NOTIFICATION: {RX, TRX},
        CommandId.OUTBIND: {OPEN},
        CommandId.ENQUIRE_LINK: {TX, RX, TRX},
    },
}
EVERY_CASE = [
    (role, state, command_id)
    for role in Role
    for state in (OPEN, TX, RX, TRX)
    for command_id in REQUESTS
]


def in_state(role: Role, state: State) -> Any:
    return open_session(role) if state is OPEN else bound_session(role, state)


@pytest.mark.parametrize(("role", "state", "command_id"), EVERY_CASE)
def test_allowed_outgoing_requests(role, state, command_id):
    session = in_state(role, state)
    allowed = state in TABLE[role].get(command_id, set())
    assert session.may_send(command_id) is allowed
    request = replace(REQUESTS[command_id])
    if allowed:
        session.send(request, None, START)
        assert sent_by(session) == [request]
        assert session.outstanding == (request.response_type is not None)
    else:
        with pytest.raises(LocalProtocolError):
            session.send(request, None, START)
        assert session.data_to_send() == b""
        assert session.outstanding == 0


@pytest.mark.parametrize(("role", "state", "command_id"), EVERY_CASE)
def test_allowed_incoming_requests(role, state, command_id):
    session = in_state(role, state)
    request = replace(REQUESTS[command_id], sequence=7)
    events = session.receive_data(encode(request), START)
    responses = sent_by(session)
    if state not in TABLE[role.peer].get(command_id, set()):
        status = Status.ESME_RINVBNDSTS
        (error,) = events
        assert isinstance(error, RemoteProtocolError)
        assert (error.status, error.command_id, error.sequence) == (status, command_id, 7)
        response = request.response_type
        assert responses == ([response(status=status, sequence=7)] if response else [])
    elif command_id == CommandId.ENQUIRE_LINK:
        assert events == []
        assert responses == [pdus.EnquireLinkResp(sequence=7)]
    else:
        assert events == [RequestReceived(request)]
        assert responses == []
        assert session.inbound_pending == (request.response_type is not None)


def test_nothing_may_be_sent_when_it_is_over():
    assert not any(ALLOWED[role, s] for role in Role for s in (State.UNBOUND, State.CLOSED))


# -- requests and responses ------------------------------------------------------------------


def test_responses_are_matched_in_any_order():
    esme = bound_session(Role.ESME)
    sequences = [esme.send(submit(), f"context {i}", START) for i in range(3)]
    assert [pdu.sequence for pdu in sent_by(esme)] == sequences == [2, 3, 4]
    assert esme.outstanding == 3
    responses = [pdus.SubmitSmResp(str(s), sequence=s) for s in reversed(sequences)]

    events = esme.receive_data(b"".join(map(encode, responses)), START)

    contexts = ["context 2", "context 1", "context 0"]
    assert events == [ResponseReceived(a, c) for a, c in zip(responses, contexts, strict=True)]
    assert esme.outstanding == 0


def test_generic_nack_is_a_response():
    esme = bound_session(Role.ESME)
    sequence = esme.send(submit(), "context", START)
    nack = pdus.GenericNack(status=Status.ESME_RINVCMDID, sequence=sequence)
    assert esme.receive_data(encode(nack), START) == [ResponseReceived(nack, "context")]


@pytest.mark.parametrize(
    "response",
    [
        pdus.SubmitSmResp("1", sequence=99),
        pdus.DeliverSmResp(sequence=2),  # there is a request 2, but another one
        pdus.GenericNack(sequence=0),
        pdus.UnbindResp(sequence=2),
        pdus.BindTransceiverResp("smsc", sequence=2),
    ],
)
def test_a_response_without_a_request_changes_nothing(response):
    esme = bound_session(Role.ESME)
    assert esme.send(submit(), "context", START) == 2
    assert esme.receive_data(encode(response), START) == [UnexpectedResponse(response)]
    assert esme.outstanding == 1
    assert esme.bound
    response = pdus.SubmitSmResp("1", sequence=2)
    assert esme.receive_data(encode(response), START) == [ResponseReceived(response, "context")]
    assert esme.receive_data(encode(response), START) == [UnexpectedResponse(response)]


def raw_response(request_id: int, body: bytes, sequence: int) -> bytes:
    return raw(request_id | 0x80000000, body, sequence)


@pytest.mark.parametrize(
    ("body", "message_id"),
    [
        (b"", ""),
        (b"\0", ""),
        (b"id\0", "id"),
        (b"id\0\0", "id"),
        (b"id", "id"),
        (b"id\0\x02\x04\0", "id"),
        (b"id" + b"\0" * 63, "id"),
        (b"id   \0", "id   "),
        (b"x" * 65 + b"\0", "x" * 65),
        (b"x" * 300, "x" * 300),
        (b"\0id\0", ""),
    ],
)
@pytest.mark.parametrize("role", Role)
def test_a_positive_response_counts_with_any_body(role, body, message_id):
    """Otherwise a text would be submitted again, or a receipt delivered again."""
    session = bound_session(role)
    request = submit() if role is Role.ESME else pdus.DeliverSm()
    sequence = session.send(request, "context", START)
    session.data_to_send()
    events = session.receive_data(raw_response(request.command_id, body, sequence), START)
    (response,) = [event for event in events if isinstance(event, ResponseReceived)]
    found: Any = response.pdu
    assert (response.context, found.status, found.message_id) == ("context", 0, message_id)
    assert session.outstanding == 0
    assert session.data_to_send() == b""  # a response never gets a response


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"smsc",
        b"x" * 16 + b"\0",
        b"x" * 300,
        b"\xff\xfe\0\0",
        b"s\0\x02\x10\0",
        b"s\0junk",
    ],
)
def test_an_accepted_bind_is_bound_with_any_system_id(body):
    esme = open_session(Role.ESME)
    sequence = esme.bind(pdus.BindTransceiver("me", "pw"), START)
    esme.data_to_send()
    events = esme.receive_data(raw_response(CommandId.BIND_TRANSCEIVER, body, sequence), START)
    assert isinstance(events[-1], BindAccepted)
    assert esme.state is State.BOUND_TRX
    assert esme.send(submit(), None, START)


def test_a_request_that_cannot_be_encoded_leaves_nothing_behind():
    esme = bound_session(Role.ESME)
    with pytest.raises(EncodeError):
        esme.send(submit(source_addr="x" * 21), None, START)
    assert esme.outstanding == 0
    assert esme.data_to_send() == b""
    assert esme.send(submit(), None, START) == 2


def test_binding_and_unbinding_have_their_own_methods():
    esme = bound_session(Role.ESME)
    for pdu in (pdus.BindReceiver(), pdus.Unbind()):
        with pytest.raises(LocalProtocolError):
            esme.send(pdu, None, START)


def test_sequences_wrap_and_skip_outstanding_ones():
    esme = bound_session(Role.ESME)
    first = esme.send(submit(), "old", START)
    esme._outstanding.skip(MAX_SEQUENCE - 1)
    sequences = [esme.send(submit(), None, START) for _ in range(3)]
    assert first == 2
    assert sequences == [MAX_SEQUENCE, 1, 3]


def test_responses_may_be_deferred_and_sent_in_any_order():
    smsc = bound_session(Role.SMSC)
    requests = [submit(sequence=s) for s in (10, 11, 12)]
    events = smsc.receive_data(b"".join(map(encode, requests)), START)
    assert smsc.inbound_pending == 3
    for event in reversed(events):
        assert smsc.respond(event.pdu, message_id=f"m{event.pdu.sequence}")
    assert sent_by(smsc) == [
        pdus.SubmitSmResp(f"m{sequence}", sequence=sequence) for sequence in (12, 11, 10)
    ]
    assert smsc.inbound_pending == 0


def test_a_request_has_one_response():
    smsc = bound_session(Role.SMSC)
    (event,) = smsc.receive_data(encode(submit(sequence=5)), START)
    with pytest.raises(EncodeError):
        smsc.respond(event.pdu, message_id="x" * 65)
    smsc.respond(event.pdu, Status.ESME_RSUBMITFAIL)
    with pytest.raises(LocalProtocolError):
        smsc.respond(event.pdu)


@pytest.mark.parametrize("pdu", [pdus.AlertNotification(), pdus.BindReceiver(), pdus.Outbind()])
def test_requests_without_a_response_get_none(pdu):
    with pytest.raises(LocalProtocolError):
        bound_session(Role.SMSC).respond(pdu)


def test_a_late_response_is_not_an_error():
    smsc = bound_session(Role.SMSC)
    (event,) = smsc.receive_data(encode(submit(sequence=5)), START)
    smsc.close(CloseReason.CONNECTION_LOST)
    assert smsc.respond(event.pdu, message_id="1") is False
    assert smsc.data_to_send() == b""


def test_a_reused_sequence_is_two_requests():
    smsc = bound_session(Role.SMSC)
    octets = encode(submit(sequence=5))
    events = smsc.receive_data(octets + octets, START)
    assert smsc.inbound_pending == 2
    for event in events:
        assert smsc.respond(event.pdu)
    assert [pdu.sequence for pdu in sent_by(smsc)] == [5, 5]
    with pytest.raises(LocalProtocolError):
        smsc.respond(events[0].pdu)


@pytest.mark.parametrize("sequence", [0, 0x80000000, 0xFFFFFFFF])
def test_a_sequence_out_of_range_is_returned(sequence):
    smsc = bound_session(Role.SMSC)
    (event,) = smsc.receive_data(encode(submit(sequence=sequence)), START)
    smsc.respond(event.pdu, message_id="1")
    assert sent_by(smsc) == [pdus.SubmitSmResp("1", sequence=sequence)]


# -- errors of the peer ----------------------------------------------------------------------


def raw(command_id: int, body: bytes = b"", sequence: int = 9) -> bytes:
    fields = (16 + len(body), command_id, 0, sequence)
    return b"".join(field.to_bytes(4, "big") for field in fields) + body


def test_an_unknown_command_is_refused_and_the_session_continues():
    smsc = bound_session(Role.SMSC)
    error, request = smsc.receive_data(raw(0x99) + encode(submit(sequence=10)), START)
    assert (error.status, error.command_id, error.sequence) == (Status.ESME_RINVCMDID, 0x99, 9)
    assert isinstance(request, RequestReceived)
    assert sent_by(smsc) == [pdus.GenericNack(status=Status.ESME_RINVCMDID, sequence=9)]
    assert smsc.bound


def test_an_unknown_response_gets_no_response():
    smsc = bound_session(Role.SMSC)
    (error,) = smsc.receive_data(raw(0x80000099), START)
    assert isinstance(error, RemoteProtocolError)
    assert smsc.data_to_send() == b""


@pytest.mark.parametrize(
    ("octets", "response"),
    [
        (
            raw(CommandId.SUBMIT_SM, b"abcdefg\0"),
            pdus.SubmitSmResp(status=Status.ESME_RINVSERTYP, sequence=9),
        ),
        (raw(CommandId.SUBMIT_SM), pdus.SubmitSmResp(status=Status.ESME_RINVCMDLEN, sequence=9)),
        (
            raw(CommandId.QUERY_SM, b"1"),
            pdus.QuerySmResp(status=Status.ESME_RINVCMDLEN, sequence=9),
        ),
        (
            raw(CommandId.BIND_RECEIVER, b"x" * 20),
            pdus.BindReceiverResp(status=Status.ESME_RINVSYSID, sequence=9),
        ),
        (
            raw(CommandId.ALERT_NOTIFICATION),
            pdus.GenericNack(status=Status.ESME_RINVCMDLEN, sequence=9),
        ),
    ],
)
def test_a_malformed_request_is_refused_with_its_status(octets, response):
    smsc = bound_session(Role.SMSC)
    (error,) = smsc.receive_data(octets, START)
    assert isinstance(error, RemoteProtocolError)
    assert error.status == response.status
    assert sent_by(smsc) == [response]
    assert smsc.bound
    assert smsc.inbound_pending == 0


def test_an_unreadable_tail_is_reported_with_its_pdu():
    smsc = bound_session(Role.SMSC)
    octets = raw(CommandId.SUBMIT_SM, encode(submit())[16:] + b"\0\0\0")
    error, received = smsc.receive_data(octets, START)
    assert (error.status, error.command_id, error.sequence) == (0, CommandId.SUBMIT_SM, 9)
    assert error.reason == "3 octets at its end were not read"
    assert isinstance(received, RequestReceived)
    (error,) = smsc.receive_data(raw(CommandId.ENQUIRE_LINK, b"x"), START)
    assert error.status == 0
    assert sent_by(smsc) == [pdus.EnquireLinkResp(sequence=9)]


@pytest.mark.parametrize("length", [0, 15, 65_537, 2_147_483_648])
def test_an_unreadable_stream_ends_the_session(length):
    esme = bound_session(Role.ESME)
    esme.send(submit(), "context", START)
    esme.data_to_send()
    request = encode(pdus.DeliverSm(sequence=1))
    events = esme.receive_data(request + length.to_bytes(4, "big") + b"rest", START)
    received, error, closed = events
    assert isinstance(received, RequestReceived)
    assert error.status == Status.ESME_RINVCMDLEN
    assert (closed.reason, closed.unanswered) == (CloseReason.FRAME_ERROR, ["context"])
    assert sent_by(esme) == [pdus.GenericNack(status=Status.ESME_RINVCMDLEN)]
    assert esme.receive_data(request, START) == []


# -- bounds ----------------------------------------------------------------------------------


def test_reading_stops_at_the_bound_and_continues_at_half():
    smsc = bound_session(Role.SMSC)
    stream = b"".join(encode(submit(sequence=s)) for s in range(1, 11))
    events = smsc.receive_data(stream, START)
    assert [event.pdu.sequence for event in events] == [1, 2, 3, 4]
    assert not smsc.wants_read
    assert smsc.receive_data(b"", START) == []

    smsc.respond(events[0].pdu)
    assert not smsc.wants_read
    smsc.respond(events[1].pdu)
    assert smsc.wants_read

    more = smsc.receive_data(b"", START)
    assert [event.pdu.sequence for event in more] == [5, 6]
    assert smsc.inbound_pending == 4
    assert not smsc.wants_read


def test_the_smallest_bound_does_not_stall():
    smsc = bound_session(Role.SMSC, config=replace(CONFIG, max_inbound_pending=1))
    octets = encode(submit(sequence=1)) + encode(submit(sequence=2))
    (event,) = smsc.receive_data(octets, START)
    assert not smsc.wants_read
    smsc.respond(event.pdu)
    assert smsc.wants_read
    assert len(smsc.receive_data(b"", START)) == 1


def test_response_timers_stop_while_we_do_not_read():
    smsc = bound_session(Role.SMSC)
    smsc.send(pdus.DeliverSm(), "before", START)
    stream = b"".join(encode(submit(sequence=s)) for s in range(1, 5))
    events = smsc.receive_data(stream, START + 1)
    smsc.send(pdus.DeliverSm(), "during", START + 50)
    assert smsc.next_deadline() is None
    assert smsc.tick(START + 100) == []  # no timeout, and no enquire_link

    for event in events:
        smsc.respond(event.pdu)
    smsc.receive_data(b"", START + 101)
    smsc.send(pdus.DeliverSm(), "after", START + 101)

    assert smsc.next_deadline() == START + 110
    assert smsc.tick(START + 109) == []
    assert smsc.tick(START + 110) == [ResponseTimedOut("before")]
    assert smsc.tick(START + 111) == [ResponseTimedOut("during"), ResponseTimedOut("after")]


# -- timers ----------------------------------------------------------------------------------


def test_a_peer_that_does_not_bind_in_time_is_disconnected():
    smsc = open_session(Role.SMSC)
    assert smsc.next_deadline() == START + 5
    assert smsc.tick(START + 4.9) == []
    (closed,) = smsc.tick(START + 5)
    assert closed.reason is CloseReason.SESSION_INIT_TIMEOUT
    assert smsc.next_deadline() is None
    assert smsc.tick(START + 6) == []


def test_a_peer_that_waits_for_its_bind_response_is_not_disconnected():
    smsc = open_session(Role.SMSC)
    (requested,) = smsc.receive_data(encode(pdus.BindReceiver(sequence=1)), START + 4)
    assert smsc.next_deadline() is None
    assert smsc.tick(START + 60) == []
    assert smsc.accept_bind(requested.pdu, "smsc", START + 60)


def test_a_bind_without_a_response_ends_the_session():
    esme = open_session(Role.ESME)
    assert esme.next_deadline() is None
    esme.bind(pdus.BindTransceiver("me", "pw"), START)
    assert esme.next_deadline() == START + 10
    (closed,) = esme.tick(START + 10)
    assert (closed.reason, closed.unanswered) == (CloseReason.BIND_TIMEOUT, [])


def test_a_silent_peer_that_responds_to_enquire_link_stays():
    esme = bound_session(Role.ESME)
    assert esme.next_deadline() == START + 30
    assert esme.tick(START + 30) == []
    (asked,) = sent_by(esme)
    assert isinstance(asked, pdus.EnquireLink)
    assert esme.outstanding == 0  # enquire_link is not the caller's
    assert esme.next_deadline() == START + 40
    assert (
        esme.receive_data(encode(pdus.EnquireLinkResp(sequence=asked.sequence)), START + 31) == []
    )
    assert esme.next_deadline() == START + 61


def test_a_silent_peer_without_responses_is_dropped_with_its_requests():
    esme = bound_session(Role.ESME, config=replace(CONFIG, response_timeout=100.0))
    esme.send(submit(), "one", START)
    esme.tick(START + 30)
    esme.send(submit(), "two", START + 31)
    assert esme.tick(START + 100) == [ResponseTimedOut("one")]
    (closed,) = esme.tick(START + 130)
    assert (closed.reason, closed.unanswered) == (CloseReason.ENQUIRE_LINK_TIMEOUT, ["two"])


def test_a_live_peer_that_ignores_enquire_link_stays():
    smsc = bound_session(Role.SMSC)
    smsc.tick(START + 30)
    smsc.receive_data(encode(submit(sequence=1)), START + 35)
    assert smsc.tick(START + 40) == []
    assert smsc.bound
    assert smsc.next_deadline() == START + 65


def test_an_active_peer_gets_no_enquire_link():
    smsc = bound_session(Role.SMSC)
    smsc.receive_data(encode(pdus.EnquireLink(sequence=1)), START + 20)
    smsc.data_to_send()
    smsc.tick(START + 45)
    assert smsc.data_to_send() == b""


def test_an_inactive_session_is_unbound_despite_enquire_link():
    config = replace(CONFIG, inactivity_timeout=60.0)
    smsc = bound_session(Role.SMSC, config=config)
    (request,) = smsc.receive_data(encode(submit(sequence=1)), START + 10)
    smsc.respond(request.pdu)
    smsc.receive_data(encode(pdus.EnquireLink(sequence=2)), START + 60)
    smsc.data_to_send()
    assert smsc.tick(START + 69) == []
    assert smsc.data_to_send() == b""
    assert smsc.tick(START + 70) == []
    (unbind,) = sent_by(smsc)
    assert isinstance(unbind, pdus.Unbind)


def test_a_request_times_out_and_its_late_response_is_unexpected():
    esme = bound_session(Role.ESME)
    sequence = esme.send(submit(), "context", START + 1)
    assert esme.next_deadline() == START + 11
    assert esme.tick(START + 10.9) == []
    assert esme.tick(START + 11) == [ResponseTimedOut("context")]
    assert esme.outstanding == 0
    late = pdus.SubmitSmResp("1", sequence=sequence)
    assert esme.receive_data(encode(late), START + 12) == [UnexpectedResponse(late)]


def test_our_own_enquire_link_is_not_activity():
    esme = bound_session(Role.ESME, config=replace(CONFIG, inactivity_timeout=45.0))
    esme.tick(START + 30)
    (asked,) = sent_by(esme)
    esme.receive_data(encode(pdus.EnquireLinkResp(sequence=asked.sequence)), START + 31)
    esme.tick(START + 45)
    (unbind,) = sent_by(esme)
    assert isinstance(unbind, pdus.Unbind)


def test_timers_can_be_turned_off():
    off = replace(CONFIG, session_init_timeout=None, enquire_link_interval=None)
    assert open_session(Role.SMSC, off).next_deadline() is None
    session = bound_session(Role.SMSC, config=off)
    assert session.next_deadline() is None
    assert session.tick(START + 1e6) == []
    assert session.data_to_send() == b""


# -- the end ---------------------------------------------------------------------------------


def test_we_unbind():
    esme, smsc = bound_session(Role.ESME), bound_session(Role.SMSC)
    esme.unbind(START)
    with pytest.raises(LocalProtocolError):
        esme.send(submit(), None, START)
    unbinding, peer_closed = smsc.receive_data(esme.data_to_send(), START)
    assert unbinding == PeerUnbinding()
    assert peer_closed == Closed(CloseReason.PEER_UNBOUND)
    (closed,) = esme.receive_data(smsc.data_to_send(), START)
    assert closed == Closed(CloseReason.UNBOUND)
    assert [esme.state, smsc.state] == [State.UNBOUND, State.UNBOUND]
    assert esme.close() == smsc.close() == []
    assert [esme.state, smsc.state] == [State.CLOSED, State.CLOSED]


def test_an_unbind_without_a_response_ends_the_session():
    esme = bound_session(Role.ESME)
    esme.send(submit(), "context", START)
    esme.unbind(START + 1)
    assert esme.tick(START + 10) == [ResponseTimedOut("context")]
    assert esme.tick(START + 11) == [Closed(CloseReason.UNBIND_TIMEOUT)]


def test_both_unbind_at_once():
    esme, smsc = bound_session(Role.ESME), bound_session(Role.SMSC)
    esme.unbind(START)
    smsc.unbind(START)
    from_esme, from_smsc = esme.data_to_send(), smsc.data_to_send()
    assert esme.receive_data(from_smsc, START) == smsc.receive_data(from_esme, START) == []
    from_esme, from_smsc = esme.data_to_send(), smsc.data_to_send()
    assert esme.receive_data(from_smsc, START) == [Closed(CloseReason.UNBOUND)]
    assert smsc.receive_data(from_esme, START) == [Closed(CloseReason.UNBOUND)]


def test_an_unbinding_peer_still_gets_and_sends_responses():
    esme = bound_session(Role.ESME)
    sequence = esme.send(submit(), "context", START)
    (request,) = esme.receive_data(encode(pdus.DeliverSm(sequence=3)), START)
    esme.data_to_send()

    assert esme.receive_data(encode(pdus.Unbind(sequence=4)), START) == [PeerUnbinding()]
    assert esme.data_to_send() == b""
    assert not esme.may_send(CommandId.SUBMIT_SM)
    # Deliveries are accepted until the end: an SMSC would lose a refused one.
    (late,) = esme.receive_data(encode(pdus.DeliverSm(sequence=5)), START)
    assert isinstance(late, RequestReceived)

    response = pdus.SubmitSmResp("1", sequence=sequence)
    assert esme.receive_data(encode(response), START) == [ResponseReceived(response, "context")]
    assert esme.respond(request.pdu)
    assert esme.data_to_send()
    assert esme.tick(START + 1) == []
    assert esme.respond(late.pdu)
    assert esme.next_deadline() is not None
    assert esme.next_deadline() <= START
    assert esme.tick(START + 1) == [Closed(CloseReason.PEER_UNBOUND)]
    assert sent_by(esme) == [pdus.DeliverSmResp(sequence=5), pdus.UnbindResp(sequence=4)]


@pytest.mark.parametrize("command_id", [CommandId.QUERY_SM, CommandId.SUBMIT_SM])
def test_an_unbinding_esme_may_send_no_requests(command_id):
    smsc = bound_session(Role.SMSC)
    (asked,) = smsc.receive_data(encode(submit(sequence=1)), START)
    smsc.receive_data(encode(pdus.Unbind(sequence=4)), START)
    (error,) = smsc.receive_data(encode(replace(REQUESTS[command_id], sequence=5)), START)
    assert error.status == Status.ESME_RINVBNDSTS
    sent_by(smsc)
    smsc.respond(asked.pdu, message_id="1")
    assert smsc.tick(START) == [Closed(CloseReason.PEER_UNBOUND)]
    assert sent_by(smsc) == [pdus.SubmitSmResp("1", sequence=1), pdus.UnbindResp(sequence=4)]


def test_unbind_resp_does_not_wait_for_an_esme_to_acknowledge_receipts():
    """unbind_resp is immediate: unacknowledged receipts are delivered again on the next bind."""
    smsc = bound_session(Role.SMSC)
    smsc.send(pdus.DeliverSm(), "receipt", START)
    smsc.data_to_send()
    events = smsc.receive_data(encode(pdus.Unbind(sequence=4)), START)
    assert events == [PeerUnbinding(), Closed(CloseReason.PEER_UNBOUND, "", ["receipt"])]
    assert sent_by(smsc) == [pdus.UnbindResp(sequence=4)]


def test_acknowledgements_that_arrive_with_an_unbind_count():
    smsc = bound_session(Role.SMSC)
    sequence = smsc.send(pdus.DeliverSm(), "receipt", START)
    acknowledged = pdus.DeliverSmResp(sequence=sequence)
    events = smsc.receive_data(encode(pdus.Unbind(sequence=4)) + encode(acknowledged), START)
    assert events[1:] == [
        ResponseReceived(acknowledged, "receipt"),
        Closed(CloseReason.PEER_UNBOUND),
    ]


def unbound_by_the_smsc() -> tuple[Any, int]:
    """Return an ESME with a pending submit when the SMSC unbinds, and the submit's sequence."""
    esme = bound_session(Role.ESME)
    sequence = esme.send(submit(), "context", START + 5)
    esme.receive_data(encode(pdus.Unbind(sequence=4)), START + 5)
    esme.data_to_send()
    assert esme.next_deadline() == START + 5 + CONFIG.unbind_grace
    assert esme.tick(START + 5 + CONFIG.unbind_grace - 0.1) == []
    assert esme.data_to_send() == b""
    assert esme.tick(START + 5 + CONFIG.unbind_grace) == []
    assert sent_by(esme) == [pdus.UnbindResp(sequence=4)]
    assert esme.tick(START + 6 + CONFIG.unbind_grace) == []
    assert esme.data_to_send() == b""  # once
    return esme, sequence


def test_an_unbinding_smsc_gets_its_response_soon_and_is_read_to_the_end():
    """A submit_sm response counts until the SMSC closes, or the submit would be sent again."""
    esme, sequence = unbound_by_the_smsc()
    (late,) = esme.receive_data(encode(pdus.DeliverSm(sequence=5)), START + 8)
    assert esme.respond(late.pdu)
    assert sent_by(esme) == [pdus.DeliverSmResp(sequence=5)]
    response = pdus.SubmitSmResp("1", sequence=sequence)
    assert esme.receive_data(encode(response), START + 9) == [
        ResponseReceived(response, "context"),
        Closed(CloseReason.PEER_UNBOUND),
    ]


def test_an_smsc_that_closes_after_its_unbind_has_unbound():
    esme, _ = unbound_by_the_smsc()
    assert esme.close(CloseReason.CONNECTION_LOST, "reset") == [
        Closed(CloseReason.PEER_UNBOUND, "", ["context"])
    ]


def test_waiting_for_an_smsc_that_neither_responds_nor_closes_is_bounded():
    esme, _ = unbound_by_the_smsc()
    assert esme.next_deadline() == START + 5 + CONFIG.response_timeout
    events = esme.tick(START + 5 + CONFIG.response_timeout)
    assert events == [ResponseTimedOut("context"), Closed(CloseReason.PEER_UNBOUND)]


@pytest.mark.parametrize("role", Role)
def test_waiting_for_our_responses_is_bounded(role):
    session = bound_session(role)
    request = pdus.DeliverSm() if role is Role.ESME else submit()
    session.receive_data(encode(replace(request, sequence=3)), START)
    session.receive_data(encode(pdus.Unbind(sequence=4)), START)
    assert session.tick(START + CONFIG.response_timeout - 0.1) == []
    assert session.tick(START + CONFIG.response_timeout) == [Closed(CloseReason.PEER_UNBOUND)]
    assert sent_by(session) == [pdus.UnbindResp(sequence=4)]


def test_after_our_unbind_only_earlier_requests_get_responses():
    smsc = bound_session(Role.SMSC)
    (received,) = smsc.receive_data(encode(submit(sequence=1)), START)
    smsc.unbind(START)
    (unbind,) = sent_by(smsc)
    # It had not read our unbind: not an error of its own, and the request may be sent again.
    assert smsc.receive_data(encode(submit(sequence=2)), START) == []
    assert sent_by(smsc) == [pdus.SubmitSmResp(status=Status.ESME_RMSGQFUL, sequence=2)]
    assert smsc.receive_data(encode(pdus.EnquireLink(sequence=3)), START) == []
    assert sent_by(smsc) == [pdus.EnquireLinkResp(sequence=3)]

    assert smsc.receive_data(encode(pdus.UnbindResp(sequence=unbind.sequence)), START) == []
    assert smsc.respond(received.pdu, message_id="1")
    assert smsc.next_deadline() <= START
    assert smsc.tick(START) == [Closed(CloseReason.UNBOUND)]
    assert sent_by(smsc) == [pdus.SubmitSmResp("1", sequence=1)]


def test_forbidden_requests_are_refused_as_such_while_we_unbind():
    smsc = bound_session(Role.SMSC, State.BOUND_RX)
    smsc.unbind(START)
    (error,) = smsc.receive_data(encode(submit(sequence=2)), START)
    assert error.status == Status.ESME_RINVBNDSTS


def test_an_esme_accepts_deliveries_after_its_unbind():
    esme = bound_session(Role.ESME)
    esme.unbind(START)
    (unbind,) = sent_by(esme)
    (late,) = esme.receive_data(encode(pdus.DeliverSm(sequence=7)), START)
    assert esme.receive_data(encode(pdus.UnbindResp(sequence=unbind.sequence)), START) == []
    assert esme.respond(late.pdu)
    assert sent_by(esme) == [pdus.DeliverSmResp(sequence=7)]
    assert esme.tick(START) == [Closed(CloseReason.UNBOUND)]


def test_a_connection_that_ends_after_unbind_resp_is_unbound():
    esme = bound_session(Role.ESME)
    esme.unbind(START)
    (unbind,) = sent_by(esme)
    esme.receive_data(encode(pdus.DeliverSm(sequence=7)), START)
    esme.receive_data(encode(pdus.UnbindResp(sequence=unbind.sequence)), START)
    assert esme.close(CloseReason.CONNECTION_LOST) == [Closed(CloseReason.UNBOUND)]


def test_closing_reports_unanswered_requests_once_and_in_order():
    esme = bound_session(Role.ESME)
    for context in "abc":
        esme.send(submit(), context, START)
    esme.receive_data(encode(pdus.SubmitSmResp("1", sequence=3)), START)
    (closed,) = esme.close(CloseReason.CONNECTION_LOST, "reset")
    assert closed.unanswered == ["a", "c"]
    assert str(closed) == "connection lost: reset"
    assert esme.close() == []
    assert esme.outstanding == 0
    assert not esme.wants_read
    with pytest.raises(LocalProtocolError):
        esme.send(submit(), None, START)


# -- any bytes -------------------------------------------------------------------------------

requests = st.sampled_from([*REQUESTS.values(), pdus.Unbind(), pdus.BindTransceiver("a", "b")])
responses = st.sampled_from(
    [
        pdus.SubmitSmResp("1", sequence=2),
        pdus.DeliverSmResp(sequence=1),
        pdus.UnbindResp(sequence=1),
        pdus.GenericNack(sequence=2),
        pdus.EnquireLinkResp(sequence=1),
        pdus.BindTransceiverResp("s", sequence=1),
    ]
)
pieces = (requests | responses).map(encode) | st.binary(max_size=30)


@given(
    role=st.sampled_from(Role),
    bind=st.booleans(),
    stream=st.lists(pieces, max_size=12).map(b"".join),
    cuts=st.lists(st.integers(1, 400), max_size=12),
    respond=st.booleans(),
)
@settings(max_examples=300)
def test_any_bytes_in_any_chunks(role, bind, stream, cuts, respond):
    config = replace(CONFIG, max_frame_length=200)
    session = bound_session(role, config=config) if bind else open_session(role, config)
    contexts = 0
    if bind:
        session.send(submit() if role is Role.ESME else pdus.DeliverSm(), "context", START)
        contexts = 1
    now = START
    ends = [0, *sorted({cut for cut in cuts if cut < len(stream)}), len(stream)]
    events: list[Any] = []
    for begin, end in pairwise(ends):
        now += 1
        if not session.wants_read:
            break
        events += session.receive_data(stream[begin:end], now)
        assert session.inbound_pending <= config.max_inbound_pending
        assert session._framer.buffered < 200 or not session.wants_read
        if respond:
            for event in events:
                if isinstance(event, RequestReceived) and event.pdu.response_type:
                    _respond(session, event.pdu)
        events += session.tick(now)
        session.next_deadline()
        session.data_to_send()
    events += session.close()

    assert sum(isinstance(event, Closed) for event in events) == 1
    assert isinstance(events[-1], Closed)
    outcomes = ResponseReceived | ResponseTimedOut
    settled = [event for event in events if isinstance(event, outcomes)]
    assert len(settled) + len(events[-1].unanswered) == contexts


def _respond(session: Session, request: pdus.Request) -> None:
    try:
        session.respond(request)
    except LocalProtocolError:
        return  # it has its response
