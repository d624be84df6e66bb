"""replace_sm: another text, and other times, for a message that no carrier has yet.

The message is canceled and another one accepted in one transaction: what the first one cost comes
back and the new text is charged for as any other, or nothing changes at all. The customer knows the
new message by the id of the old one.
"""

from datetime import datetime, timedelta

from django.db import transaction

from imissive.core import clock, ids
from imissive.core.errors import ApiError
from messaging.gateway import queries, submit_parser, throttling
from messaging.gateway.queries import Answer
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


class _NotDone(Exception):
    """The transaction is undone. `code` is of statuses.py."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def replace(account: SmppAccount, pdu: ReplaceSm) -> Answer:
    """replace_sm (SMPP 3.4, 4.10)."""
    submit = queries.find(account, pdu.message_id, pdu.source_addr)
    if submit is None:
        return Answer("NOT_FOUND")
    message = Message.objects.filter(id=submit.message_id).first() if submit.message_id else None
    if message is None or message.status not in CANCELABLE:
        return Answer(NOT_REPLACEABLE)
    try:
        text = submit_parser.read_replacement(pdu, submit.data_coding or 0, account)
        send_request = _send_request(account, message, pdu, clock.now())
    except Refused as refused:
        return Answer(refused.code)
    if not throttling.admit_one(account):
        return Answer(throttling.THROTTLED)
    draft = Draft(message.to, text, message.sender, message.reference, id=ids.new_uuid())
    try:
        with transaction.atomic():
            _exchange(message, send_request, draft, pdu.registered_delivery)
    except _NotDone as why:
        return Answer(why.code)
    return Answer()


def _exchange(
    message: Message, send_request: SendRequest, draft: Draft, registered_delivery: int
) -> None:
    # First, so that nobody is told that the old one was deleted.
    SmppSubmit.objects.filter(message_id=message.id).update(
        message_id=draft.id, registered_delivery=registered_delivery
    )
    try:
        cancel.cancel(message.organization_id, message.id, test=message.test)
    except ApiError:
        raise _NotDone(NOT_REPLACEABLE) from None
    code = code_of(accept_each([(send_request, draft)])[0])
    if code:
        raise _NotDone(code)


def _send_request(
    account: SmppAccount, message: Message, pdu: ReplaceSm, now: datetime
) -> SendRequest:
    """Times that the customer leaves out stay as they were."""
    scheduled_at = submit_parser.schedule(pdu.schedule_delivery_time, now)
    if not pdu.schedule_delivery_time and message.scheduled_at and message.scheduled_at > now:
        scheduled_at = message.scheduled_at
    begin = scheduled_at or now
    validity = submit_parser.validity(pdu.validity_period, begin, now)
    return SendRequest(
        organization_id=account.organization_id,
        source=SOURCE,
        test=message.test,
        urgent=message.urgent,
        scheduled_at=scheduled_at,
        validity=validity or _left_of(message, begin),
    )


def _left_of(message: Message, begin: datetime) -> timedelta:
    return max(message.expires_at - begin, MIN_VALIDITY)
