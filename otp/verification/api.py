"""REST API of one-time passwords: send, verify, resend, cancel and read a verification."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field
from rest_framework.request import Request
from rest_framework.response import Response
from typing_extensions import TypedDict

from accounts.api.authentication import caller_of
from accounts.api.rate_limits import LimitClass
from accounts.api.view import ApiView
from accounts.roles import Scope
from imissive.core import ids
from imissive.core.api.fields import OneOf, Time
from imissive.core.api.operation import PathId, operation
from imissive.core.api.rendering import time_text
from imissive.core.api.requests import (
    INTEGRAL,
    Body,
)
from imissive.core.errors import ApiError
from messaging.sending.api import Sender, SenderAuthentication
from otp.models import Verification
from otp.verification import (
    codes,
    send,
    texts,
    verify,
)
from otp.verification.reasons import VerificationReason
from otp.verification.send import CodeRequest, Sent

OTP_ID = "otp_01hm6v0q8nfj2r4t6v8x0z2a4c"
MESSAGE_ID = "msg_01hm6v0q8r7d3f5h7k9n1q3s5v"
MAX_TEMPLATE = 2_000
"""Characters; more than any message can have."""

OtpId = Annotated[str, Field(examples=[OTP_ID])]
Phone = Annotated[str, Field(description="In E.164.", examples=["+966501234567"])]
MessageId = Annotated[
    str, Field(description="The message that carries the code.", examples=[MESSAGE_ID])
]
Status = Annotated[str, OneOf(Verification.Status)]
Reason = Annotated[str, OneOf(Verification.Reason)]
AttemptsLeft = Annotated[
    int,
    Field(ge=0, le=5, description="Checks that may still be made: 0 once it is not pending."),
]


class OtpSendBody(Body):
    phone: str = Field(description="A mobile number.", examples=["+966501234567"])
    length: Annotated[int, INTEGRAL] = Field(
        6, ge=codes.MIN_LENGTH, le=codes.MAX_LENGTH, description="Digits of the code."
    )
    expiry: Annotated[int, INTEGRAL] = Field(
        300, ge=30, le=3600, description="Seconds for which the code is right."
    )
    template: str | None = Field(
        None,
        max_length=MAX_TEMPLATE,
        description="The text, with `{code}` in it exactly once. Without it a short text in the"
        " language of `locale`.",
        examples=["Your verification code is: {code}"],
    )
    sender_id: Sender | None = None
    locale: texts.Locale = Field("en", description="The language of the text without a template.")
    app_hash: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9+/]{11}$",
        description="The hash of your Android app: the last line, by which SMS Retriever knows that"
        " the message is for it. The whole text then has at most 140 bytes. Not with `origin`.",
        examples=["FA+9qCX9VSu"],
    )
    origin: Annotated[str, AfterValidator(texts.host)] | None = Field(
        None,
        description="The host name of your site: the last line is `@host #code` then, by which"
        " browsers and iOS fill the code in on that site only.",
        examples=["example.com"],
        json_schema_extra=texts.HOST_SCHEMA,
    )


class OtpVerifyBody(Body):
    otp_id: OtpId
    code: Annotated[str, AfterValidator(codes.normalize)] = Field(
        max_length=32,
        description="What the person typed in: 4 to 8 digits, Arabic ones too. Spaces and dashes"
        " between them do not matter.",
        examples=["123456"],
        json_schema_extra={"pattern": codes.INPUT_PATTERN},
    )


class OtpSent(TypedDict):
    """A code on its way."""

    otp_id: OtpId
    phone: Phone
    status: Annotated[str, OneOf([Verification.Status.PENDING])]
    expires_at: Time
    message_id: MessageId


class OtpSentInTest(OtpSent):
    """The same for a test key, with the code: it reaches no phone."""

    test_code: Annotated[str, Field(pattern="^[0-9]{4,8}$", examples=["123456"])]


class OtpChecked(TypedDict):
    """What a check of a code came to."""

    otp_id: OtpId
    verified: Annotated[
        bool, Field(description="Whether the code was right: decide by this alone.")
    ]
    status: Status
    attempts_left: AttemptsLeft


class OtpVerification(TypedDict):
    """A verification as it stands. The code is nowhere in it."""

    otp_id: OtpId
    phone: Phone
    status: Status
    reason: Annotated[Reason | None, Field(description="Why it is expired or failed.")]
    attempts_left: AttemptsLeft
    created_at: Time
    expires_at: Time
    verified_at: Time | None
    message_id: Annotated[MessageId, Field(description="The latest message that carries the code.")]
    test: bool


class OtpSendView(ApiView):
    """`POST /v1/otp/send`"""

    authentication_classes = [SenderAuthentication]
    required_scope = Scope.OTP
    limit_class = LimitClass.SEND

    @operation(
        "send_otp",
        "Send a one-time password",
        body=OtpSendBody,
        responses={202: OtpSent | OtpSentInTest},
    )
    def post(self, request: Request, body: OtpSendBody) -> Response:
        """Make a code, send it ahead of all bulk messages, and keep only a keyed hash of it.

        A number has one live code of an organization: within the cooldown another one is refused
        (`OTP_COOLDOWN`), after it the older one is void.
        """
        text = texts.compose(body.template, body.locale, app_hash=body.app_hash, origin=body.origin)
        code_request = CodeRequest(
            body.phone,
            text,
            body.length,
            body.expiry,
            body.sender_id,
            for_retriever=body.app_hash is not None,
        )
        return Response(_sent(send.send(caller_of(request), code_request)), status=202)


class OtpVerifyView(ApiView):
    """`POST /v1/otp/verify`"""

    required_scope = Scope.OTP
    fails_closed = True

    @operation(
        "verify_otp", "Check a one-time password", body=OtpVerifyBody, responses={200: OtpChecked}
    )
    def post(self, request: Request, body: OtpVerifyBody) -> Response:
        """Check what the person typed in. A wrong code is no error: decide by `verified` alone.

        After the fifth wrong one the verification is `failed`. Once one was right, another check is
        refused (`ALREADY_VERIFIED`), a repetition with the same `Idempotency-Key` too.
        """
        verification = verify.verify(
            caller_of(request), ids.parse_id(ids.OTP, body.otp_id), body.code
        )
        content: OtpChecked = {
            "otp_id": verification.public_id,
            "verified": verification.status == Verification.Status.VERIFIED,
            "status": verification.status,
            "attempts_left": verification.attempts_left,
        }
        return Response(content)

    def check_replay(self, first: dict[str, Any]) -> None:
        """Refuse to say `verified: true` twice: whoever repeats the request has not proved it."""
        if first.get("verified"):
            raise ApiError(VerificationReason.VERIFIED)


class OtpResendView(ApiView):
    """`POST /v1/otp/{otp_id}/resend`"""

    authentication_classes = [SenderAuthentication]
    required_scope = Scope.OTP
    limit_class = LimitClass.SEND

    @operation("resend_otp", "Send the same code again", responses={200: OtpSent | OtpSentInTest})
    def post(self, request: Request, otp_id: PathId) -> Response:
        """Send a pending code to the same number once more, after the cooldown.

        It is right for its full `expiry` again from now on; checks already made stay counted.
        """
        return Response(_sent(send.resend(caller_of(request), otp_id)))


class OtpCancelView(ApiView):
    """`POST /v1/otp/{otp_id}/cancel`"""

    required_scope = Scope.OTP

    @operation("cancel_otp", "Cancel a verification", responses={200: OtpVerification})
    def post(self, request: Request, otp_id: PathId) -> Response:
        """End it: no code is right any more. A message that has not gone out yet is canceled."""
        return Response(_verification(verify.cancel(caller_of(request), otp_id)))


class OtpView(ApiView):
    """`GET /v1/otp/{otp_id}`"""

    required_scope = Scope.OTP

    @operation("get_otp", "Read a verification", responses={200: OtpVerification})
    def get(self, request: Request, otp_id: PathId) -> Response:
        """How a verification stands, never its code."""
        return Response(_verification(verify.read(caller_of(request), otp_id)))


def _sent(sent: Sent) -> OtpSent | OtpSentInTest:
    verification = sent.verification
    content: OtpSent = {
        "otp_id": verification.public_id,
        "phone": verification.phone,
        "status": verification.status,
        "expires_at": time_text(verification.expires_at),
        "message_id": ids.public_id(ids.MESSAGE, verification.message_id),
    }
    return {**content, "test_code": sent.code} if verification.test else content


def _verification(verification: Verification) -> OtpVerification:
    verified = verification.status == Verification.Status.VERIFIED
    return {
        "otp_id": verification.public_id,
        "phone": verification.phone,
        "status": verification.status,
        "reason": verification.reason or None,
        "attempts_left": verification.attempts_left,
        "created_at": time_text(verification.created_at),
        "expires_at": time_text(verification.expires_at),
        "verified_at": time_text(verification.ended_at) if verified else None,
        "message_id": ids.public_id(ids.MESSAGE, verification.message_id),
        "test": verification.test,
    }
