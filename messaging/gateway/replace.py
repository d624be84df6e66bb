"""replace_sm: a new text, and new times, for a message that was not submitted to a carrier yet.

The message is canceled and a new one accepted in one transaction: the old one is refunded and the
new one charged like any other, or nothing changes. The new message keeps the old one's id for the
customer.
"""

from datetime import datetime, timedelta

from django.db import transaction

from imissive.core import clock, ids
from imissive.core.errors import ApiError
from messaging.gateway import queries, submit_parser, throttling
from messaging.gateway.queries import Result
from messaging.gateway.store import SOURCE, code_of
from messaging.gateway.submit_parser import Refused
from messaging.models.messages import Message
from messaging.models.smpp_accounts import SmppAccount
from messaging.models.smpp_submits import SmppSubmit
from messaging.sending import cancel
from messaging.sending.accept import MIN_VALIDITY, SendRequest, accept_each
from messaging.sending.evaluation import Draft
from messaging.smpp.pdus import ReplaceSm
from messaging.states import CANCELABLE

NOT_REPLACEABLE = "NOT_REPLACEABLE"


class _Undone(Exception):
    """The transaction is rolled back. `code` is one of command_statuses.py."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def replace(account: SmppAccount, pdu: ReplaceSm) -> Result:
    """Replace a message that is still cancelable (SMPP 3.4, 4.10)."""
    submit = queries.find(account, pdu.message_id, pdu.source_addr)
    if submit is None:
        return Result("NOT_FOUND")
    message = Message.objects.filter(id=submit.message_id).first() if submit.message_id else None
    if message is None or message.status not in CANCELABLE:
        return Result(NOT_REPLACEABLE)
    try:
        text = submit_parser.read_replacement(pdu, submit.data_coding or 0, account)
        send_request = _send_request(account, message, pdu, clock.now())
    except Refused as refused:
        return Result(refused.code)
    if not throttling.admit_one(account):
        return Result(throttling.THROTTLED)
    draft = Draft(message.to, text, message.sender, message.reference, id=ids.new_uuid())
    try:
        with transaction.atomic():
            _exchange(message, send_request, draft, pdu.registered_delivery)
    except _Undone as undone:
        return Result(undone.code)
    return Result()


def _exchange(
    message: Message, send_request: SendRequest, draft: Draft, registered_delivery: int
) -> None:
    # Done first, so that the cancellation of the old message causes no receipt.
    SmppSubmit.objects.filter(message_id=message.id).update(
        message_id=draft.id, registered_delivery=registered_delivery
    )
    try:
        cancel.cancel(message.organization_id, message.id, test=message.test)
    except ApiError:
        raise _Undone(NOT_REPLACEABLE) from None
    code = code_of(accept_each([(send_request, draft)])[0])
    if code:
        raise _Undone(code)


def _send_request(
    account: SmppAccount, message: Message, pdu: ReplaceSm, now: datetime
) -> SendRequest:
    """Return the request for the new message; omitted times keep their values."""
    scheduled_at = submit_parser.schedule(pdu.schedule_delivery_time, now)
    if not pdu.schedule_delivery_time and message.scheduled_at and message.scheduled_at > now:
        scheduled_at = message.scheduled_at
    start = scheduled_at or now
    validity = submit_parser.validity(pdu.validity_period, start, now)
    return SendRequest(
        organization_id=account.organization_id,
        source=SOURCE,
        test=message.test,
        urgent=message.urgent,
        scheduled_at=scheduled_at,
        validity=validity or _remaining_validity(message, start),
    )


def _remaining_validity(message: Message, start: datetime) -> timedelta:
    return max(message.expires_at - start, MIN_VALIDITY)
