"""Submits to the customers' SMPP server: codings, long texts, times, references, refusals."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache import cache
from django.db import OperationalError

from accounts.models import MICRO, Organization
from imissive.core import ids
from messaging.gateway import reassembly, store, submit_batches
from messaging.gateway.submit_parser import Refused, coding_of
from messaging.models import (
    Message,
    SmppAccount,
    SmppAssembly,
    SmppReceipt,
    SmppSession,
    SmppSubmit,
    Suppression,
)
from messaging.smpp import pdus
from messaging.smpp.codec import encode
from messaging.smpp.constants import MessageState, Status, Tag
from messaging.smpp.times import format_time, parse_time
from messaging.text import encoding
from tests.support.factories import PHONE, SENDER, advance
from tests.support.smpp_servers import (
    QUICK_HASHERS,
    Member,
    RunningServer,
    eventually,
    running_server,
    submit,
)

if TYPE_CHECKING:
    from tests.support.smpp_clients import RawEsme

ARABIC = "رسالة طويلة إلى العميل رقم ٤٧١١ " * 8
LONG = "All of it in one text, with {brackets} and the € sign. " * 8


@pytest.fixture
def member(committed_world, settings):
    settings.PASSWORD_HASHERS = QUICK_HASHERS
    cache.clear()
    committed_world.serve()
    created = Member(committed_world)
    yield created
    created.close()


@pytest.fixture(scope="module")
def server(test_database, django_db_blocker):
    with django_db_blocker.unblock(), running_server() as running:
        yield running


@pytest.fixture
def esme(server: RunningServer, member):
    with member.bound(server.port) as bound:
        yield bound


def stored(member: Member) -> Message:
    (message,) = member.customer.messages()
    return message


def refused(esme, member, pdu: pdus.Request) -> int:
    """Return the status of a refused submit, of which nothing may be stored or charged."""
    before = member.customer.stored()
    response = esme.request(pdu)
    assert member.customer.stored() == before
    assert not SmppSubmit.objects.exists()
    assert not getattr(response, "message_id", "")
    return int(response.status)


# -- accepted submits --------------------------------------------------------------------------


def test_submit_is_stored_and_charged_before_the_response(esme, member) -> None:
    response = esme.request(submit(b"hello"))
    assert response.status == 0
    message = stored(member)
    assert ids.parse_id(ids.MESSAGE, response.message_id) == message.id
    assert (message.to, message.sender, message.text) == (PHONE, SENDER, "hello")
    assert (message.source, message.status, message.test) == ("smpp", "queued", False)
    assert member.customer.ledger() == [("charge", -MICRO, message.id)]
    assert [kind for kind, _ in member.customer.events()] == []


def test_submit_creates_webhook_events(esme, member, committed_world) -> None:
    committed_world.endpoint(member.customer)
    esme.request(submit())
    assert member.customer.events() == [("message.queued", stored(member).id)]


@pytest.mark.parametrize(
    ("fields", "octets", "expected"),
    [
        ({}, encoding.split("é @ {x} €").parts[0], "é @ {x} €"),
        ({"data_coding": 1}, b"plain [ASCII]", "plain [ASCII]"),
        ({"data_coding": 3}, "Ñandú ¿sí?".encode("latin-1"), "Ñandú ¿sí?"),
        ({"data_coding": 8}, "مرحبا 👋".encode("utf-16-be"), "مرحبا 👋"),
        ({"data_coding": 0x18}, "فلاش".encode("utf-16-be"), "فلاش"),
        ({"data_coding": 0xF0}, encoding.split("flash @").parts[0], "flash @"),
    ],
)
def test_codings(esme, member, fields, octets, expected) -> None:
    assert esme.request(submit(octets, **fields)).status == 0
    assert stored(member).text == expected


BOM_BE, BOM_LE = b"\xfe\xff", b"\xff\xfe"
SEVENTY = "مرحبا بكم " * 7


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (SEVENTY.encode("utf-16-be"), SEVENTY),
        (BOM_BE + SEVENTY.encode("utf-16-be"), SEVENTY),
        (BOM_LE + SEVENTY.encode("utf-16-le"), SEVENTY),
        (BOM_LE + "a 👋".encode("utf-16-le"), "a 👋"),
        (BOM_BE + "مرحبا".encode("utf-16-be") + b"\0\0", "مرحبا"),
        (BOM_LE + "مرحبا".encode("utf-16-le") + b"\0\0", "مرحبا"),
        (BOM_BE + "مرحبا".encode("utf-16-be") + b"\0", "مرحبا"),
    ],
)
def test_byte_order_marks_are_removed(esme, member, octets, expected) -> None:
    """70 letters stay one part, and all have the right byte order."""
    assert esme.request(submit(octets, data_coding=8)).status == 0
    message = stored(member)
    assert (message.text, message.parts, message.price) == (expected, 1, MICRO)


@pytest.mark.parametrize("octets", [BOM_BE, BOM_LE, BOM_BE + b"\0", BOM_LE + b"a"])
def test_a_byte_order_mark_alone_is_an_empty_text(esme, member, octets) -> None:
    refused(esme, member, submit(octets, data_coding=8))


@pytest.mark.parametrize("order", ["utf-16-be", "utf-16-le"])
@pytest.mark.parametrize("marks", ["first", "each"])
def test_byte_order_marks_of_parts(esme, member, order, marks) -> None:
    """Of a text encoded as a whole and then split, or of parts encoded one by one."""
    long = "رسالة طويلة 👋 إلى العميل " * 5
    mark = BOM_BE if order == "utf-16-be" else BOM_LE
    octets = long.encode(order)
    pieces = [octets[start : start + 100] for start in range(0, len(octets), 100)]
    for number, piece in enumerate(pieces, 1):
        header = encoding.concat_udh(7, len(pieces), number)
        marked = mark + piece if number == 1 or marks == "each" else piece
        pdu = submit(header + marked, data_coding=8, esm_class=0x40)
        assert esme.request(pdu).status == 0
    assert stored(member).text == long


@pytest.mark.parametrize(
    ("fields", "octets"),
    [
        ({}, b"hello\0"),
        ({"data_coding": 0xF0}, b"hello\0"),
        ({"data_coding": 0x10}, b"hello\0"),
        ({"data_coding": 1}, b"hello\0"),
        ({"data_coding": 3}, b"hello\0"),
        ({"data_coding": 8}, "hello".encode("utf-16-be") + b"\0\0"),
        ({"data_coding": 8}, "hello".encode("utf-16-be") + b"\0"),
        ({"data_coding": 3, "tlvs": {int(Tag.MESSAGE_PAYLOAD): b"hello\0"}}, b""),
        ({"tlvs": {int(Tag.MESSAGE_PAYLOAD): b"hello\0"}}, b""),
    ],
)
def test_counted_final_nul_is_removed(esme, member, fields, octets) -> None:
    assert esme.request(submit(octets, **fields)).status == 0
    assert stored(member).text == "hello"


@pytest.mark.parametrize("coding", ["latin1", "utf8"])
def test_counted_nul_in_an_account_s_own_coding(server, member, coding) -> None:
    member.set(default_coding=coding)
    with member.bound(server.port) as esme:
        assert esme.request(submit("é".encode({"latin1": "latin-1"}.get(coding, coding)) + b"\0"))
        mark = b"\xef\xbb\xbf" if coding == "utf8" else b""
        assert esme.request(submit(mark + b"hello\0")).status == 0
    assert [m.text for m in member.customer.messages()] == ["é", "hello"]


@pytest.mark.parametrize("written", ["see you @", "@", "@@", "at\n@"])
def test_single_at_sign_is_kept(esme, member, written) -> None:
    """In GSM's alphabet, its octet is 0."""
    assert esme.request(submit(encoding.written_in_gsm(written))).status == 0
    assert stored(member).text == written


