"""The meaning of receipts by a carrier's rules, and the reasons not to use one, as tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.carriers.receipt_rules import (
    LONGEST_RAW,
    MEANINGS,
    Rules,
    read,
)
from messaging.carriers.receipts import FinalReceipt, Reason, UnusedReceipt
from messaging.smpp.constants import Tag
from messaging.smpp.pdus import DataSm, DeliverSm
from messaging.smpp.receipt import STATES
from messaging.states import Status

RECEIPT, INTERMEDIATE = 0x04, 0x20
DELIVERED, FAILED, EXPIRED = Status.DELIVERED, Status.FAILED, Status.EXPIRED
ID = {int(Tag.RECEIPTED_MESSAGE_ID): b"77\0"}


def text(stat: str = "DELIVRD", err: str = "000") -> bytes:
    return (
        f"id:77 sub:001 dlvrd:001 submit date:2601010000 done date:2601010000"
        f" stat:{stat} err:{err} text:your code is 123456"
    ).encode()


def state(code: int) -> dict[int, bytes]:
    return {int(Tag.MESSAGE_STATE): bytes((code,))}


def deliver(
    content: bytes = b"", esm_class: int = RECEIPT, tlvs: dict[int, bytes] | None = None
) -> DeliverSm:
    return DeliverSm(esm_class=esm_class, short_message=content, tlvs=tlvs or {})


def data(content: bytes, esm_class: int = RECEIPT, **tlvs: bytes) -> DataSm:
    return DataSm(esm_class=esm_class, tlvs={int(Tag.MESSAGE_PAYLOAD): content})


USED = [
    (deliver(text()), Rules(), FinalReceipt("77", DELIVERED)),
    (deliver(text("UNDELIV", "1027")), Rules(), FinalReceipt("77", FAILED, "UNDELIV 1027")),
    (deliver(text("EXPIRED")), Rules(), FinalReceipt("77", EXPIRED, "EXPIRED")),
    # With each kind of mark.
    (deliver(text(), 0, ID), Rules(), FinalReceipt("77", DELIVERED)),
    (deliver(text(), 0, state(2)), Rules(), FinalReceipt("77", DELIVERED)),
    (deliver(text(), INTERMEDIATE), Rules(), FinalReceipt("77", DELIVERED)),
    (deliver(b"", RECEIPT, ID | state(5)), Rules(), FinalReceipt("77", FAILED, "UNDELIV")),
    (deliver(b"id:77 stat:DND"), Rules(), FinalReceipt("77", FAILED, "DND")),
    # By data_sm, unless the carrier's setting is off.
    (data(text()), Rules(), FinalReceipt("77", DELIVERED)),
    # With esm_class 0 only where the carrier's setting is on.
    (deliver(text(), 0), Rules(unmarked=True), FinalReceipt("77", DELIVERED)),
    (data(text("UNDELIV"), 0), Rules(unmarked=True), FinalReceipt("77", FAILED, "UNDELIV")),
    # message_state takes precedence, unless it is not final and the setting is on.
    (deliver(text(), RECEIPT, state(5)), Rules(), FinalReceipt("77", FAILED, "UNDELIV")),
    (deliver(text(), RECEIPT, state(1)), Rules(text_first=True), FinalReceipt("77", DELIVERED)),
    (
        deliver(text("UNDELIV"), RECEIPT, state(2)),
        Rules(text_first=True),
        FinalReceipt("77", DELIVERED),
    ),
    # The carrier's own words take precedence over the common ones.
    (deliver(text("NODLV")), Rules(words={"NODLV": "failed"}), FinalReceipt("77", FAILED, "NODLV")),
    (deliver(text("nodlv")), Rules(words={"NODLV": "failed"}), FinalReceipt("77", FAILED, "NODLV")),
    (
        deliver(text("DELETED")),
        Rules(words={"DELETED": "expired"}),
        FinalReceipt("77", EXPIRED, "DELETED"),
    ),
    (
        deliver(text("ACCEPTD")),
        Rules(words={"ACCEPTD": "delivered"}),
        FinalReceipt("77", DELIVERED),
    ),
    (
        deliver(b"", RECEIPT, ID | state(6)),
        Rules(words={"ACCEPTD": "delivered"}),
        FinalReceipt("77", DELIVERED),
    ),
    (deliver(text()), Rules(id_form="hex"), FinalReceipt("119", DELIVERED)),
]


@pytest.mark.parametrize(("pdu", "rules", "expected"), USED)
def test_used_receipts(pdu, rules, expected) -> None:
    assert read(pdu, rules) == expected


UNUSED = [
    # A handset can send it.
    (deliver(text(), 0), Rules(), Reason.UNMARKED, "delivered"),
    (deliver(text("UNDELIV"), 0x40), Rules(), Reason.UNMARKED, "failed"),
    (data(text(), 0), Rules(), Reason.UNMARKED, "delivered"),
    (data(text()), Rules(by_data_sm=False), Reason.DATA_SM, "delivered"),
    (data(text(), 0), Rules(by_data_sm=False, unmarked=True), Reason.DATA_SM, "delivered"),
    (deliver(text(), RECEIPT, state(1)), Rules(), Reason.CONTRADICTION, "delivered"),
    (deliver(text("UNDELIV"), RECEIPT, state(7)), Rules(), Reason.CONTRADICTION, "failed"),
    (deliver(text("NODLV")), Rules(), Reason.UNKNOWN_WORD, ""),
    (deliver(text("NODLV"), RECEIPT, state(1)), Rules(), Reason.UNKNOWN_WORD, ""),
    (deliver(text("")), Rules(), Reason.UNREADABLE, ""),
    (deliver(b"stat:DELIVRD"), Rules(), Reason.UNREADABLE, ""),
    (deliver(b""), Rules(), Reason.UNREADABLE, ""),
    (deliver(b"", RECEIPT, ID), Rules(), Reason.UNREADABLE, ""),
    (deliver(b"no receipt at all"), Rules(), Reason.UNREADABLE, ""),
]


@pytest.mark.parametrize(("pdu", "rules", "reason", "status"), UNUSED)
def test_unused_receipts_and_their_reasons(pdu, rules, reason, status) -> None:
    receipt = read(pdu, rules)
    assert isinstance(receipt, UnusedReceipt)
    assert (receipt.reason, receipt.status) == (reason, status)
    # Its fields are stored for operators, without the message's text.
    assert "123456" not in receipt.raw
    assert "no receipt" not in receipt.raw
    assert receipt.raw.startswith(("deliver_sm esm_class=0x", "data_sm esm_class=0x"))
    if b"id:77" in (pdu.tlvs.get(Tag.MESSAGE_PAYLOAD) or getattr(pdu, "short_message", b"")):
        assert receipt.carrier_message_id == "77"
        assert "id:77 " in receipt.raw


NEITHER = [
    deliver(text("ENROUTE")),
    deliver(text("ACCEPTD")),
    deliver(text("UNKNOWN")),
    deliver(text("BUFFRED"), INTERMEDIATE),
    deliver(b"", INTERMEDIATE),
    deliver(b"", RECEIPT, ID | state(1)),
    # A text from a handset, whatever it contains.
    deliver(b"hello", 0),
    deliver(b"what does stat:DELIVRD mean?", 0),
    deliver(b"id: I have lost mine", 0),
    deliver(text("ENROUTE"), 0),
    deliver(text("NODLV"), 0),
    data(b"hello", 0),
]


@pytest.mark.parametrize("pdu", NEITHER)
def test_pdus_that_are_not_final_receipts_are_ignored(pdu) -> None:
    assert read(pdu, Rules()) is None
    assert read(pdu, Rules(unmarked=True, text_first=True)) is None


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("UNDELIVERD", "failed"),
        ("UNDELIVRD", "failed"),
        ("EXPIRD", "expired"),
        ("BLOCKED", "failed"),
        ("DND", "failed"),
        ("FAILED", "failed"),
        ("DELIVERD", "delivered"),
        ("REJECTED", "failed"),
        ("BLACKLISTED", "failed"),
        ("CANCELLED", "failed"),
        ("PENDING", "enroute"),
    ],
)
def test_common_status_words_are_known(word, meaning) -> None:
    assert Rules().meaning(word) == STATES[word] == meaning
    assert Rules(words={word: "enroute"}).meaning(word) == "enroute"


def test_status_words_are_unique_within_twenty_characters() -> None:
    assert all(word == word.upper() and len(word) <= 20 for word in STATES)


@given(
    content=st.binary(max_size=255) | st.sampled_from([text(), text("ENROUTE"), text("X" * 90)]),
    esm_class=st.integers(0, 255),
    tlvs=st.dictionaries(st.sampled_from([0x1E, 0x423, 0x424, 0x427]), st.binary(max_size=300)),
    rules=st.builds(
        Rules,
        id_form=st.sampled_from(["as_is", "decimal", "hex"]),
        by_data_sm=st.booleans(),
        unmarked=st.booleans(),
        text_first=st.booleans(),
        words=st.dictionaries(st.text(max_size=20), st.sampled_from(MEANINGS), max_size=3),
    ),
)
def test_no_input_raises_and_all_fields_fit(content, esm_class, tlvs, rules) -> None:
    for pdu in (deliver(content, esm_class, tlvs), DataSm(esm_class=esm_class, tlvs=tlvs)):
        receipt = read(pdu, rules)
        if receipt is not None:
            assert len(receipt.carrier_message_id) <= 255
            assert len(receipt.code) <= 41
            assert "\0" not in receipt.carrier_message_id + receipt.code
        if isinstance(receipt, UnusedReceipt):
            assert len(receipt.raw) <= LONGEST_RAW
            assert len(receipt.word) <= 20
            assert "\0" not in receipt.raw + receipt.word
