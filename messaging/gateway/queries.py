"""query_sm and cancel_sm: what customers ask of messages that they submitted before."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Q

from imissive.core.errors import ApiError
from messaging.gateway import reassembly
from messaging.gateway.formatting import parse_id_text, state_of
from messaging.gateway.submit_parser import Address, Refused, number_of
from messaging.models.messages import Message
from messaging.models.smpp_accounts import SmppAccount
from messaging.models.smpp_submits import SmppSubmit
from messaging.numbers import e164
from messaging.sending import cancel as cancellation
from messaging.smpp.constants import MessageState, Status
from messaging.smpp.pdus import CancelSm, QuerySm
from messaging.smpp.times import format_time
from messaging.states import CANCELABLE, FINAL

if TYPE_CHECKING:
    from uuid import UUID

CANCEL_AT_MOST: Final = 1000
"""Messages that one cancel_sm without an id takes back."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: a code of statuses.py or a status where it is a refusal, and its fields."""

    code: str = ""
    status: int = 0
    fields: dict[str, Any] = field(default_factory=dict)


def find(account: SmppAccount, message_id: str, source_addr: str) -> SmppSubmit | None:
    """The submit meant: its source address must be the same (SMPP 3.4, 4.8.1 and 4.9.1)."""
    wanted = parse_id_text(message_id, account.id_format)
    if wanted is None:
        return None
    submit = SmppSubmit.objects.filter(account=account, id=wanted).first()
    return submit if submit is not None and submit.source_addr == source_addr else None


def query(account: SmppAccount, pdu: QuerySm) -> Answer:
    """query_sm (SMPP 3.4, 4.8)."""
    submit = find(account, pdu.message_id, pdu.source_addr)
    if submit is None:
        fields = {"message_id": pdu.message_id, "message_state": MessageState.UNKNOWN}
        return Answer(status=Status.ESME_RQUERYFAIL, fields=fields)
    state, final_date = _state(submit)
    fields = {"message_id": pdu.message_id, "final_date": final_date, "message_state": state}
    return Answer(fields=fields)


def _state(submit: SmppSubmit) -> tuple[MessageState, str]:
    message = Message.objects.filter(id=submit.message_id).first() if submit.message_id else None
    if message is not None:
        _, state = state_of(message.status, message.error_code)
        final = message.final_at if message.status in FINAL else None
        return state, format_time(final) if final else ""
    if submit.assembly_id is not None:
        return MessageState.ENROUTE, ""
    # Its text never became whole, or its message is not kept any more.
    return (MessageState.UNKNOWN if submit.message_id else MessageState.EXPIRED), ""


def cancel(account: SmppAccount, pdu: CancelSm) -> Answer:
    """cancel_sm (SMPP 3.4, 4.9): one message by its id, or all from one address to another."""
    if pdu.message_id:
        submit = find(account, pdu.message_id, pdu.source_addr)
        if submit is None:
            return Answer("NOT_FOUND")
        return Answer() if _cancel(account, submit) else Answer("NOT_CANCELABLE")
    found = list(_between(account, pdu))
    canceled = [_cancel(account, submit) for submit in found]
    return Answer() if any(canceled) else Answer("NOT_CANCELABLE")


def _between(account: SmppAccount, pdu: CancelSm) -> Any:
    """The submits from that address to that one which may still be taken back."""
    address = Address(pdu.dest_addr_ton, pdu.dest_addr_npi, pdu.destination_addr)
    try:
        to = e164.parse(number_of(address, account.home)).e164
    except (Refused, e164.InvalidNumber):
        to = ""
    messages = Message.objects.filter(
        organization_id=account.organization_id,
        test=account.test,
        to=to,
        status__in=[str(status) for status in CANCELABLE],
        source="smpp",
    ).values("id")
    return SmppSubmit.objects.filter(
        Q(message_id__in=messages[:CANCEL_AT_MOST]), account=account, source_addr=pdu.source_addr
    )


def _cancel(account: SmppAccount, submit: SmppSubmit) -> bool:
    assembly_id: UUID | None = submit.assembly_id
    if assembly_id is not None:
        return reassembly.cancel(assembly_id)
    if submit.message_id is None:
        return False
    try:
        cancellation.cancel(account.organization_id, submit.message_id, test=account.test)
    except ApiError:
        return False
    return True