def test_counted_nul_of_parts(esme, member) -> None:
    """Only the last part ends the text: in GSM's alphabet, other parts may end in `@`."""
    for number, piece in enumerate((b"write to me\0", b"example.com, and soon\0"), 1):
        header = encoding.concat_udh(9, 2, number)
        assert esme.request(submit(header + piece, esm_class=0x40)).status == 0
    assert stored(member).text == "write to me@example.com, and soon"


@pytest.mark.parametrize(
    ("fields", "octets"),
    [
        ({"data_coding": 1}, b"hel\0lo"),
        ({"data_coding": 3}, b"hel\0lo"),
        ({"data_coding": 8}, "hel\0lo".encode("utf-16-be")),
        ({"data_coding": 3}, b"\0"),
        ({"data_coding": 8}, b"\0\0"),
    ],
)
def test_nul_within_a_text_is_refused(esme, member, fields, octets) -> None:
    status = refused(esme, member, submit(octets, **fields))
    assert status in (Status.ESME_RSUBMITFAIL, Status.ESME_RINVMSGLEN)


@pytest.mark.parametrize("data_coding", [0x02, 0x04, 0x14, 0x15, 0x16, 0x17, 0xF4, 0xF5, 0xF7])
def test_binary_data_is_refused(esme, member, data_coding) -> None:
    """It is not a text: as Latin-1, it would be charged and be unreadable on the handset."""
    logo = bytes.fromhex("300504d6ff0a4c4f474f")
    tlvs = {int(Tag.MESSAGE_PAYLOAD): logo}
    to: list[Any] = [pdus.SmeAddress(1, 1, "966501234567")]
    for pdu in (
        submit(logo, data_coding=data_coding),
        submit(b"\x06\x05\x04\x15\x82\x00\x00" + logo, data_coding=data_coding, esm_class=0x40),
        submit(b"", tlvs=tlvs, data_coding=data_coding),
        pdus.DataSm("", 5, 0, SENDER, 1, 1, "966501234567", data_coding=data_coding, tlvs=tlvs),
        pdus.SubmitMulti("", 5, 0, SENDER, to, data_coding=data_coding, short_message=logo),
    ):
        assert refused(esme, member, pdu) == Status.ESME_RSUBMITFAIL


@pytest.mark.parametrize(
    ("coding", "octets", "expected"),
    [
        ("latin1", "Ñandú".encode("latin-1"), "Ñandú"),
        ("utf8", "مرحبا".encode(), "مرحبا"),
        ("packed", encoding.pack_septets(encoding.split("packed @ {x}").parts[0]), "packed @ {x}"),
    ],
)
def test_default_coding_of_an_account(server, member, coding, octets, expected) -> None:
    member.set(default_coding=coding)
    with member.bound(server.port) as esme:
        assert esme.request(submit(octets)).status == 0
    assert stored(member).text == expected


