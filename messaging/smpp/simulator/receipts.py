"""Delivery receipts as deliver_sm (SMPP 3.4, 4.6 and Appendix B), correct or sloppy."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from messaging.smpp.constants import MessageState, Tag
from messaging.smpp.pdus import DataSm, DeliverSm
from messaging.smpp.receipt import format_receipt
from messaging.smpp.simulator.behaviours import RAW_STATES
from messaging.smpp.simulator.submits import readable
from messaging.text.encoding import written_in_gsm

if TYPE_CHECKING:
    from messaging.smpp.simulator.options import Options
    from messaging.smpp.simulator.submits import Submit

_TEXT_OCTETS: Final = 80  # more than the 20 characters that a receipt quotes can take
# network_error_code (SMPP 3.4, 5.3.2.31): GSM, and MAP's "absent subscriber".
_FAILURE: Final = b"\x03\x00\x1b"
_FAILURE_TEXT: Final = "027"
_STATE: Final = re.compile(r" stat:\w+ ")


def make_receipt(
    submit: Submit, state: MessageState, now: float, options: Options
) -> DeliverSm | DataSm:
    """Return the receipt of a message that became final at `now` (seconds since 1970)."""
    delivered = state is MessageState.DELIVERED
    text, tlvs = format_receipt(
        submit.receipt_id,
        RAW_STATES[state],
        datetime.fromtimestamp(submit.at, UTC),
        datetime.fromtimestamp(now, UTC),
        error_code="000" if delivered else _FAILURE_TEXT,
        text=readable(submit.pdu),
        alphabet=partial(_receipt_text, options, delivered),
    )
    if options.receipt_state is not None:
        tlvs[Tag.MESSAGE_STATE] = bytes((options.receipt_state,))
    if state is MessageState.UNDELIVERABLE:
        tlvs[Tag.NETWORK_ERROR_CODE] = _FAILURE
    pdu = submit.pdu
    if options.receipt_style == "text":
        tlvs = {}
    if options.receipt_style == "tlv":
        text = b""
    if options.receipt_by == "data_sm":
        return DataSm(
            source_addr_ton=pdu.dest_addr_ton,
            source_addr_npi=pdu.dest_addr_npi,
            source_addr=pdu.destination_addr,
            dest_addr_ton=pdu.source_addr_ton,
            dest_addr_npi=pdu.source_addr_npi,
            destination_addr=pdu.source_addr,
            esm_class=options.receipt_esm_class,
            tlvs=tlvs | {Tag.MESSAGE_PAYLOAD: text},
        )
    return DeliverSm(
        source_addr_ton=pdu.dest_addr_ton,
        source_addr_npi=pdu.dest_addr_npi,
        source_addr=pdu.destination_addr,
        dest_addr_ton=pdu.source_addr_ton,
        dest_addr_npi=pdu.source_addr_npi,
        destination_addr=pdu.source_addr,
        esm_class=options.receipt_esm_class,
        short_message=text,
        tlvs=tlvs,
    )


def _receipt_text(options: Options, delivered: bool, standard: str) -> bytes:
    """Return a receipt's text in the options' style, in the GSM alphabet of data_coding 0."""
    if options.receipt_word is not None and not delivered:
        standard = _STATE.sub(f" stat:{options.receipt_word} ", standard, count=1)
    if options.receipt_text == "lower":
        standard = standard.lower()
    elif options.receipt_text == "odd":
        standard = _odd(standard)
    return written_in_gsm(standard)


def _odd(standard: str) -> str:
    """Return the receipt in another order, spelling and spacing, as seen from real carriers."""
    fields, _, text = standard.partition(" text:")
    words = dict(field.split(":") for field in fields.replace(" date:", "_date:").split(" "))
    return (
        f"Status={words['stat'].title()}, ERR: {words['err']} ID:{words['id']}"
        f" Done Date: {words['done_date']} submit_date:{words['submit_date']}"
        f" Sub:{words['sub']} Dlvrd:{words['dlvrd']} Text:{text}"
    )
