"""Parsing and formatting of delivery receipts: the text of SMPP 3.4 Appendix B, and TLVs. Pure.

The format is the carrier's own; Appendix B only shows a typical one. So fields are found by name,
in any order, case, spelling and spacing, and the TLVs, which allow no variants, take precedence.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final, Literal

ReceiptState = Literal["delivered", "expired", "failed", "enroute", "accepted", "unknown"]
IdForm = Literal["as_is", "decimal", "hex"]

RECEIPTED_MESSAGE_ID: Final = 0x001E  # SMPP 3.4 §5.3.2.12, C-octet string
NETWORK_ERROR_CODE: Final = 0x0423  # §5.3.2.31, network type and two octets of code
MESSAGE_PAYLOAD: Final = 0x0424  # §5.3.2.32, instead of short_message
MESSAGE_STATE: Final = 0x0427  # §5.3.2.35, one octet as in §5.2.28

# The words that carriers write after "stat:", with our states. The first ten are the standard's,
# the others were seen in practice; a carrier's own table takes precedence over this one.
# ACCEPTD is final on paper, but carriers send it for "the network has it" and DELIVRD later.
_DELIVERED: Final = "DELIVERED DELIVERD DELIVRED DELIVERED_TO_HANDSET DELVRD DLVRD SUCCESS"
_EXPIRED: Final = "EXPIRD EXPRD EXPIRE VALIDITY_EXPIRED"
_FAILED: Final = (
    "UNDELIVERED UNDELIVERD UNDELIVERABLE UNDELIVRD UNDELVRD UNDLVRD UNDELIVD UNDEL"
    " NOT_DELIVERED NOTDELIVERED NONDELIV FAILED FAIL FAILURE ERROR"
    " REJECTED REJECT REJCTD REJECTE BLOCKED BLOCKD BLACKLISTED BLACKLIST BARRED"
    " DND DND_FAIL DNDFAIL NDNC SPAM FILTERED CANCELED CANCELLED CANCELD"
)
_ENROUTE: Final = (
    "BUFFERED BUFFRED BUFFERD SCHEDLD SCHEDULD PENDING SENT SUBMITTED SUBMITD QUEUED RETRY"
    " IN_TRANSIT EN_ROUTE"
)
STATES: Final[dict[str, ReceiptState]] = {
    "DELIVRD": "delivered",
    "EXPIRED": "expired",
    "DELETED": "failed",
    "UNDELIV": "failed",
    "ACCEPTD": "accepted",
    "UNKNOWN": "unknown",
    "REJECTD": "failed",
    "ENROUTE": "enroute",
    "SCHEDULED": "enroute",
    "SKIPPED": "failed",
    **dict.fromkeys(_DELIVERED.split(), "delivered"),
    **dict.fromkeys(_EXPIRED.split(), "expired"),
    **dict.fromkeys(_FAILED.split(), "failed"),
    **dict.fromkeys(_ENROUTE.split(), "enroute"),
    "ACCEPTED": "accepted",
    "UNKNWN": "unknown",
}
# A final receipt may still follow UNKNOWN; without one, the message expires.
FINAL_STATES: Final[frozenset[ReceiptState]] = frozenset({"delivered", "expired", "failed"})

# message_state, SMPP 3.4 §5.2.28; 0 and 9 are SMPP 5.0's (§4.7.15).
_STATE_BY_CODE: Final = {
    0: "SCHEDULED", 1: "ENROUTE", 2: "DELIVRD", 3: "EXPIRED", 4: "DELETED",
    5: "UNDELIV", 6: "ACCEPTD", 7: "UNKNOWN", 8: "REJECTD", 9: "SKIPPED",
}  # fmt: skip
_CODE_BY_STATE: Final = {state: code for code, state in _STATE_BY_CODE.items()}

# The word for `format_receipt` for each of our states.
RAW_STATES: Final[dict[ReceiptState, str]] = {
    "delivered": "DELIVRD",
    "expired": "EXPIRED",
    "failed": "UNDELIV",
    "enroute": "ENROUTE",
    "accepted": "ACCEPTD",
    "unknown": "UNKNOWN",
}

LONGEST_ID: Final = 255
"""Characters of an id that are stored. §5.2.23 allows 64, and not all carriers observe that."""
_MAX_WORD: Final = 20
_MAX_TIME: Final = 32

# A field's name up to its value. Longer names are found even without a separator from the previous
# value; too many words end in "id" and "text" for that. 0x11 is GSM's underscore.
_NAME: Final = re.compile(
    r"""(?:
      (?P<id> (?<![a-z]) (?:(?:receipted[\s_-]?)?(?:message|msg|smsc)[\s_-]?)? id )
    | (?P<sub> sub )
    | (?P<dlvrd> dlvrd )
    | (?P<submit> submit[\s_\x11-]?date )
    | (?P<done> done[\s_\x11-]?date )
    | (?P<stat> stat(?:us|e)? )
    | (?P<err> err(?:or)?(?:[\s_\x11-]?code)? )
    | (?P<text> (?<![a-z]) text )
    )["']?\s*[:=]""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
# The exact format of Appendix B, which most carriers use: the same fields, many times faster.
_STANDARD: Final = re.compile(
    r"id:(?P<id>[0-9A-Za-z-]+) sub:(?P<sub>[0-9]+) dlvrd:(?P<dlvrd>[0-9]+)"
    r" submit date:(?P<submit>[0-9]+) done date:(?P<done>[0-9]+)"
    r" stat:(?P<stat>[A-Za-z]+) err:(?P<err>[0-9A-Za-z]*)(?: [Tt]ext:|[ \0]*\Z)"
)
_WORD: Final = re.compile(r"""[\s"'<(\[{]*([^\s\x00"'<>()\[\]{},;|]+)""")
_TIME: Final = re.compile(r"[\s\"']*([0-9][0-9\-/:. T]*)")
_NOT_DIGIT: Final = re.compile(r"[^0-9]")
_DECIMAL: Final = re.compile(r"[0-9]+")
_HEX: Final = re.compile(r"(?:0x)?([0-9a-f]+)")
_PRINTABLE: Final = re.compile(r"[!-~]{1,64}")


@dataclass(frozen=True, slots=True)
class Receipt:
    """A carrier's delivery receipt for one part.

    `message_id` is unchanged (`normalize_id` makes it comparable), at most LONGEST_ID characters.
    `raw_state` is the carrier's word in upper case, at most 20 characters; `state` is ours.
    `error_code` is the text's code, or "type:code" from the TLV. Dates are on the carrier's clock,
    without a time zone. `tlv_word` is the word of message_state and `text_word` that of the text,
    for a carrier's own rules; either may be empty.
    """

    message_id: str
    state: ReceiptState
    raw_state: str
    error_code: str
    submit_date: datetime | None
    done_date: datetime | None
    final: bool
    tlv_word: str = field(default="", compare=False)
    text_word: str = field(default="", compare=False)


def parse_receipt(
    short_message: bytes,
    tlvs: Mapping[int, bytes],
    data_coding: int = 0,
    *,
    marked: bool = False,
) -> Receipt | None:
    """Return the receipt in a deliver_sm's text and TLVs, or None if there is none. Never raises.

    Fields are those of SMPP 3.4 Appendix B; receipted_message_id (§5.3.2.12) and message_state
    (§5.2.28) take precedence over the text. A text alone is a receipt if it has an id and a state
    in STATES, or an id and three more fields; if it is `marked` as one, an id is enough. The caller
    evaluates esm_class, which is the better sign of a receipt.
    """
    fields = _fields(_decode(short_message or tlvs.get(MESSAGE_PAYLOAD, b""), data_coding))
    tlv_id = _c_string(tlvs.get(RECEIPTED_MESSAGE_ID, b""))
    tlv_state = _tlv_state(tlvs.get(MESSAGE_STATE, b""))
    message_id = tlv_id or _word(fields.get("id", ""), LONGEST_ID)
    text_state = _text_state(fields.get("stat", ""))
    raw_state = tlv_state or text_state
    if not message_id:
        return None
    if not (marked or tlv_id or tlv_state or raw_state in STATES or len(fields) >= 4):
        return None
    state = STATES.get(raw_state, "unknown")
    return Receipt(
        message_id=message_id,
        state=state,
        raw_state=raw_state,
        error_code=_error_code(fields.get("err", ""), tlvs.get(NETWORK_ERROR_CODE, b"")),
        submit_date=_date(fields.get("submit", "")[:_MAX_TIME]),
        done_date=_date(fields.get("done", "")[:_MAX_TIME]),
        final=state in FINAL_STATES,
        tlv_word=tlv_state,
        text_word=text_state,
    )


def outline(short_message: bytes, tlvs: Mapping[int, bytes], data_coding: int = 0) -> str:
    """Return a receipt's fields unchanged, for people, without the message's own text.

    Return an empty string if there is no field: the text may then be private.
    """
    text = _decode(short_message or tlvs.get(MESSAGE_PAYLOAD, b""), data_coding)
    names = list(_NAME.finditer(text))
    ends = (match.start() for match in names if match.lastgroup == "text")
    fields = text[: next(ends, len(text))] if names and names[0].lastgroup != "text" else ""
    values = [
        f"{name}={tlvs[tag].hex()}"
        for name, tag in (
            ("receipted_message_id", RECEIPTED_MESSAGE_ID),
            ("message_state", MESSAGE_STATE),
            ("network_error_code", NETWORK_ERROR_CODE),
        )
        if tag in tlvs
    ]
    outlined = " ".join([fields.strip(), *values])
    return "".join(c if c.isprintable() else " " for c in outlined).strip()


def normalize_id(message_id: str, form: IdForm) -> str:
    """Return a carrier's message id in the form that is stored and compared.

    A carrier has two settings: the form of ids in its submit_sm_resp, and the form of ids in its
    receipts (in receipted_message_id if it sends that, else in the text). Both are normalized here,
    each with its own setting, so a carrier that responds with "1A2B" and sends receipts for "6699"
    has hex and decimal.

    "decimal" and "hex" give the number in decimal, without leading zeros. "as_is" gives the id in
    lower case with its zeros, and so does an id that is not a number of that form. So "as_is" on
    one side requires "as_is" on the other, and a carrier that only pads one side with zeros has
    decimal on both (hex, if there are letters).
    """
    plain = message_id.strip().lower()
    if len(plain) > LONGEST_ID:  # never an id, and Python refuses to convert very long numbers
        return plain
    if form == "decimal" and _DECIMAL.fullmatch(plain):
        return str(int(plain))
    if form == "hex" and (match := _HEX.fullmatch(plain)):
        return str(int(match[1], 16))
    return plain


def _ascii(text: str) -> bytes:
    return text.encode("ascii", "replace")


def format_receipt(
    message_id: str,
    raw_state: str,
    submit_date: datetime,
    done_date: datetime,
    *,
    error_code: str = "000",
    text: str = "",
    dlvrd: int | None = None,
    seconds: bool = False,
    alphabet: Callable[[str], bytes] = _ascii,
) -> tuple[bytes, dict[int, bytes]]:
    """Return a receipt's short_message (SMPP 3.4 Appendix B) and its two TLVs.

    `raw_state` is one of the standard's words: see RAW_STATES for ours. Dates keep their zone, to
    the minute or, with `seconds`, to the second. The first 20 characters of `text` come last.
    `alphabet` encodes all of it for the data_coding, with '?' for missing characters. `dlvrd` is
    1 by default when delivered, else 0. Raises ValueError for an id that is not 1 to 64 visible
    ASCII characters, or an unknown state.
    """
    if not _PRINTABLE.fullmatch(message_id):
        raise ValueError("a message id is 1 to 64 visible ASCII characters")
    if raw_state not in _CODE_BY_STATE:
        raise ValueError(f"no such message state: {raw_state}")
    if dlvrd is None:
        dlvrd = int(raw_state == "DELIVRD")
    style = "%y%m%d%H%M%S" if seconds else "%y%m%d%H%M"
    quoted = "".join(c if c.isprintable() else "?" for c in text[:20])
    short_message = (
        f"id:{message_id} sub:001 dlvrd:{dlvrd:03d}"
        f" submit date:{submit_date:{style}} done date:{done_date:{style}}"
        f" stat:{raw_state} err:{error_code} text:{quoted}"
    )
    return alphabet(short_message), {
        RECEIPTED_MESSAGE_ID: message_id.encode("ascii") + b"\0",
        MESSAGE_STATE: bytes((_CODE_BY_STATE[raw_state],)),
    }


def _decode(octets: bytes, data_coding: int) -> str:
    """Return the text, well enough for field names: any one-octet alphabet is read as Latin-1."""
    # Some carriers declare UCS-2 and send ASCII; UTF-16 of ASCII has a NUL in every other octet.
    if data_coding == 8 and b"\0" in octets.rstrip(b"\0"):
        little = octets.startswith(b"\xff\xfe")
        return octets.decode("utf-16-le" if little else "utf-16-be", "replace").lstrip("\ufeff")
    return octets.decode("latin-1")


def _fields(text: str) -> dict[str, str]:
    """Return raw field values by the names of _NAME's groups, without the message's own text."""
    standard = _STANDARD.match(text)
    return _search_fields(text) if standard is None else standard.groupdict()


def _search_fields(text: str) -> dict[str, str]:
    """Return the fields in any order and spelling.

    The message's text may look like fields, and its author must not be able to forge a receipt. So
    fields before "text:" take precedence, and of those behind it the last one counts.
    """
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    in_text = False
    name, start = "", 0
    for match in _NAME.finditer(text):
        _keep(after if in_text else before, name, text[start : match.start()], last=in_text)
        name, start = match.lastgroup or "", match.end()
        in_text = in_text or name == "text"
    _keep(after if in_text else before, name, text[start:], last=in_text)
    return {**after, **before}


def _keep(fields: dict[str, str], name: str, value: str, *, last: bool) -> None:
    if name and name != "text" and (last or name not in fields):
        fields[name] = value


def _word(value: str, limit: int) -> str:
    match = _WORD.match(value)
    return match[1][:limit] if match else ""


def _c_string(octets: bytes) -> str:
    return octets.split(b"\0", 1)[0].decode("latin-1").strip().strip("\"'")[:LONGEST_ID]


def _tlv_state(octets: bytes) -> str:
    """Return the word for message_state's octet, or an empty string."""
    return _STATE_BY_CODE.get(octets[0], "") if len(octets) == 1 else ""


def _text_state(value: str) -> str:
    """Return the word after "stat:"; a few carriers write message_state's number there."""
    word = _word(value, _MAX_WORD).upper()
    if len(word) == 1 and word in "0123456789":
        return _STATE_BY_CODE[int(word)]
    return word


def _error_code(value: str, network: bytes) -> str:
    """Return the text's code, which carriers document, or the network's code.

    The latter is used where the text has none, or where the code has more than the text's three
    digits.
    """
    word = _word(value, _MAX_WORD)
    code = int.from_bytes(network[1:], "big") if len(network) == 3 else 0
    if not code or (word.strip("0") and not (code > 999 and word == f"{code}"[-3:])):
        return word
    return f"{network[0]}:{code}"


@lru_cache(maxsize=1024)  # receipts arrive in bursts, mostly of the same minute
def _date(value: str) -> datetime | None:
    """Parse a time YYMMDDhhmm, YYMMDDhhmmss or YYYYMMDDhhmmss, with any separators.

    Also YYYYMMDDhhmm, and SMPP's own YYMMDDhhmmsstnnp (§7.1.1) without its tail.
    """
    match = _TIME.match(value)
    if match is None:
        return None
    digits = _NOT_DIGIT.sub("", match[1])
    length = len(digits)
    if length >= 14 and (date := _datetime(digits[:14])):
        return date
    if length >= 12 and (date := _datetime("20" + digits[:12])):
        return date
    if length == 12:
        return _datetime(digits + "00")
    return _datetime("20" + digits + "00") if length == 10 else None


def _datetime(digits: str) -> datetime | None:
    """Parse YYYYMMDDhhmmss of this century: two-digit years are tried as four digits, too."""
    if not digits.startswith("20"):
        return None
    try:
        return datetime(
            int(digits[:4]),
            int(digits[4:6]),
            int(digits[6:8]),
            int(digits[8:10]),
            int(digits[10:12]),
            int(digits[12:14]),
        )
    except ValueError:
        return None