def test_table_of_codings() -> None:
    plain = SmppAccount()
    for data_coding in (2, 4, 5, 6, 9, 13, 0x14, 0x1C, 0x40, 0xC0, 0xF4):
        with pytest.raises(Refused):
            coding_of(data_coding, plain)
    assert coding_of(0x11, SmppAccount(default_coding="packed")) == "packed"


def test_gsm_under_data_coding_1(server, member) -> None:
    """As node-smpp sends it: its control characters are refused, or the account allows GSM."""
    octets = encoding.split("12 € [paid] a_b").parts[0]
    with member.bound(server.port) as esme:
        assert refused(esme, member, submit(octets, data_coding=1)) == Status.ESME_RSUBMITFAIL
    member.set(ascii_coding="gsm")
    with member.bound(server.port) as esme:
        assert esme.request(submit(octets, data_coding=1)).status == 0
    assert stored(member).text == "12 € [paid] a_b"


@pytest.mark.parametrize(
    ("address", "to"),
    [
        ((1, 1, "966501234567"), PHONE),
        ((1, 1, "+966501234567"), PHONE),
        ((0, 0, "00966501234567"), PHONE),
        ((0, 1, "966501234567"), PHONE),
        ((2, 1, "0501234567"), PHONE),
        ((2, 8, "501234567"), PHONE),
    ],
)
def test_types_of_number(server, member, address, to) -> None:
    member.set(country_code="966")
    pdu = submit()
    pdu.dest_addr_ton, pdu.dest_addr_npi, pdu.destination_addr = address
    with member.bound(server.port) as esme:
        assert esme.request(pdu).status == 0
    assert stored(member).to == to


@pytest.mark.parametrize(
    ("address", "name"),
    [((5, 0, SENDER), SENDER), ((0, 0, SENDER), SENDER), ((1, 1, "966555555555"), "+966555555555"),
     ((3, 0, "80123"), "80123"), ((0, 0, ""), SENDER)],
)  # fmt: skip
def test_senders(esme, member, committed_world, address, name) -> None:
    for more in ("+966555555555", "80123"):
        committed_world.sender(member.customer, more, kind="numeric")
    member.customer.organization.sender_ids.filter(name=SENDER).update(is_default=True)
    pdu = submit()
    pdu.source_addr_ton, pdu.source_addr_npi, pdu.source_addr = address
    assert esme.request(pdu).status == 0
    assert stored(member).sender == name


def test_message_payload(esme, member) -> None:
    pdu = submit(b"", tlvs={Tag.MESSAGE_PAYLOAD: ARABIC.encode("utf-16-be")}, data_coding=8)
    assert esme.request(pdu).status == 0
    message = stored(member)
    assert (message.text, message.parts) == (ARABIC, encoding.measure(ARABIC).parts)
    assert message.price == message.parts * MICRO


@pytest.mark.parametrize(
    "tail", [b"\0", b"abc", b"\x02\x04", b"\x14\x00\x00\x05a", b"\x04\x24\xff\xff"]
)
def test_submit_with_unreadable_trailing_octets_is_accepted(server, member, tail) -> None:
    """A common PHP client sends a NUL after the text, which must not refuse all its submits."""
    pdu = submit(b"hello", receipt=1, tlvs={int(Tag.USER_MESSAGE_REFERENCE): b"\x01\x02"})
    with member.bound(server.port) as esme:
        for sequence in (7, 8):
            pdu.sequence = sequence
            octets = encode(pdu) + tail
            esme.send_raw(len(octets).to_bytes(4, "big") + octets[4:])
            response = esme.receive()
            assert (response.status, response.sequence) == (0, sequence)
        server.report()
        session = SmppSession.objects.get()
        # Counted each time, and displayed once.
        assert session.protocol_errors == 2
        reported = [line["told"] for line in session.errors]
        assert reported == [f"{len(tail)} octets at its end were not read"]
    assert [(m.text, m.reference) for m in member.customer.messages()] == [("hello", "258")] * 2


@pytest.mark.parametrize("length", [0, 3, 200])
def test_wrong_sm_length_is_refused(esme, member, length) -> None:
    """Half a text is never sent or charged."""
    octets = bytearray(encode(submit(b"hello, here is all of it")))
    place = octets.index(b"hello") - 1
    octets[place] = length
    esme.send_raw(bytes(octets))
    assert esme.receive().status in (Status.ESME_RINVOPTPARSTREAM, Status.ESME_RINVMSGLEN)
    assert member.customer.messages() == []
    assert esme.request(submit()).status == 0


def test_data_sm(esme, member) -> None:
    response = esme.request(
        pdus.DataSm(
            "", 5, 0, SENDER, 1, 1, "966501234567", registered_delivery=1, data_coding=8,
            tlvs={
                Tag.MESSAGE_PAYLOAD: "مرحبا".encode("utf-16-be"),
                Tag.QOS_TIME_TO_LIVE: b"\0\0\0\x3c",
            },
        )
    )  # fmt: skip
    assert (response.status, response.command_id) == (0, pdus.DataSmResp.command_id)
    message = stored(member)
    assert message.text == "مرحبا"
    assert message.expires_at - message.created_at == timedelta(minutes=1)


