"""Failure reasons: an error code in plain words, with what happened and what to do about it.

The table has the contract's codes, SMPP command statuses by name, and the states of receipts. Any
other code is explained as a refusal with the carrier's own code.
"""

from dataclasses import dataclass
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from messaging.models import Message
from messaging.states import Status

Text = str | Promise

STATUS_LABELS: Final[dict[str, Text]] = dict(Message.STATUSES)

_GOOD, _BAD, _LATE, _MOVING, _STILL = "good", "bad", "late", "moving", "still"
STATUS_TONES: Final[dict[str, str]] = {
    Status.SCHEDULED: _STILL,
    Status.QUEUED: _STILL,
    Status.SENDING: _MOVING,
    Status.SENT: _MOVING,
    Status.DELIVERED: _GOOD,
    Status.FAILED: _BAD,
    Status.EXPIRED: _LATE,
    Status.CANCELED: _STILL,
}


@dataclass(frozen=True, slots=True)
class Reason:
    """A failure reason: `what` happened, and what `to_do` about it."""

    what: Text
    to_do: Text


_BAD_NUMBER = Reason(
    _("The carrier says that this number does not exist or cannot receive messages."),
    _("Check the number with its owner. If it is right, remove it and ask for another one."),
)
_BAD_SENDER = Reason(
    _("The carrier does not accept this sender ID for this destination."),
    _("Use another approved sender ID, or ask support to register this one with the carrier."),
)
_BUSY = Reason(
    _("The carrier was busy and did not take the message in time."),
    _("Send it again later. If it happens often, ask support for more throughput."),
)
_CARRIER_TROUBLE = Reason(
    _("The carrier had a problem of its own and refused the message."),
    _("Send it again in a few minutes. If it fails again, tell support the message id."),
)
_OUR_CONNECTION = Reason(
    _("The carrier did not accept how this platform is connected to it. Your message is fine."),
    _("Tell support the message id: the connection has to be set right on our side."),
)
_CONTENT = Reason(
    _("The carrier could not accept the message as it was written or formatted."),
    _("Shorten the text or remove unusual characters, then send it again."),
)
_UNDELIVERED = Reason(
    _("The carrier could not deliver the message: the phone may be off, full, or unreachable."),
    _("Try again later, or reach the person in another way."),
)
_EXPIRED = Reason(
    _("The message was not delivered within its validity: the phone was off or out of reach."),
    _("Send it again, with a longer validity if it may arrive late."),
)
_NEVER_SENT = Reason(
    _("No carrier took the message before its validity was over."),
    _("Send it again. If the carriers are down or busy for long, ask support."),
)
_NOT_OURS = Reason(
    _("The carrier's answer could not be used, so it is not known whether the message arrived."),
    _("Ask the recipient before sending it again, and tell support the message id."),
)
_REJECTED = Reason(
    _("The carrier or the recipient's network rejected the message, often as unwanted content."),
    _("Check the text for links and words that filters dislike, and that the person agreed to it."),
)

