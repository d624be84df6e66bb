"""The REST API of messages: thin, it reads the request and calls what does it."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from django.conf import settings
from pydantic import Field
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.authentication import ApiKeyAuthentication, Caller, caller_of
from accounts.api.rate_limits import LimitClass
from accounts.api.view import ApiView
from accounts.credits.ledger import InsufficientCredits, credits_text
from accounts.credits.reasons import CreditsReason
from accounts.roles import Scope
from imissive.core.api.operation import Either, PathId, operation
from imissive.core.api.requests import (
    INTEGRAL,
    NO_NUL,
    STORABLE,
    Body,
)
from imissive.core.errors import ApiError
from messaging.sending import cancel, representations
from messaging.sending.accept import (
    MAX_VALIDITY,
    MIN_VALIDITY,
    TERMS,
    Acceptance,
    SendRequest,
    accept,
)
from messaging.sending.estimate import estimate, estimate_json
from messaging.sending.evaluation import MAX_REFERENCE, Draft, Refusal
from messaging.sending.reasons import SendingReason
from messaging.sending.schedules import parse_schedule
from messaging.sending.schemas import (
    BulkEstimate,
    BulkResult,
    CanceledBatch,
    Estimate,
)
from messaging.sending.schemas import Message as MessageSchema

MESSAGES_OF_A_CALL = 100
"""Messages whose estimate counts as one call."""


Reference = Annotated[
    str,
    Field(
        max_length=MAX_REFERENCE,
        description="Your own, for answers and events to carry.",
        examples=["order-4711"],
        json_schema_extra={"pattern": NO_NUL},
    ),
    STORABLE,
]
Sender = Annotated[
    str,
    Field(
        max_length=50,
        description="An approved sender ID; with a test key, anything that may be one. Without it:"
        " the default one, or the only one.",
        examples=["MyCompany"],
        json_schema_extra={"pattern": NO_NUL},
    ),
    STORABLE,
]
Validity = Annotated[
    int,
    Field(
        ge=int(MIN_VALIDITY.total_seconds()),
        le=int(MAX_VALIDITY.total_seconds()),
        description="Seconds after which the message is not worth delivering any more.",
    ),
    INTEGRAL,
]


Recipient = Annotated[
    str,
    Field(
        description="A mobile number in E.164; with `00` for the `+`, blanks, dashes, dots and"
        " parentheses too, and in Arabic digits. Without `+` or `00` it is a number of the"
        " organization's default country.",
        examples=["+966500000001"],
    ),
]
Text = Annotated[
    str,
    Field(
        description="At most 10 parts: 1,530 characters of GSM 03.38, or 670 units of UTF-16.",
        examples=["Hello from iMissive!"],
    ),
]
Schedule = Annotated[
    str,
    Field(
        description="When to send it: with its offset, at most 90 days ahead. A minute in the past"
        " is forgiven. Without it: at once.",
        # Told, not checked here: the one check of a schedule has its own error.
        json_schema_extra={"format": "date-time"},
    ),
]
OutsideWindow = Annotated[
    Literal["hold", "refuse"],
    Field(
        description="What becomes of a message outside of the hours in which its country lets it"
        " go: it waits for them, or it is refused."
    ),
]


class SendBody(Body):
    to: Recipient
    message: Text
    sender_id: Sender | None = None
    scheduled_at: Schedule | None = None
    validity: Validity | None = None
    reference: Reference | None = None
    outside_window: OutsideWindow = "hold"


class BulkMessage(Body):
    to: Recipient
    message: Text
    sender_id: Sender | None = None
    reference: Reference | None = None


class BulkBody(Body):
    messages: list[BulkMessage] = Field(
        min_length=1, json_schema_extra={"maxItems": settings.BULK_MAX_MESSAGES}
    )
    sender_id: Sender | None = Field(None, description="For the messages that name none.")
    scheduled_at: Schedule | None = None
    validity: Validity | None = None
    outside_window: OutsideWindow = "hold"


class SenderAuthentication(ApiKeyAuthentication):
    """Reads with the key what the messages will be judged by."""

    extra = TERMS


class SendView(ApiView):
    """`POST /v1/sms/send`"""

    authentication_classes = [SenderAuthentication]
    required_scope = Scope.SMS_SEND
    limit_class = LimitClass.SEND

    @operation("send_message", "Send a message", body=SendBody, responses={202: MessageSchema})
    def post(self, request: Request, body: SendBody) -> Response:
        """Accepts one message for now or later, and charges for it."""
        # One message by itself is somebody waiting for it: no bulk run may hold it up.
        scheduled_at = parse_schedule(body.scheduled_at)
        send_request = _send_request(caller_of(request), body, scheduled_at, urgent=True)
        acceptance = _accept(send_request, _drafts(body), caller_of(request))
        outcome = acceptance.outcomes[0]
        if isinstance(outcome, Refusal):
            raise ApiError.of(outcome.problems[0], outcome.problems[1:])
        return Response(representations.accepted_messages(acceptance)[0], status=202)


class BulkView(ApiView):
    """`POST /v1/sms/bulk`"""

    authentication_classes = [SenderAuthentication]
    required_scope = Scope.SMS_SEND
    limit_class = LimitClass.BULK
    counts_content = True

    @operation("send_bulk", "Send many messages", body=BulkBody, responses={202: BulkResult})
    def post(self, request: Request, body: BulkBody) -> Response:
        """Accepts what can be accepted of 1 to 10,000 messages, as a batch.

        Only accepted messages are charged. If the balance does not cover all of them, nothing is
        accepted. The call counts its messages against the limit of the bulk lane.
        """
        drafts = _drafts(body)
        self.spend(len(drafts))
        scheduled_at = parse_schedule(body.scheduled_at)
        send_request = _send_request(caller_of(request), body, scheduled_at, as_batch=True)
        acceptance = _accept(send_request, drafts, caller_of(request))
        return Response(representations.bulk_json(acceptance), status=202)


class EstimateView(ApiView):
    """`POST /v1/sms/estimate`"""

    authentication_classes = [SenderAuthentication]
    required_scope = Scope.SMS_SEND

    @operation(
        "estimate",
        "Estimate parts and credits",
        body=Either(SendBody, BulkBody, marked_by="messages"),
        responses={200: Estimate | BulkEstimate},
    )
    def post(self, request: Request, body: SendBody | BulkBody) -> Response:
        """Takes what a send or a bulk call takes, and says what it would cost and all that is
        against it.

        Nothing is stored, sent or charged.
        """
        drafts = _drafts(body)
        # Judging thousands of messages is work, as much as many calls.
        if len(drafts) > MESSAGES_OF_A_CALL:
            self.spend(len(drafts) // MESSAGES_OF_A_CALL)
        caller, against = caller_of(request), []
        try:
            scheduled_at = parse_schedule(body.scheduled_at)
        except ApiError as error:
            scheduled_at, against = None, [error.problem]
        send_request = _send_request(
            caller, body, scheduled_at, as_batch=isinstance(body, BulkBody)
        )
        found = estimate(send_request, drafts, caller.extra, against=against)
        return Response(estimate_json(found, tell_balance=caller.may(Scope.BALANCE)))


class CancelView(ApiView):
    """`POST /v1/sms/{message_id}/cancel`"""

    required_scope = Scope.SMS_SEND

    @operation("cancel_message", "Cancel a message", responses={200: MessageSchema})
    def post(self, request: Request, message_id: PathId) -> Response:
        """Takes back a message that is scheduled or queued. Its credits come back in full."""
        caller = caller_of(request)
        message = cancel.cancel(caller.organization_id, message_id, test=caller.test)
        return Response(representations.message_json(message))


class CancelBatchView(ApiView):
    """`POST /v1/batches/{batch_id}/cancel`"""

    required_scope = Scope.SMS_SEND

    @operation("cancel_batch", "Cancel a batch", responses={200: CanceledBatch})
    def post(self, request: Request, batch_id: PathId) -> Response:
        """Takes back every message of the batch that is scheduled or queued, with its credits."""
        caller = caller_of(request)
        canceled = cancel.cancel_batch(caller.organization_id, batch_id, test=caller.test)
        answer: CanceledBatch = {
            "batch_id": self.kwargs["batch_id"],
            "canceled": canceled.count,
            "credits": credits_text(canceled.credits),
        }
        return Response(answer)


def _drafts(body: SendBody | BulkBody) -> list[Draft]:
    """The drafts of a call. Raises ApiError INVALID_REQUEST where there are too many."""
    if isinstance(body, SendBody):
        return [Draft(body.to, body.message, body.sender_id, body.reference or "")]
    if len(body.messages) > settings.BULK_MAX_MESSAGES:
        most = settings.BULK_MAX_MESSAGES
        raise ApiError(SendingReason.TOO_MANY_MESSAGES, "messages", most=most)
    return [
        Draft(
            row.to,
            row.message,
            row.sender_id if row.sender_id is not None else body.sender_id,
            row.reference or "",
        )
        for row in body.messages
    ]


def _send_request(
    caller: Caller,
    body: SendBody | BulkBody,
    scheduled_at: datetime | None,
    *,
    urgent: bool = False,
    as_batch: bool = False,
) -> SendRequest:
    return SendRequest(
        organization_id=caller.organization_id,
        source="api",
        test=caller.test,
        urgent=urgent,
        as_batch=as_batch,
        api_key_id=caller.key_id,
        scheduled_at=scheduled_at,
        validity=timedelta(seconds=body.validity) if body.validity else None,
        hold=body.outside_window == "hold",
    )


def _accept(send_request: SendRequest, drafts: list[Draft], caller: Caller) -> Acceptance:
    try:
        return accept(send_request, drafts, known=caller.extra)
    except InsufficientCredits:
        raise ApiError(CreditsReason.NOT_COVERED) from None