def test_data_sm_s_long_address_and_long_time(esme, member) -> None:
    tlvs = {Tag.MESSAGE_PAYLOAD: b"hi", Tag.QOS_TIME_TO_LIVE: b"\xff" * 20}
    written = "+966 50 - 123 - 45 - 67"
    pdu = pdus.DataSm(
        "",
        5,
        0,
        SENDER,
        1,
        1,
        written,
        registered_delivery=1,
        tlvs={int(tag): value for tag, value in tlvs.items()},
    )
    assert esme.request(pdu).status == 0
    assert stored(member).to == PHONE
    now = datetime.now(UTC)
    advance(Message.objects.all(), "delivered", sent_at=now, final_at=now)
    assert esme.receive().source_addr == "966501234567"


def test_submit_multi(esme, member) -> None:
    response = esme.request(
        pdus.SubmitMulti(
            "", 5, 0, SENDER, registered_delivery=1, short_message=b"to many",
            dest_address=[
                pdus.SmeAddress(1, 1, "966501234567"),
                pdus.SmeAddress(1, 1, "12"),
                pdus.SmeAddress(6, 1, "966501234568"),
                pdus.SmeAddress(1, 1, "966501234569"),
            ],
        )
    )  # fmt: skip
    assert response.status == 0
    failed = {sme.destination_addr: sme.error_status_code for sme in response.unsuccess_sme}
    assert failed == {"12": Status.ESME_RINVDSTADR, "966501234568": Status.ESME_RINVDSTTON}
    assert sorted(m.to for m in member.customer.messages()) == [PHONE, "+966501234569"]
    displayed = {submit.shown_id or submit.id for submit in SmppSubmit.objects.all()}
    assert displayed == {ids.parse_id(ids.MESSAGE, response.message_id)}


def test_test_account_is_never_charged(committed_world, server, member, settings) -> None:
    committed_world.carrier(is_sandbox=True)
    tester = Member(committed_world, "tester", test=True, customer={"credits": 0})
    try:
        with tester.bound(server.port) as esme:
            assert esme.request(submit()).status == 0
        message = stored(tester)
        assert (message.test, message.price) == (True, 0)
    finally:
        tester.close()


def test_test_account_may_use_any_valid_sender(committed_world, server, member, settings) -> None:
    committed_world.carrier(is_sandbox=True)
    tester = Member(committed_world, "tester", test=True)
    responses = {}
    try:
        with tester.bound(server.port) as esme:
            for sender in ("NewShop", "New[Shop]"):
                pdu = submit()
                pdu.source_addr = sender
                responses[sender] = esme.request(pdu).status
        assert responses == {"NewShop": 0, "New[Shop]": Status.ESME_RINVSRCADR}
        assert stored(tester).sender == "NewShop"
    finally:
        tester.close()


# -- times, priorities, references -------------------------------------------------------------


def test_schedule_and_validity(esme, member) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    pdu = submit(schedule_delivery_time=format_time(at), validity_period="000000003000000R")
    assert esme.request(pdu).status == 0
    message = stored(member)
    assert (message.status, message.scheduled_at) == ("scheduled", at)
    assert message.expires_at == at + timedelta(minutes=30)


def test_relative_schedule_and_absolute_validity(esme, member) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    until = now + timedelta(hours=5)
    pdu = submit(schedule_delivery_time="000000010000000R", validity_period=format_time(until))
    assert esme.request(pdu).status == 0
    message = stored(member)
    assert message.scheduled_at is not None
    assert abs(message.scheduled_at - now - timedelta(hours=1)) < timedelta(seconds=5)
    assert abs(message.expires_at - until) < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("260731120000000+", datetime(2026, 7, 31, 12, tzinfo=UTC)),
        ("260731120000012+", datetime(2026, 7, 31, 9, tzinfo=UTC)),
        ("260731120000512-", datetime(2026, 7, 31, 15, 0, 0, 500_000, tzinfo=UTC)),
        ("000001020304000R", datetime(2026, 1, 2, 2, 3, 4, tzinfo=UTC)),
    ],
)
def test_times(written, expected) -> None:
    assert parse_time(written, datetime(2026, 1, 1, tzinfo=UTC)) == expected


@pytest.mark.parametrize(
    "written",
    ["", "x" * 16, "261331120000000+", "260731250000000+", "260731120000049+", "26073112000000 R"],
)
def test_invalid_times(written) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(written, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("may", "priority", "urgent"),
    [(True, 0, False), (True, 1, True), (True, 3, True), (False, 3, False)],
)
def test_priority(server, member, may, priority, urgent) -> None:
    member.set(may_be_urgent=may)
    with member.bound(server.port) as esme:
        assert esme.request(submit(priority_flag=priority)).status == 0
    assert stored(member).urgent is urgent


def test_reference_is_no_idempotency_key_by_default(esme, member) -> None:
    pdu = submit(tlvs={Tag.USER_MESSAGE_REFERENCE: b"\x12\x34"})
    ids_ = {esme.request(pdu).message_id for _ in range(2)}
    assert len(ids_) == 2
    assert {m.reference for m in member.customer.messages()} == {str(0x1234)}


