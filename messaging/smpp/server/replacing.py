"""replace_sm: another text, and other times, for a message that no carrier has yet.

The message is canceled and another one accepted in one transaction: what the first one cost comes
back and the new text is charged for as any other, or nothing changes at all. The customer knows the
new message by the id of the old one.
"""

from datetime import datetime, timedelta

from django.db import transaction

from imissive import clock, ids
from imissive.errors import ApiError
from messaging import cancelling
from messaging.models.messages import Message
from messaging.models.smpp_accounts import SmppAccount
from messaging.models.smpp_submits import SmppSubmit
from messaging.sending import MIN_VALIDITY, Order, accept_each
from messaging.smpp.pdus import ReplaceSm
from messaging.smpp.server import acting, pacing, reading
from messaging.smpp.server.acting import Answer
from messaging.smpp.server.reading import Refused
from messaging.smpp.server.taking import SOURCE, code_of
from messaging.states import CANCELABLE
from messaging.verdicts import Draft

NOT_REPLACEABLE = "NOT_REPLACEABLE"


class _NotDone(Exception):
    """The transaction is undone. `code` is of statuses.py."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def replace(account: SmppAccount, pdu: ReplaceSm) -> Answer:
    """replace_sm (SMPP 3.4, 4.10)."""
    submit = acting.find(account, pdu.message_id, pdu.source_addr)
    if submit is None:
        return Answer("NOT_FOUND")
    message = Message.objects.filter(id=submit.message_id).first() if submit.message_id else None
    if message is None or message.status not in CANCELABLE:
        return Answer(NOT_REPLACEABLE)
    try:
        text = reading.read_replacement(pdu, submit.data_coding or 0, account)
        order = _order(account, message, pdu, clock.now())
    except Refused as refused:
        return Answer(refused.code)
    if not pacing.admit_one(account):
        return Answer(pacing.THROTTLED)
    draft = Draft(message.to, text, message.sender, message.reference, id=ids.new_uuid())
    try:
        with transaction.atomic():
            _exchange(message, order, draft, pdu.registered_delivery)
    except _NotDone as why:
        return Answer(why.code)
    return Answer()


def _exchange(message: Message, order: Order, draft: Draft, registered_delivery: int) -> None:
    # First, so that nobody is told that the old one was deleted.
    SmppSubmit.objects.filter(message_id=message.id).update(
        message_id=draft.id, registered_delivery=registered_delivery
    )
    try:
        cancelling.cancel(message.organization_id, message.id)
    except ApiError:
        raise _NotDone(NOT_REPLACEABLE) from None
    code = code_of(accept_each([(order, draft)])[0])
    if code:
        raise _NotDone(code)


def _order(account: SmppAccount, message: Message, pdu: ReplaceSm, now: datetime) -> Order:
    """Times that the customer leaves out stay as they were."""
    scheduled_at = reading.schedule(pdu.schedule_delivery_time, now)
    if not pdu.schedule_delivery_time and message.scheduled_at and message.scheduled_at > now:
        scheduled_at = message.scheduled_at
    begin = scheduled_at or now
    validity = reading.validity(pdu.validity_period, begin, now)
    return Order(
        organization_id=account.organization_id,
        source=SOURCE,
        test=message.test,
        urgent=message.urgent,
        scheduled_at=scheduled_at,
        validity=validity or _left_of(message, begin),
    )


def _left_of(message: Message, begin: datetime) -> timedelta:
    return max(message.expires_at - begin, MIN_VALIDITY)