_REASONS: Final[dict[str, Reason]] = {
    # The contract's codes.
    "INVALID_PHONE": Reason(
        _("The number is not one that can receive messages."),
        _("Write it with its country code, such as +966501234567."),
    ),
    "INVALID_SENDER": Reason(
        _("The sender ID is not approved for your organization."),
        _("Request it under sender IDs, or use one that is approved."),
    ),
    "INSUFFICIENT_CREDITS": Reason(
        _("The balance did not cover the message."), _("Top up your credits, then send it again.")
    ),
    "MESSAGE_TOO_LONG": Reason(
        _("The text has more parts than are allowed."),
        _("Shorten it; Arabic and emoji need more parts for the same length."),
    ),
    "DESTINATION_BLOCKED": Reason(
        _("Messages to this destination are not enabled, or the person opted out."),
        _("Ask support to enable the country, or respect the opt-out."),
    ),
    "NO_RESPONSE": Reason(
        _("The carrier did not answer several times, so the message may or may not have arrived."),
        _("Ask the recipient before sending it again, to avoid a second copy."),
    ),
    "GENERIC_NACK": _NOT_OURS,
    "UNRECORDED": _NOT_OURS,
    "NOT_ENCODABLE": Reason(
        _("The text could not be written in a form that the carrier takes."),
        _("Remove unusual characters, then send it again."),
    ),
    # Command statuses, SMPP 3.4, 5.1.3.
    "ESME_RINVDSTADR": _BAD_NUMBER,
    "ESME_RINVDSTTON": _BAD_NUMBER,
    "ESME_RINVDSTNPI": _BAD_NUMBER,
    "ESME_RINVSRCADR": _BAD_SENDER,
    "ESME_RINVSRCTON": _BAD_SENDER,
    "ESME_RINVSRCNPI": _BAD_SENDER,
    "ESME_RTHROTTLED": _BUSY,
    "ESME_RMSGQFUL": _BUSY,
    "ESME_RSYSERR": _CARRIER_TROUBLE,
    "ESME_RSUBMITFAIL": _CARRIER_TROUBLE,
    "ESME_RX_T_APPN": _CARRIER_TROUBLE,
    "ESME_RUNKNOWNERR": _CARRIER_TROUBLE,
    "ESME_RDELIVERYFAILURE": _UNDELIVERED,
    "ESME_RX_P_APPN": _REJECTED,
    "ESME_RX_R_APPN": _REJECTED,
    "ESME_RINVMSGLEN": _CONTENT,
    "ESME_RINVESMCLASS": _CONTENT,
    "ESME_RINVPARLEN": _CONTENT,
    "ESME_RINVSCHED": _OUR_CONNECTION,
    "ESME_RINVEXPIRY": _OUR_CONNECTION,
    "ESME_RINVBNDSTS": _OUR_CONNECTION,
    "ESME_RINVSYSTYP": _OUR_CONNECTION,
    "ESME_RINVSERTYP": _OUR_CONNECTION,
    "ESME_RINVPASWD": _OUR_CONNECTION,
    "ESME_RINVSYSID": _OUR_CONNECTION,
    "ESME_RINVCMDID": _OUR_CONNECTION,
    "ESME_RINVCMDLEN": _OUR_CONNECTION,
    "ESME_ROPTPARNOTALLWD": _OUR_CONNECTION,
    "ESME_RINVOPTPARAMVAL": _OUR_CONNECTION,
    "ESME_RALYBND": _OUR_CONNECTION,
    "ESME_RBINDFAIL": _OUR_CONNECTION,
    "ESME_RINVPRTFLG": _OUR_CONNECTION,
    "ESME_RINVREGDLVFLG": _OUR_CONNECTION,
    "ESME_RINVMSGID": _OUR_CONNECTION,
    "ESME_RINVREPFLAG": _OUR_CONNECTION,
    "ESME_RINVDFTMSGID": _OUR_CONNECTION,
    "ESME_RINVOPTPARSTREAM": _OUR_CONNECTION,
    "ESME_RMISSINGOPTPARAM": _OUR_CONNECTION,
    "ESME_RCANCELFAIL": _CARRIER_TROUBLE,
    "ESME_RREPLACEFAIL": _CARRIER_TROUBLE,
    "ESME_RQUERYFAIL": _CARRIER_TROUBLE,
    "ESME_RINVNUMDESTS": _BAD_NUMBER,
    "ESME_RINVDLNAME": _BAD_NUMBER,
    "ESME_RINVDESTFLAG": _BAD_NUMBER,
    "ESME_RINVSUBREP": _CARRIER_TROUBLE,
    "ESME_RCNTSUBDL": _CARRIER_TROUBLE,
    "ESME_RINVNUMMSGS": _CARRIER_TROUBLE,
    # States of receipts, SMPP 3.4, appendix B, and carriers' variants of them.
    "UNDELIV": _UNDELIVERED,
    "UNDELIVRD": _UNDELIVERED,
    "UNDELIVERED": _UNDELIVERED,
    "UNDELIVERABLE": _UNDELIVERED,
    "FAILED": _UNDELIVERED,
    "EXPIRED": _EXPIRED,
    "REJECTD": _REJECTED,
    "REJECTED": _REJECTED,
    "BLOCKED": _REJECTED,
    "UNKNOWN": Reason(
        _("The carrier lost track of the message: it may or may not have arrived."),
        _("Ask the recipient before sending it again, to avoid a second copy."),
    ),
    "DELETED": Reason(
        _("The carrier deleted the message before it was delivered."),
        _("Send it again. If it happens again, tell support the message id."),
    ),
    "SKIPPED": Reason(
        _("The carrier skipped the message."),
        _("Send it again. If it happens again, tell support the message id."),
    ),
}
_UNKNOWN = Reason(
    _("The carrier refused the message with a code of its own."),
    _("Tell support the message id and the code: the carrier can say what it means."),
)


def reason(code: str) -> Reason | None:
    """Return the meaning of a message's error code, or None where it is empty.

    A carrier's detail after the state (`UNDELIV:069`) does not change the meaning.
    """
    if not code:
        return None
    state = code.upper().replace(":", " ").replace("/", " ").split()
    return _REASONS.get(state[0], _UNKNOWN) if state else _UNKNOWN


def reason_of(message: Message) -> Reason | None:
    """Return why a message failed or expired, or None where there is nothing to explain."""
    if message.status == Status.EXPIRED and message.sent_at is None and not message.unanswered:
        return _NEVER_SENT
    return reason(message.error_code)