def test_reference_as_an_idempotency_key(server, member) -> None:
    member.set(references_once=True)
    tlvs = {Tag.USER_MESSAGE_REFERENCE: b"\x12\x34"}
    with member.bound(server.port) as one, member.bound(server.port) as two:
        sequences = one.send(
            *(submit(tlvs={int(tag): value for tag, value in tlvs.items()}) for _ in range(20))
        )
        two.send(
            *(submit(tlvs={int(tag): value for tag, value in tlvs.items()}) for _ in range(20))
        )
        responses = [esme.receive() for esme in (one, two) for _ in sequences]
        assert {response.status for response in responses} == {0}
        assert len({response.message_id for response in responses}) == 1
        other = one.request(
            submit(b"another text", tlvs={int(tag): value for tag, value in tlvs.items()})
        )
        assert other.message_id != responses[0].message_id
    assert len(member.customer.messages()) == 2
    assert member.customer.balance() == 98 * MICRO


def test_refused_reference_may_be_reused(server, member) -> None:
    member.set(references_once=True)
    pdu = submit(tlvs={Tag.USER_MESSAGE_REFERENCE: b"\0\x01"})
    with member.bound(server.port) as esme:
        senders = member.customer.organization.sender_ids
        senders.update(name="Elsewhere")
        assert esme.request(pdu).status == Status.ESME_RINVSRCADR
        senders.update(name=SENDER)
        assert esme.request(pdu).status == 0


# -- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"to": "12"}, Status.ESME_RINVDSTADR),
        ({"to": "12025550123"}, Status.ESME_RINVDSTADR),
        ({"dest_addr_ton": 2, "to": "971501234567"}, Status.ESME_RINVDSTADR),
        ({"dest_addr_ton": 2, "to": "5016345670"}, Status.ESME_RINVDSTADR),
        # a Saudi number with a digit too many, and by luck one of Belize or Guyana
        ({"dest_addr_ton": 0, "to": "5016345670"}, Status.ESME_RINVDSTADR),
        ({"dest_addr_ton": 0, "to": "5926123456"}, Status.ESME_RINVDSTADR),
        ({"dest_addr_ton": 5}, Status.ESME_RINVDSTTON),
        ({"dest_addr_npi": 3}, Status.ESME_RINVDSTNPI),
        ({"source_addr": "Other"}, Status.ESME_RINVSRCADR),
        ({"source_addr_ton": 7}, Status.ESME_RINVSRCTON),
        ({"text": b""}, Status.ESME_RINVMSGLEN),
        ({"text": b" "}, Status.ESME_RINVMSGLEN),
        ({"text": b"", "tlvs": {Tag.MESSAGE_PAYLOAD: b"x" * 1600}}, Status.ESME_RINVMSGLEN),
        ({"text": b"\x80"}, Status.ESME_RSUBMITFAIL),
        ({"text": b"\x80", "data_coding": 1}, Status.ESME_RSUBMITFAIL),
        ({"text": b"odd", "data_coding": 8}, Status.ESME_RSUBMITFAIL),
        ({"data_coding": 5}, Status.ESME_RSUBMITFAIL),
        ({"esm_class": 0x01}, Status.ESME_RINVESMCLASS),
        ({"esm_class": 0x02}, Status.ESME_RINVESMCLASS),
        ({"esm_class": 0x08}, Status.ESME_RINVESMCLASS),
        ({"esm_class": 0x80}, Status.ESME_RINVESMCLASS),
        ({"esm_class": 0x40, "text": b"\x05\x00\x03\x01\x02"}, Status.ESME_RINVESMCLASS),
        ({"esm_class": 0x40, "text": b"\x06\x05\x04\x0b\x84\x23\xf0hi"}, Status.ESME_RINVESMCLASS),
        ({"priority_flag": 4}, Status.ESME_RINVPRTFLG),
        ({"registered_delivery": 0x20}, Status.ESME_RINVREGDLVFLG),
        ({"replace_if_present_flag": 1}, Status.ESME_RINVREPFLAG),
        ({"sm_default_msg_id": 1}, Status.ESME_RINVDFTMSGID),
        ({"schedule_delivery_time": "2607311200000000"}, Status.ESME_RINVSCHED),
        ({"schedule_delivery_time": "200101000000000+"}, Status.ESME_RINVSCHED),
        ({"schedule_delivery_time": "990000000000000R"}, Status.ESME_RINVSCHED),
        ({"validity_period": "000000000001000R"}, Status.ESME_RINVEXPIRY),
        ({"validity_period": "200101000000000+"}, Status.ESME_RINVEXPIRY),
        ({"tlvs": {Tag.DESTINATION_PORT: b"\0\1"}}, Status.ESME_ROPTPARNOTALLWD),
        ({"tlvs": {Tag.USER_MESSAGE_REFERENCE: b"\1" * 9}}, Status.ESME_RINVOPTPARAMVAL),
        ({"tlvs": {Tag.SAR_MSG_REF_NUM: b"\0\1"}}, Status.ESME_RMISSINGOPTPARAM),
        (
            {"tlvs": {Tag.SAR_MSG_REF_NUM: b"\0\1", Tag.SAR_TOTAL_SEGMENTS: b"\2",
                      Tag.SAR_SEGMENT_SEQNUM: b"\3"}},
            Status.ESME_RINVOPTPARAMVAL,
        ),
    ],
)  # fmt: skip
def test_refusals(esme, member, fields, status) -> None:
    pdu = submit(fields.get("text", b"hello"), fields.get("to", "966501234567"))
    for name, value in fields.items():
        if name not in ("text", "to"):
            setattr(pdu, name, value)
    assert refused(esme, member, pdu) == status


