"""Message queries: query_sm and cancel_sm, for messages that a customer submitted before."""

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
"""The limit of messages that one cancel_sm without an id cancels."""


@dataclass(frozen=True, slots=True)
class Result:
    """A response: for a refusal, a code of command_statuses.py or a status; and its fields."""

    code: str = ""
    status: int = 0
    fields: dict[str, Any] = field(default_factory=dict)


def find(account: SmppAccount, message_id: str, source_addr: str) -> SmppSubmit | None:
    """Return the submit if its source address is the same (SMPP 3.4, 4.8.1, 4.9.1), or None."""
    wanted = parse_id_text(message_id, account.id_format)
    if wanted is None:
        return None
    submit = SmppSubmit.objects.filter(account=account, id=wanted).first()
    return submit if submit is not None and submit.source_addr == source_addr else None


def query(account: SmppAccount, pdu: QuerySm) -> Result:
    """Return the result of a query_sm (SMPP 3.4, 4.8)."""
    submit = find(account, pdu.message_id, pdu.source_addr)
    if submit is None:
        fields = {"message_id": pdu.message_id, "message_state": MessageState.UNKNOWN}
        return Result(status=Status.ESME_RQUERYFAIL, fields=fields)
    state, final_date = _state(submit)
    fields = {"message_id": pdu.message_id, "final_date": final_date, "message_state": state}
    return Result(fields=fields)


def _state(submit: SmppSubmit) -> tuple[MessageState, str]:
    message = Message.objects.filter(id=submit.message_id).first() if submit.message_id else None
    if message is not None:
        _, state = state_of(message.status, message.error_code)
        final = message.final_at if message.status in FINAL else None
        return state, format_time(final) if final else ""
    if submit.assembly_id is not None:
        return MessageState.ENROUTE, ""
    # Some parts never arrived, or the message has been deleted.
    return (MessageState.UNKNOWN if submit.message_id else MessageState.EXPIRED), ""


def cancel(account: SmppAccount, pdu: CancelSm) -> Result:
    """Cancel one message by its id, or all from one address to another (SMPP 3.4, 4.9)."""
    if pdu.message_id:
        submit = find(account, pdu.message_id, pdu.source_addr)
        if submit is None:
            return Result("NOT_FOUND")
        return Result() if _cancel(account, submit) else Result("NOT_CANCELABLE")
    canceled = [_cancel(account, submit) for submit in list(_between(account, pdu))]
    return Result() if any(canceled) else Result("NOT_CANCELABLE")


def _between(account: SmppAccount, pdu: CancelSm) -> Any:
    """Return the cancelable submits from one address to another."""
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
