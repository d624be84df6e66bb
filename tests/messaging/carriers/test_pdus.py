"""Messages as submit_sm PDUs: octets, headers, addresses and times in each carrier's format."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.carriers.config import wire_format
from messaging.carriers.pdus import (
    Ton,
    WireFormat,
    relative_time,
    submit_pdus,
)
from messaging.models import Carrier
from messaging.smpp.codec import decode, encode
from messaging.smpp.pdus import SubmitSm
from messaging.text import encoding as text

ID = uuid.UUID("01926f00-0000-7000-8000-0000000000a7")  # the reference of its parts is 0xA7
UNPACKED, PACKED, LATIN1 = (
    WireFormat(gsm_encoding=encoding) for encoding in ("unpacked", "packed", "latin1")
)


def pdus(body: str, format: WireFormat = UNPACKED, **more) -> list[SubmitSm]:
    given: dict[str, Any] = {
        "message_id": ID,
        "sender": "MyCompany",
        "to": "+966501234567",
        "validity": None,
    }
    return submit_pdus(format, body=body, **(given | more))


def only(body: str, format: WireFormat = UNPACKED, **more) -> SubmitSm:
    [pdu] = pdus(body, format, **more)
    return pdu


# ---------------------------------------------------------------- the whole PDU


def test_all_fields_of_a_simple_message():
    assert only("Hi", validity=timedelta(hours=48)) == SubmitSm(
        service_type="",
        source_addr_ton=5,
        source_addr_npi=0,
        source_addr="MyCompany",
        dest_addr_ton=1,
        dest_addr_npi=1,
        destination_addr="966501234567",
        esm_class=0,
        protocol_id=0,
        priority_flag=0,
        schedule_delivery_time="",
        validity_period="000002000000000R",
        registered_delivery=1,
        replace_if_present_flag=0,
        data_coding=0,
        sm_default_msg_id=0,
        short_message=b"Hi",
    )


def test_every_part_requests_a_receipt():
    assert {pdu.registered_delivery for pdu in pdus("a" * 1530)} == {1}


# ---------------------------------------------------------------- the text


@pytest.mark.parametrize(
    ("body", "format", "data_coding", "octets"),
    [
        ("Hello @$", UNPACKED, 0, b"Hello \x00\x02"),
        ("a{b}€", UNPACKED, 0, b"a\x1b\x28b\x1b\x29\x1be"),
        ("hellohello", PACKED, 0, bytes.fromhex("e8329bfd4697d9ec37")),
        # Seven septets leave seven bits, which would read as '@': a carriage return fills them.
        ("1234567", PACKED, 0, bytes.fromhex("31d98c56b3dd1a")),
        ("Hello @$ñ", LATIN1, 3, "Hello @$ñ".encode("latin-1")),
        ("a{b}", LATIN1, 3, b"a{b}"),
        # Latin-1 has neither the euro sign nor Greek: the default alphabet has.
        ("5€", LATIN1, 0, b"5\x1be"),
        ("ΔΩ", LATIN1, 0, b"\x10\x15"),
        *(
            ("مرحبا", format, 8, bytes.fromhex("06450631062d06280627"))
            for format in (UNPACKED, PACKED, LATIN1)
        ),
        ("😀", UNPACKED, 8, bytes.fromhex("d83dde00")),
    ],
)
def test_a_text_in_one_part(body, format, data_coding, octets):
    pdu = only(body, format)
    assert (pdu.esm_class, pdu.data_coding, pdu.short_message) == (0, data_coding, octets)


@pytest.mark.parametrize(
    ("body", "format", "lengths"),
    [
        ("a" * 160, UNPACKED, [160]),
        ("a" * 161, UNPACKED, [6 + 153, 6 + 8]),
        ("a" * 160, PACKED, [140]),
        ("a" * 161, PACKED, [140, 6 + 8]),  # one fill bit and 153 septets are 134 octets
        ("a" * 161, LATIN1, [6 + 153, 6 + 8]),
        ("م" * 70, UNPACKED, [140]),
        ("م" * 71, UNPACKED, [6 + 134, 6 + 8]),
        ("a" * 152 + "€a", UNPACKED, [154 + 1]),
        ("a" * 152 + "€" + "a" * 10, UNPACKED, [6 + 152, 6 + 12]),  # no pair is split
    ],
)
def test_part_lengths(body, format, lengths):
    assert [len(pdu.short_message) for pdu in pdus(body, format)] == lengths


@pytest.mark.parametrize("format", [UNPACKED, PACKED, LATIN1])
def test_parts_have_a_concatenation_header_and_udhi(format):
    parts = pdus("a" * 400, format)
    assert [pdu.esm_class for pdu in parts] == [0x40] * 3
    assert [pdu.short_message[:6].hex() for pdu in parts] == [
        "050003a70301",
        "050003a70302",
        "050003a70303",
    ]


def test_a_resubmitted_part_keeps_its_reference():
    assert pdus("a" * 400) == pdus("a" * 400)


def test_messages_to_one_handset_rarely_share_a_reference():
    other = uuid.UUID(int=ID.int + 1)
    first, second = pdus("a" * 400)[0], pdus("a" * 400, message_id=other)[0]
    assert first.short_message[3] != second.short_message[3]


@given(
    st.one_of(st.text("abc@Δ€{ñ\n", min_size=1, max_size=500), st.text(min_size=1, max_size=300)),
    st.sampled_from([UNPACKED, PACKED, LATIN1]),
)
def test_a_handset_decodes_the_original_text(body, format):
    read = ""
    parts = pdus(body, format)
    for index, pdu in enumerate(parts, start=1):
        data, header = pdu.short_message, b""
        if pdu.esm_class & 0x40:
            concat = text.parse_concat_udh(data)
            assert concat is not None
            assert (concat.reference, concat.total, concat.index) == (0xA7, len(parts), index)
            header, data = data[:6], data[6:]
        if pdu.data_coding == 8:
            assert len(pdu.short_message) <= 140
            read += data.decode("utf-16-be")
        elif pdu.data_coding == 3:
            read += data.decode("latin-1")
        elif format is PACKED:
            assert len(pdu.short_message) <= 140
            read += text.join("gsm7", [text.unpack_septets(data, text.udh_fill_bits(header))])
        else:
            assert len(data) <= (153 if header else 160)
            read += text.join("gsm7", [data])
        assert decode(encode(pdu)) == pdu
    if format is PACKED and read != body:
        # Where a part ends in '@' or a carriage return that fills its last octet, the number of
        # octets cannot distinguish it from filling (3GPP 23.038, 6.1.2.3.1).
        assert body.replace("@", "").replace("\r", "") == read.replace("@", "").replace("\r", "")
    else:
        assert read == body


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("sender", "address", "ton", "npi"),
    [
        ("MyCompany", "MyCompany", 5, 0),
        ("My Co 24", "My Co 24", 5, 0),
        ("24seven", "24seven", 5, 0),
        ("+966500000000", "966500000000", 1, 1),
        ("966500000000", "966500000000", 1, 1),
        ("+9665000", "9665000", 1, 1),
        ("123456789", "123456789", 1, 1),
        ("12345678", "12345678", 3, 0),
        ("711", "711", 3, 0),
    ],
)
def test_source_address_depends_on_the_kind_of_sender(sender, address, ton, npi):
    pdu = only("Hi", sender=sender)
    assert (pdu.source_addr, pdu.source_addr_ton, pdu.source_addr_npi) == (address, ton, npi)


@pytest.mark.parametrize(("plus", "address"), [(False, "966501234567"), (True, "+966501234567")])
def test_destination_plus_is_a_carrier_setting(plus, address):
    format = WireFormat(destination_plus=plus, destination=Ton(2, 8))
    pdu = only("Hi", format)
    assert (pdu.destination_addr, pdu.dest_addr_ton, pdu.dest_addr_npi) == (address, 2, 8)


def test_every_carrier_setting_affects_the_pdu():
    carrier = Carrier(
        source_ton_alphanumeric=11,
        source_npi_alphanumeric=12,
        source_ton_numeric=13,
        source_npi_numeric=14,
        source_ton_short_code=15,
        source_npi_short_code=16,
        destination_ton=17,
        destination_npi=18,
        destination_plus=True,
        gsm_encoding="latin1",
        source_coding="gsm",
        service_type="CMT",
        send_validity=False,
    )
    assert wire_format(carrier) == WireFormat(
        alphanumeric=Ton(11, 12),
        numeric=Ton(13, 14),
        short_code=Ton(15, 16),
        destination=Ton(17, 18),
        destination_plus=True,
        gsm_encoding="latin1",
        source_coding="gsm",
        service_type="CMT",
        send_validity=False,
    )
    pdu = only("Hi", wire_format(carrier), validity=timedelta(hours=1))
    assert (pdu.service_type, pdu.data_coding, pdu.validity_period) == ("CMT", 3, "")


def test_a_new_carrier_has_the_default_format():
    assert wire_format(Carrier()) == WireFormat()


@pytest.mark.parametrize(
    ("sender", "coding", "source"),
    [
        ("MyCompany", "ascii", "MyCompany"),
        ("MyCompany", "latin1", "MyCompany"),
        ("MyCompany", "gsm", "MyCompany"),
        ("Café", "ascii", None),
        ("Café", "latin1", "Caf\xe9"),
        ("Café", "gsm", "Caf\x05"),
        ("ΔELTA", "ascii", None),
        ("ΔELTA", "latin1", None),
        ("ΔELTA", "gsm", "\x10ELTA"),
        ("A_B", "gsm", "A\x11B"),
        ("A@B", "latin1", "A@B"),
        ("A@B", "gsm", None),  # its octet would end the address
        ("+966500000000", "ascii", "966500000000"),
        ("80123", "gsm", "80123"),
    ],
)
def test_sender_id_coding_is_a_carrier_setting(sender, coding, source):
    format = WireFormat(source_coding=coding)
    if source is None:
        with pytest.raises(ValueError, match="sender ID"):
            only("Hi", format, sender=sender)
        return
    pdu = only("Hi", format, sender=sender)
    assert pdu.source_addr == source
    assert decode(encode(pdu)) == pdu


# ---------------------------------------------------------------- validity


@pytest.mark.parametrize(
    ("span", "written"),
    [
        (timedelta(hours=48), "000002000000000R"),
        (timedelta(days=7), "000007000000000R"),
        (timedelta(hours=1, minutes=2, seconds=3), "000000010203000R"),
        (timedelta(seconds=90), "000000000130000R"),
        (timedelta(days=29, hours=23, minutes=59, seconds=59), "000029235959000R"),
        (timedelta(days=30), "000100000000000R"),
        # Fractions are truncated; durations under a minute, negative ones too, become a minute.
        (timedelta(seconds=61.9), "000000000101000R"),
        (timedelta(seconds=5), "000000000100000R"),
        (timedelta(seconds=-5), "000000000100000R"),
        (timedelta(days=63), "000203000000000R"),
        (timedelta(days=400), "000203000000000R"),
    ],
)
def test_validity_is_a_relative_time(span, written):
    assert relative_time(span) == written
    assert {pdu.validity_period for pdu in pdus("a" * 200, validity=span)} == {written}


def test_no_validity_means_an_empty_field():
    assert only("Hi", validity=None).validity_period == ""


@given(st.timedeltas(min_value=timedelta(seconds=60), max_value=timedelta(days=63)))
def test_a_relative_time_keeps_the_duration(span):
    written = relative_time(span)
    assert (len(written), written[-4:]) == (16, "000R")
    years, months, days, hours, minutes, seconds = (
        int(written[i : i + 2]) for i in range(0, 12, 2)
    )
    assert (years, months < 12, days < 30, hours < 24) == (0, True, True, True)
    assert minutes < 60 > seconds
    parsed = timedelta(days=30 * months + days, hours=hours, minutes=minutes, seconds=seconds)
    assert timedelta(0) <= span - parsed < timedelta(seconds=1)