@pytest.mark.parametrize("written", ["0501234567", "501234567", "966501234567"])
def test_a_national_number_is_of_the_default_country(server, member, written: str) -> None:
    pdu = submit(b"hello", written)
    pdu.dest_addr_ton = 2
    with member.bound(server.port) as esme:
        assert esme.request(pdu).status == 0
    assert [message.to for message in member.customer.messages()] == ["+966501234567"]


def test_a_national_number_without_a_default_country(server, member) -> None:
    organization = member.customer.organization
    organization.default_country = ""
    organization.save()
    pdu = submit(b"hello", "0501234567")
    pdu.dest_addr_ton = 2
    with member.bound(server.port) as esme:
        assert refused(esme, member, pdu) == Status.ESME_RINVDSTTON


def test_no_credits(server, committed_world, member) -> None:
    poor = Member(committed_world, "poor", customer={"credits": 3})
    try:
        with poor.bound(server.port) as esme:
            esme.send(*(submit() for _ in range(5)))
            statuses = [esme.receive().status for _ in range(5)]
            assert sorted(statuses) == [0, 0, 0] + [Status.ESME_RSUBMITFAIL] * 2
            assert poor.customer.balance() == 0
            poor.set(statuses={"INSUFFICIENT_CREDITS": 1030})
            server.report()
            assert esme.request(submit()).status == 1030
        assert len(poor.customer.ledger()) == 3
    finally:
        poor.close()


def test_suppressed_number(esme, member) -> None:
    Suppression.objects.create(organization=member.customer.organization, number=PHONE)
    assert refused(esme, member, submit()) == Status.ESME_RINVDSTADR


def test_limit_of_the_organization(server, member) -> None:
    Organization.objects.filter(pk=member.customer.id).update(bulk_per_minute=5)
    with member.bound(server.port) as esme:
        esme.send(*(submit() for _ in range(8)))
        statuses = [esme.receive().status for _ in range(8)]
    assert statuses == [0] * 5 + [Status.ESME_RTHROTTLED] * 3
    assert len(member.customer.messages()) == 5


def test_throughput_of_the_account_over_two_servers(server, member) -> None:
    member.set(throughput=10)
    with running_server() as second, member.bound(server.port) as one:
        with member.bound(second.port) as two:
            for esme in (one, two):
                esme.send(*(submit() for _ in range(10)))
            statuses = [esme.receive().status for esme in (one, two) for _ in range(10)]
        passed = statuses.count(0)
        assert set(statuses) == {0, Status.ESME_RTHROTTLED}
        assert 10 <= passed <= 14  # those of one second, and those of the test's duration
        eventually(lambda: one.request(submit()).status == 0, 2)
    assert len(member.customer.messages()) == passed + 1


# -- long texts --------------------------------------------------------------------------------


def parts_of(body: str, header: str, reference: int = 7, **fields) -> list[pdus.SubmitSm]:
    """Return the submits of a long text, with "8" or "16" bit headers or "sar" parameters."""
    segments = encoding.split(body, 16 if header == "16" else 8)
    total = len(segments.parts)
    data_coding = 8 if segments.encoding == "ucs2" else 0
    submits = []
    for number, octets in enumerate(segments.parts, start=1):
        if header == "sar":
            tlvs = {
                Tag.SAR_MSG_REF_NUM: reference.to_bytes(2, "big"),
                Tag.SAR_TOTAL_SEGMENTS: bytes((total,)),
                Tag.SAR_SEGMENT_SEQNUM: bytes((number,)),
            }
            submits.append(submit(octets, data_coding=data_coding, tlvs=tlvs, **fields))
            continue
        udh = encoding.concat_udh(reference, total, number, 16 if header == "16" else 8)
        submits.append(submit(udh + octets, data_coding=data_coding, esm_class=0x40, **fields))
    return submits


@pytest.mark.parametrize("header", ["8", "16", "sar"])
@pytest.mark.parametrize("body", [ARABIC, LONG])
def test_long_text_becomes_one_message(esme, member, header, body) -> None:
    pdus_ = parts_of(body, header)
    random.Random(1).shuffle(pdus_)
    responses = [esme.request(pdu) for pdu in pdus_]
    assert {response.status for response in responses} == {0}
    assert len({response.message_id for response in responses}) == len(pdus_)
    message = stored(member)
    assert (message.text, message.parts) == (body, encoding.measure(body).parts)
    assert member.customer.balance() == 100 * MICRO - message.price
    assert not SmppAssembly.objects.exists()
    assert {row.message_id for row in SmppSubmit.objects.all()} == {message.id}
    assert not SmppSubmit.objects.exclude(content=b"").exists()


def test_parts_over_several_binds_at_once(server, member) -> None:
    texts = [f"{number} {LONG}" for number in range(12)]
    with member.bound(server.port) as one, member.bound(server.port) as two:
        by_bind: dict[int, list[pdus.SubmitSm]] = {0: [], 1: []}
        for number, body in enumerate(texts):
            for index, pdu in enumerate(parts_of(body, "8", number)):
                by_bind[index % 2].append(pdu)
        for esme, mine in zip((one, two), by_bind.values(), strict=True):
            random.Random(2).shuffle(mine)
            esme.send(*mine)
        statuses = [
            esme.receive().status
            for esme, mine in zip((one, two), by_bind.values(), strict=True)
            for _ in mine
        ]
    assert set(statuses) == {0}
    assert sorted(m.text for m in member.customer.messages()) == sorted(texts)
    assert member.customer.balance() == 100 * MICRO - sum(
        m.price for m in member.customer.messages()
    )


