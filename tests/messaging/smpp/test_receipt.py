"""Receipts: every known format of carriers, and no input that makes parsing fail."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.smpp import receipt
from messaging.smpp.receipt import (
    MESSAGE_PAYLOAD,
    MESSAGE_STATE,
    NETWORK_ERROR_CODE,
    RECEIPTED_MESSAGE_ID,
    Receipt,
    format_receipt,
    normalize_id,
    parse_receipt,
)

NOON = datetime(2024, 1, 31, 12, 0)
DONE = datetime(2024, 1, 31, 12, 5)
DONE_SECOND = datetime(2024, 1, 31, 12, 5, 9)

# text → (id, state, raw state, error, submit date, done date)
SHAPES = {
    "standard": (
        "id:0123456789 sub:001 dlvrd:001 submit date:2401311200 done date:2401311205"
        " stat:DELIVRD err:000 text:Your code is",
        ("0123456789", "delivered", "DELIVRD", "000", NOON, DONE),
    ),
    "capital Text, one-digit err": (
        "id:IIIIIIIIII sub:1 dlvrd:0 submit date:2401311200 done\ndate:2401311205"
        " stat:EXPIRED err:5 Text: . . . .",
        ("IIIIIIIIII", "expired", "EXPIRED", "5", NOON, DONE),
    ),
    "seconds": (
        "id:64567564356765435676 sub:001 dlvrd:001 submit date:240131120000"
        " done date:240131120509 stat:DELIVRD err:000 text:Hello World",
        ("64567564356765435676", "delivered", "DELIVRD", "000", NOON, DONE_SECOND),
    ),
    "four-digit years": (
        "id:77 sub:001 dlvrd:001 submit date:20240131120000 done date:20240131120509"
        " stat:DELIVRD err:000 text:",
        ("77", "delivered", "DELIVRD", "000", NOON, DONE_SECOND),
    ),
    "four-digit years without seconds": (
        "id:77 submit date:202401311200 done date:202401311205 stat:DELIVRD err:000",
        ("77", "delivered", "DELIVRD", "000", NOON, DONE),
    ),
    "SMPP's own time format": (
        "id:rdwjwxns18krxr9936ey96ymcw sub:000 dlvrd:000 submit date:240131120000912+"
        " done date:240131120509012+ stat:UNDELIV err:000",
        ("rdwjwxns18krxr9936ey96ymcw", "failed", "UNDELIV", "000", NOON, DONE_SECOND),
    ),
    "readable dates": (
        "id:77 submit date:2024-01-31 12:00:00 done date:2024-01-31T12:05:09Z stat:DELIVRD",
        ("77", "delivered", "DELIVRD", "", NOON, DONE_SECOND),
    ),
    "no sub and dlvrd": (
        "id:1526758174 submit date:2401311200 done date:2401311205 stat:DELIVRD"
        " err:000 text:hellow",
        ("1526758174", "delivered", "DELIVRD", "000", NOON, DONE),
    ),
    "uuid, no text": (
        "id:1298d520-b783-49d9-87af-643d7bf13304 submit date:2401311200"
        " done date:2401311205 stat:DELIVRD err:00",
        ("1298d520-b783-49d9-87af-643d7bf13304", "delivered", "DELIVRD", "00", NOON, DONE),
    ),
    "hexadecimal id": (
        "id:6C7C7DE28BB3E961947700000000FE37 sub:001 dlvrd:000 submit date:2401311200"
        " done date:2401311205 stat:UNDELIV err:001 text:Ceci est un tet.",
        ("6C7C7DE28BB3E961947700000000FE37", "failed", "UNDELIV", "001", NOON, DONE),
    ),
    "all upper case": (
        "ID:77 SUB:001 DLVRD:001 SUBMIT DATE:2401311200 DONE DATE:2401311205 STAT:REJECTD ERR:8",
        ("77", "failed", "REJECTD", "8", NOON, DONE),
    ),
    "lower-case state": ("id:77 stat:delivrd err:000", ("77", "delivered", "DELIVRD", "000")),
    "underscores": (
        "id:77 sub:001 dlvrd:001 submit_date:2401311200 done_date:2401311205 stat:ACCEPTD err:000",
        ("77", "accepted", "ACCEPTD", "000", NOON, DONE),
    ),
    "GSM underscores": (
        "id:77 submit\x11date:2401311200 done\x11date:2401311205 stat:DELIVRD err:000",
        ("77", "delivered", "DELIVRD", "000", NOON, DONE),
    ),
    "no space in the names": (
        "id:77 submitdate:2401311200 donedate:2401311205 stat:DELIVRD err:000",
        ("77", "delivered", "DELIVRD", "000", NOON, DONE),
    ),
    "spaces after the colons": (
        "id: 77  sub: 001 dlvrd: 001 submit date: 2401311200 done date: 2401311205"
        "  stat: DELIVRD  err: 0 ",
        ("77", "delivered", "DELIVRD", "0", NOON, DONE),
    ),
    "commas": (
        "id:77,sub:001,dlvrd:001,submit date:2401311200,done date:2401311205,stat:UNKNOWN,err:12,",
        ("77", "unknown", "UNKNOWN", "12", NOON, DONE),
    ),
    "semicolons and equals": (
        "id=77; stat=DELETED; err=3; done date=2401311205",
        ("77", "failed", "DELETED", "3", None, DONE),
    ),
    "lines": (
        "id:77\r\nstat:ENROUTE\r\nerr:000\r\nsubmit date:2401311200\r\n",
        ("77", "enroute", "ENROUTE", "000", NOON),
    ),
    "nothing between the fields": (
        "id:77sub:001dlvrd:001submit date:2401311200done date:2401311205stat:DELIVRDerr:000text:hi",
        ("77", "delivered", "DELIVRD", "000", NOON, DONE),
    ),
    "quoted id": ('id:"00AB-77" stat:DELIVRD err:000', ("00AB-77", "delivered", "DELIVRD", "000")),
    "another order": (
        "stat:UNDELIV err:045 done date:2401311205 id:77 submit date:2401311200",
        ("77", "failed", "UNDELIV", "045", NOON, DONE),
    ),
    "trailing NULs": (
        "id:77 sub:001 dlvrd:001 submit date:2401311200 done date:2401311205"
        " stat:DELIVRD err:000\0\0",
        ("77", "delivered", "DELIVRD", "000", NOON, DONE),
    ),
    "other names": (
        "message_id:77 status:DELIVERED error_code:12 done_date:2401311205",
        ("77", "delivered", "DELIVERED", "12", None, DONE),
    ),
    "a word that is not seven letters": ("id:77 stat:FAILED", ("77", "failed", "FAILED")),
    "a number for a state": ("id:77 stat:2 err:000", ("77", "delivered", "DELIVRD", "000")),
    "an unheard-of state": (
        "id:77 sub:001 dlvrd:000 submit date:2401311200 done date:2401311205 stat:PARKED err:7",
        ("77", "unknown", "PARKED", "7", NOON, DONE),
    ),
    "no state": (
        "id:77 sub:001 dlvrd:000 submit date:2401311200 done date:2401311205 err:7",
        ("77", "unknown", "", "7", NOON, DONE),
    ),
    "no dates, or none that exist": (
        "id:77 submit date:0000000000 done date:2413311205 stat:EXPIRED err:",
        ("77", "expired", "EXPIRED"),
    ),
    "a negative error": ("id:77 stat:UNDELIV err:-1 text:", ("77", "failed", "UNDELIV", "-1")),
    "a control character in the text": (
        "id:117062714244798261 sub:001 dlvrd:001 submit date:2401311200"
        " done date:2401311205 stat:DELIVRD err:0000 text:H\x1bello world",
        ("117062714244798261", "delivered", "DELIVRD", "0000", NOON, DONE),
    ),
    "a text that looks like fields": (
        "id:77 sub:001 dlvrd:000 submit date:2401311200 done date:2401311205"
        " stat:UNDELIV err:9 text:id:1 stat:DELIVRD err:0",
        ("77", "failed", "UNDELIV", "9", NOON, DONE),
    ),
    "the same, text first": (
        "text:id:1 stat:DELIVRD id:77 stat:UNDELIV err:9",
        ("77", "failed", "UNDELIV", "9"),
    ),
    "text in the middle": (
        "id:77 text:hello done date:2401311205 stat:DELIVRD err:000",
        ("77", "delivered", "DELIVRD", "000", None, DONE),
    ),
}


def parsed(short_message: bytes, tlvs: dict[int, bytes] | None = None) -> Receipt:
    found = parse_receipt(short_message, tlvs or {})
    assert found is not None
    return found


def expected_receipt(message_id, state, raw_state, error="", submitted=None, done=None):
    final = state in ("delivered", "expired", "failed")
    return Receipt(message_id, state, raw_state, error, submitted, done, final)


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name):
    text, expected = SHAPES[name]
    assert parse_receipt(text.encode("latin-1"), {}) == expected_receipt(*expected)
    # The same in UCS-2, as at least one carrier sends it, and UCS-2 only by its data_coding.
    assert parse_receipt(text.encode("utf-16-be"), {}, 8) == expected_receipt(*expected)
    assert parse_receipt(text.encode("latin-1"), {}, 8) == expected_receipt(*expected)
    for codec in ("utf-16-be", "utf-16-le"):
        marked = ("\ufeff" + text).encode(codec)
        assert parse_receipt(marked, {}, 8) == expected_receipt(*expected)


@pytest.mark.parametrize(
    ("raw", "state", "final"),
    [
        ("DELIVRD", "delivered", True),
        ("EXPIRED", "expired", True),
        ("DELETED", "failed", True),
        ("UNDELIV", "failed", True),
        ("REJECTD", "failed", True),
        ("SKIPPED", "failed", True),
        ("ACCEPTD", "accepted", False),
        ("UNKNOWN", "unknown", False),
        ("ENROUTE", "enroute", False),
        ("SCHEDULED", "enroute", False),
    ],
)
def test_standard_states(raw, state, final):
    in_text = parsed(f"id:7 stat:{raw} err:000".encode())
    assert (in_text.raw_state, in_text.state, in_text.final) == (raw, state, final)
    code = receipt._CODE_BY_STATE[raw]
    in_tlv = parsed(b"", {RECEIPTED_MESSAGE_ID: b"7\0", MESSAGE_STATE: bytes([code])})
    assert (in_tlv.raw_state, in_tlv.state, in_tlv.final) == (raw, state, final)


def test_the_tables_are_consistent():
    assert set(receipt._STATE_BY_CODE.values()) <= set(receipt.STATES)
    assert {receipt.STATES[raw] for raw in receipt.RAW_STATES.values()} == set(receipt.RAW_STATES)
    assert all(receipt.STATES[raw] == state for state, raw in receipt.RAW_STATES.items())


STANDARD = SHAPES["standard"][0].encode()


@pytest.mark.parametrize(
    ("short_message", "tlvs", "expected"),
    [
        # Both take precedence over the text.
        (STANDARD, {RECEIPTED_MESSAGE_ID: b"AB77\0"}, ("AB77", "delivered", "DELIVRD")),
        (STANDARD, {MESSAGE_STATE: b"\x05"}, ("0123456789", "failed", "UNDELIV")),
        # Either completes a text without it.
        (b"id:77", {MESSAGE_STATE: b"\x03"}, ("77", "expired", "EXPIRED")),
        (b"stat:DELIVRD", {RECEIPTED_MESSAGE_ID: b"77\0"}, ("77", "delivered", "DELIVRD")),
        (b"", {RECEIPTED_MESSAGE_ID: b"77"}, ("77", "unknown", "")),
        # Blanks, more than one NUL, quotes and no NUL.
        (b"", {RECEIPTED_MESSAGE_ID: b" 77 \0x\0"}, ("77", "unknown", "")),
        (b"", {RECEIPTED_MESSAGE_ID: b'"77"', MESSAGE_STATE: b"\3"}, ("77", "expired", "EXPIRED")),
        # Without usable TLVs the text's word counts.
        (STANDARD, {RECEIPTED_MESSAGE_ID: b"\0"}, ("0123456789", "delivered", "DELIVRD")),
        (STANDARD, {MESSAGE_STATE: b"\xff"}, ("0123456789", "delivered", "DELIVRD")),
        (STANDARD, {MESSAGE_STATE: b""}, ("0123456789", "delivered", "DELIVRD")),
        (STANDARD, {MESSAGE_STATE: b"\0\5"}, ("0123456789", "delivered", "DELIVRD")),
        # The text may be in message_payload.
        (b"", {MESSAGE_PAYLOAD: STANDARD}, ("0123456789", "delivered", "DELIVRD")),
    ],
)  # fmt: skip
def test_tlvs(short_message, tlvs, expected):
    found = parsed(short_message, tlvs)
    assert (found.message_id, found.state, found.raw_state) == expected


@pytest.mark.parametrize(
    ("text", "network", "error_code"),
    [
        ("err:045", None, "045"),
        ("err:045", b"\x03\x00\x1b", "045"),
        ("err:000", b"\x03\x00\x1b", "3:27"),
        ("", b"\x03\x00\x1b", "3:27"),
        ("err:000", b"\x03\x00\x00", "000"),
        ("", b"\x03\x01\x00", "3:256"),
        ("err:000", b"\x00\x1b", "000"),
        ("", b"", ""),
        ("err:" + "A" * 50, None, "A" * 20),
        ("err:1027", None, "1027"),
        ("err:E21", None, "E21"),
        # The text has room for three digits, the TLV for all of them.
        ("err:027", b"\x03\x04\x03", "3:1027"),
        ("err:028", b"\x03\x04\x03", "028"),
        ("err:1027", b"\x03\x04\x03", "1027"),
    ],
)
def test_error_codes(text, network, error_code):
    tlvs = {} if network is None else {NETWORK_ERROR_CODE: network}
    assert parsed(b"id:7 stat:UNDELIV " + text.encode(), tlvs).error_code == error_code


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "STOP",
        "id: please call me",
        "My id:55 status:married",
        "ID: 1082934756, stat: KSA",
        "stat:DELIVRD err:000",  # of no message
        "id: stat:DELIVRD",
        "Paid:100 stat:good",
        "context:id",
        "مرحبا",
        "\0\0\0",
    ],
)
def test_messages_from_handsets_are_not_receipts(text):
    assert parse_receipt(text.encode("utf-8"), {}) is None
    assert parse_receipt(text.encode("utf-16-be"), {}, 8) is None


TAGS = [RECEIPTED_MESSAGE_ID, NETWORK_ERROR_CODE, MESSAGE_STATE, MESSAGE_PAYLOAD, 0x1400]
TLVS = st.dictionaries(st.sampled_from(TAGS), st.binary(max_size=70))
PIECES = [
    "id:",
    "stat:",
    "DELIVRD",
    "done date:",
    "text:",
    "err:",
    " ",
    "24013112",
    "05",
    '"',
    "\0",
]
RECEIPT_LIKE = st.lists(st.sampled_from(PIECES), max_size=25).map("".join).map(str.encode)


@given(st.one_of(st.binary(max_size=254), RECEIPT_LIKE), TLVS, st.sampled_from([0, 1, 3, 8, 255]))
def test_parsing_never_raises(short_message, tlvs, data_coding):
    found = parse_receipt(short_message, tlvs, data_coding)
    if found is not None:
        assert 1 <= len(found.message_id) <= receipt.LONGEST_ID
        assert len(found.raw_state) <= 20
        assert len(found.error_code) <= 20
        assert "\0" not in found.message_id + found.raw_state + found.error_code
        assert found.state in receipt.RAW_STATES


WORDS = st.text(alphabet="0123456789ABCDefi", min_size=1, max_size=12)
TEXTS = st.one_of(st.text(max_size=20), st.lists(st.sampled_from(PIECES)).map("".join))


@given(WORDS, WORDS, WORDS, st.sampled_from([" text:", " Text:", "", "\0"]), TEXTS)
def test_the_fast_pattern_gives_the_same_fields(message_id, error_code, state, end, text):
    written = (
        f"id:{message_id} sub:001 dlvrd:001 submit date:2401311200 done date:2401311205"
        f" stat:{state} err:{error_code}{end}{text}"
    )
    octets = written.encode("latin-1", "replace")
    found = parse_receipt(octets, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(receipt, "_fields", receipt._search_fields)
        assert parse_receipt(octets, {}) == found


@pytest.mark.parametrize(
    ("message_id", "written", "normal"),
    [
        ("1A2B", "hex", "6699"),
        ("1a2b", "hex", "6699"),
        ("0x1A2B", "hex", "6699"),
        ("00001A2B", "hex", "6699"),
        ("6699", "decimal", "6699"),
        ("0000006699", "decimal", "6699"),
        ("0", "decimal", "0"),
        ("000", "hex", "0"),
        ("007", "as_is", "007"),
        ("AB-7", "as_is", "ab-7"),
        (" 77 ", "as_is", "77"),
        # Not a number of that form: unchanged.
        ("1A2B", "decimal", "1a2b"),
        ("550E8400-E29B", "hex", "550e8400-e29b"),
        ("msg_77", "decimal", "msg_77"),
        ("0x", "hex", "0x"),
        ("-5", "decimal", "-5"),
        ("1_000", "decimal", "1_000"),
        ("٧٧", "decimal", "٧٧"),
        ("", "hex", ""),
        ("9" * 5000, "decimal", "9" * 5000),
    ],
)
def test_normalize_id(message_id, written, normal):
    assert normalize_id(message_id, written) == normal


@given(st.integers(0, 2**64), st.integers(0, 5), st.booleans())
def test_hex_response_ids_match_decimal_receipts(number, zeros, upper):
    in_hex = "0" * zeros + f"{number:{'X' if upper else 'x'}}"
    in_decimal = "0" * zeros + str(number)
    assert normalize_id(in_hex, "hex") == normalize_id(in_decimal, "decimal") == str(number)


@given(st.text(max_size=80), st.sampled_from(["as_is", "decimal", "hex"]))
def test_normalize_id_never_raises(message_id, written):
    assert isinstance(normalize_id(message_id, written), str)


def test_format_receipt():
    short_message, tlvs = format_receipt(
        "msg_7", "DELIVRD", NOON, DONE_SECOND, text="Your code is 123456, keep it"
    )
    assert short_message == (
        b"id:msg_7 sub:001 dlvrd:001 submit date:2401311200 done date:2401311205"
        b" stat:DELIVRD err:000 text:Your code is 123456,"
    )
    assert tlvs == {0x001E: b"msg_7\0", 0x0427: b"\x02"}
    short_message, tlvs = format_receipt(
        "7", "UNDELIV", NOON, DONE_SECOND, error_code="045", text="رمز\n\0 {id:9}", seconds=True
    )
    assert short_message == (
        b"id:7 sub:001 dlvrd:000 submit date:240131120000 done date:240131120509"
        b" stat:UNDELIV err:045 text:????? {id:9}"
    )
    assert tlvs == {0x001E: b"7\0", 0x0427: b"\x05"}


@pytest.mark.parametrize("message_id", ["", "a b", "a\0", "رقم", "7" * 65])
def test_format_receipt_refuses_ids(message_id):
    with pytest.raises(ValueError, match="a message id is"):
        format_receipt(message_id, "DELIVRD", NOON, DONE)


def test_format_receipt_refuses_states():
    with pytest.raises(ValueError, match="no such message state: delivered"):
        format_receipt("7", "delivered", NOON, DONE)


@given(
    st.from_regex(r"[0-9A-Za-z_-]{1,64}", fullmatch=True),
    st.sampled_from(sorted(receipt._CODE_BY_STATE)),
    st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)),
    st.from_regex(r"[0-9A-F]{1,4}", fullmatch=True),
    st.text(),
    st.booleans(),
)
def test_formatted_receipts_are_parsed_back(message_id, raw_state, date, error_code, text, seconds):
    date = date.replace(microsecond=0, second=date.second if seconds else 0)
    short_message, tlvs = format_receipt(
        message_id, raw_state, date, date, error_code=error_code, text=text, seconds=seconds
    )
    assert len(short_message) <= 254
    state = receipt.STATES[raw_state]
    expected = expected_receipt(message_id, state, raw_state, error_code, date, date)
    assert parse_receipt(short_message, tlvs) == expected
    assert parse_receipt(short_message, {}) == expected
