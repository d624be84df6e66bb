"""Delivery receipts as deliver_sm (SMPP 3.4, 4.6 and Appendix B), in good and in bad style."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from messaging.smpp.constants import ESM_DELIVERY_RECEIPT, MessageState, Tag
from messaging.smpp.pdus import DeliverSm
from messaging.smpp.receipt import format_receipt
from messaging.smpp.simulator.behaviours import RAW_STATES
from messaging.smpp.simulator.submits import readable
from messaging.text import written_in_gsm

if TYPE_CHECKING:
    from messaging.smpp.simulator.options import Options, ReceiptText
    from messaging.smpp.simulator.submits import Submit

_TEXT_OCTETS: Final = 80  # more than the 20 characters that a receipt quotes can take
# network_error_code (SMPP 3.4, 5.3.2.31): GSM, and MAP's "absent subscriber".
_FAILURE: Final = b"\x03\x00\x1b"
_FAILURE_TEXT: Final = "027"


def make_receipt(submit: Submit, state: MessageState, now: float, options: Options) -> DeliverSm:
    """The receipt of a message that came to its end at `now` (seconds since 1970)."""
    delivered = state is MessageState.DELIVERED
    text, tlvs = format_receipt(
        submit.receipt_id,
        RAW_STATES[state],
        datetime.fromtimestamp(submit.at, UTC),
        datetime.fromtimestamp(now, UTC),
        error_code="000" if delivered else _FAILURE_TEXT,
        text=readable(submit.pdu),
        alphabet=partial(_written, options.receipt_text),
    )
    if state is MessageState.UNDELIVERABLE:
        tlvs[Tag.NETWORK_ERROR_CODE] = _FAILURE
    pdu = submit.pdu
    return DeliverSm(
        source_addr_ton=pdu.dest_addr_ton,
        source_addr_npi=pdu.dest_addr_npi,
        source_addr=pdu.destination_addr,
        dest_addr_ton=pdu.source_addr_ton,
        dest_addr_npi=pdu.source_addr_npi,
        destination_addr=pdu.source_addr,
        esm_class=ESM_DELIVERY_RECEIPT,
        short_message=b"" if options.receipt_style == "tlv" else text,
        tlvs={} if options.receipt_style == "text" else tlvs,
    )


def _written(style: ReceiptText, standard: str) -> bytes:
    """A receipt in GSM's alphabet, which is what its data_coding 0 says."""
    if style == "lower":
        standard = standard.lower()
    elif style == "odd":
        standard = _odd(standard)
    return written_in_gsm(standard)


def _odd(standard: str) -> str:
    """The same receipt in another order, spelling and spacing, as carriers have been seen to."""
    fields, _, text = standard.partition(" text:")
    words = dict(field.split(":") for field in fields.replace(" date:", "_date:").split(" "))
    return (
        f"Status={words['stat'].title()}, ERR: {words['err']} ID:{words['id']}"
        f" Done Date: {words['done_date']} submit_date:{words['submit_date']}"
        f" Sub:{words['sub']} Dlvrd:{words['dlvrd']} Text:{text}"
    )