def test_first_part_is_charged_for_all_and_refunded_on_expiry(esme, member) -> None:
    first, *_ = parts_of(LONG, "8", receipt=1)
    total = len(parts_of(LONG, "8"))
    response = esme.request(first)
    assert response.status == 0
    assert member.customer.balance() == (100 - total) * MICRO
    assert not member.customer.messages()
    SmppAssembly.objects.update(expires_at=datetime.now(UTC))
    assert reassembly.expire() == 1
    assert member.customer.balance() == 100 * MICRO
    receipt = esme.receive()
    assert isinstance(receipt, pdus.DeliverSm)
    assert receipt.tlv_text(Tag.RECEIPTED_MESSAGE_ID) == response.message_id
    assert receipt.tlv_int(Tag.MESSAGE_STATE) == MessageState.EXPIRED
    esme.respond(receipt)
    eventually(lambda: not SmppReceipt.objects.exists())
    assert reassembly.expire() == 0


def both(esme: RawEsme, responses: int, receipts: int) -> tuple[list[Any], list[Any]]:
    """Receive that many responses and receipts in any order: both are sent after the commit."""
    got: tuple[list[Any], list[Any]] = [], []
    while (len(got[0]), len(got[1])) != (responses, receipts):
        pdu = esme.receive()
        got[isinstance(pdu, pdus.DeliverSm)].append(pdu)
    return got


def test_repeated_part_gets_the_same_id(esme, member) -> None:
    one, *rest = parts_of(LONG, "8")
    first = esme.request(one).message_id
    assert esme.request(one).message_id == first
    again = [esme.receive().message_id for _ in esme.send(rest[0], rest[0])]  # in one batch
    assert again[0] == again[1]
    for pdu in rest[1:]:
        assert esme.request(pdu).status == 0
    assert stored(member).text == LONG
    assert not SmppAssembly.objects.exists()


OTHER = "Quite another text under the same reference, and as many parts! " * 9


def test_reference_reused_by_a_bind_drops_the_first_text(esme, member) -> None:
    """No mixture of both is ever sent, and the first one is refunded."""
    one, *_ = parts_of(LONG, "8", receipt=1)
    second = parts_of(OTHER, "8")
    assert len(second) == len(parts_of(LONG, "8"))
    first = esme.request(one).message_id
    responses, (reported,) = both(esme, len(esme.send(*second)), 1)
    assert reported.tlv_text(Tag.RECEIPTED_MESSAGE_ID) == first
    assert reported.tlv_int(Tag.MESSAGE_STATE) == MessageState.EXPIRED
    esme.respond(reported)
    assert {response.status for response in responses} == {0}
    assert stored(member).text == OTHER
    assert member.customer.balance() == 100 * MICRO - stored(member).price
    assert not SmppAssembly.objects.exists()


def test_two_texts_with_one_reference_in_one_write(esme, member) -> None:
    sequences = esme.send(*parts_of(LONG, "8"), *parts_of(OTHER, "8"))
    assert {esme.receive().status for _ in sequences} == {0}
    assert sorted(m.text for m in member.customer.messages()) == sorted([LONG, OTHER])


def test_two_binds_with_one_reference_each_send_their_text(server, member) -> None:
    """Two programs of one customer that use the same references."""
    with member.bound(server.port) as one, member.bound(server.port) as two:
        for mine, theirs in zip(parts_of(LONG, "8"), parts_of(OTHER, "8"), strict=True):
            assert one.request(mine).status == two.request(theirs).status == 0
        assert sorted(m.text for m in member.customer.messages()) == sorted([LONG, OTHER])
        # And both continue: later references of either bind are independent.
        for esme, pdu in zip((one, two, one), parts_of(LONG, "8", 8)[:3], strict=True):
            assert esme.request(pdu).status == 0
    assert (
        member.customer.balance()
        == 100 * MICRO
        - sum(m.price for m in member.customer.messages())
        - len(parts_of(LONG, "8")) * MICRO * SmppAssembly.objects.count()
    )


def test_reference_reused_too_often_is_refused(esme, member) -> None:
    """Reused implausibly often in one write, it costs only a few rounds."""
    header = encoding.concat_udh(7, 2, 1)
    wild = [submit(header + f"text {n}".encode(), esm_class=0x40) for n in range(40)]
    statuses = {esme.receive().status for _ in esme.send(*wild)}
    assert statuses <= {0, Status.ESME_RSUBMITFAIL}
    assert SmppAssembly.objects.count() == 1
    assert member.customer.balance() == 98 * MICRO


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"destination_addr": "12"}, Status.ESME_RINVDSTADR),
        ({"source_addr": "Other"}, Status.ESME_RINVSRCADR),
    ],
)
def test_first_part_is_evaluated(esme, member, change, status) -> None:
    part = parts_of(LONG, "8")[1]
    for name, value in change.items():
        setattr(part, name, value)
    assert refused(esme, member, part) == status
    assert not SmppAssembly.objects.exists()


def test_too_many_parts(esme, member) -> None:
    assert refused(esme, member, parts_of("x" * 1600, "8")[0]) == Status.ESME_RINVMSGLEN


def test_long_text_without_the_credits(server, committed_world, member) -> None:
    poor = Member(committed_world, "poor", customer={"credits": 2})
    try:
        with poor.bound(server.port) as esme:
            statuses = [esme.request(pdu).status for pdu in parts_of(LONG, "8")]
        assert set(statuses) == {Status.ESME_RSUBMITFAIL}
        assert poor.customer.balance() == 2 * MICRO
    finally:
        poor.close()


def test_text_that_is_refused_when_complete(esme, member) -> None:
    """A text that is invalid only with its last part: its acknowledged parts fail."""
    *first, last = parts_of(ARABIC, "8", receipt=1)
    responses = [esme.request(pdu) for pdu in first]
    last.short_message += "م".encode("utf-16-be")[:1]  # half a character
    esme.send(last)
    (refusal,), receipts = both(esme, 1, len(responses))
    assert refusal.status == Status.ESME_RSUBMITFAIL
    reported = {}
    for receipt in receipts:
        reported[receipt.tlv_text(Tag.RECEIPTED_MESSAGE_ID)] = receipt.tlv_int(Tag.MESSAGE_STATE)
        esme.respond(receipt)
    assert set(reported) == {response.message_id for response in responses}
    assert set(reported.values()) == {MessageState.UNDELIVERABLE}
    assert member.customer.balance() == 100 * MICRO


def test_surrogates_split_between_parts_are_joined(esme, member) -> None:
    body = "👋" * 40
    octets = body.encode("utf-16-be")
    cut = [octets[:70], octets[70:140], octets[140:]]  # in the middle of pairs
    assert len(cut[0]) % 4
    for number, piece in enumerate(cut, start=1):
        udh = encoding.concat_udh(9, 3, number)
        assert esme.request(submit(udh + piece, data_coding=8, esm_class=0x40)).status == 0
    assert stored(member).text == body


def test_single_part_with_a_header(esme, member) -> None:
    assert esme.request(submit(encoding.concat_udh(1, 1, 1) + b"alone", esm_class=0x40)).status == 0
    assert stored(member).text == "alone"


def test_windows_of_many_submits(esme, member) -> None:
    """All in one write: they share commits, and each has its own response."""
    sequences = esme.send(*(submit(f"number {n}".encode()) for n in range(90)))
    responses = {response.sequence: response for response in (esme.receive() for _ in sequences)}
    assert set(responses) == set(sequences)
    assert {response.status for response in responses.values()} == {0}
    texts = {m.id: m.text for m in member.customer.messages()}
    for number, sequence in enumerate(sequences):
        known = ids.parse_id(ids.MESSAGE, responses[sequence].message_id)
        assert texts[known] == f"number {number}"
    assert member.customer.balance() == 10 * MICRO


# -- the database fails --------------------------------------------------------------------------


def test_unknown_commit_outcome_is_looked_up(esme, member, monkeypatch) -> None:
    """The connection is lost right after the commit: the stored rows decide the response."""
    take = store.take

    def cut_off(account, submits) -> None:
        take(account, submits)
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(store, "take", cut_off)
    responses = [esme.request(submit()) for _ in range(3)]
    assert {response.status for response in responses} == {0}
    known = {ids.parse_id(ids.MESSAGE, response.message_id) for response in responses}
    assert known == {message.id for message in member.customer.messages()}


def test_failed_commit_is_reported(esme, member, monkeypatch) -> None:
    def cut_off(account, submits) -> None:
        raise OperationalError("deadlock detected")

    monkeypatch.setattr(store, "take", cut_off)
    assert refused(esme, member, submit()) == Status.ESME_RMSGQFUL


def test_unknown_outcome_gets_no_response(esme, member, monkeypatch) -> None:
    def cut_off(*_) -> None:
        raise OperationalError("the database system is shutting down")

    for name in ("take", "stored"):
        monkeypatch.setattr(store, name, cut_off)
    monkeypatch.setattr(submit_batches, "OUTCOME_SECONDS", 0.1)
    monkeypatch.setattr(submit_batches, "OUTCOME_PAUSE", 0.01)
    esme.send(submit())
    assert esme.receive() is None


def test_one_failing_submit_does_not_affect_others(esme, member, monkeypatch) -> None:
    take = store.take

    def stumbles(account, submits) -> None:
        if any(submit.parsed.text == "trap" for submit in submits):
            raise ValueError("a mistake of ours")
        take(account, submits)

    monkeypatch.setattr(store, "take", stumbles)
    sequences = esme.send(submit(b"one"), submit(b"trap"), submit(b"two"))
    statuses = {
        response.sequence: response.status for response in (esme.receive() for _ in range(3))
    }
    assert [statuses[n] for n in sequences] == [0, Status.ESME_RSYSERR, 0]
    assert sorted(m.text for m in member.customer.messages()) == ["one", "two"]


def test_internal_error_is_a_system_error(esme, member, monkeypatch) -> None:
    monkeypatch.setattr(store, "take", lambda *_: 1 / 0)
    assert refused(esme, member, submit()) == Status.ESME_RSYSERR
    monkeypatch.undo()
    assert esme.request(submit()).status == 0
