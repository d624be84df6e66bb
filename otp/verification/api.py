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
"""The most characters, more than any message can have."""

OtpId = Annotated[str, Field(examples=[OTP_ID])]
Phone = Annotated[str, Field(description="In E.164.", examples=["+966501234567"])]
MessageId = Annotated[str, Field(description="The message with the code.", examples=[MESSAGE_ID])]
Status = Annotated[str, OneOf(Verification.Status)]
Reason = Annotated[str, OneOf(Verification.Reason)]
AttemptsLeft = Annotated[
    int,
    Field(ge=0, le=5, description="The checks left; 0 once it is no longer pending."),
]


class OtpSendBody(Body):
    phone: str = Field(description="A mobile number.", examples=["+966501234567"])
    length: Annotated[int, INTEGRAL] = Field(
        6, ge=codes.MIN_LENGTH, le=codes.MAX_LENGTH, description="Digits of the code."
    )
    expiry: Annotated[int, INTEGRAL] = Field(
        300, ge=30, le=3600, description="Seconds for which the code is valid."
    )
    template: str | None = Field(
        None,
        max_length=MAX_TEMPLATE,
        description="The text, with `{code}` exactly once. The default is a short text in the"
        " language of `locale`.",
        examples=["Your verification code is: {code}"],
    )
    sender_id: Sender | None = None
    locale: texts.Locale = Field("en", description="The language of the default text.")
    app_hash: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9+/]{11}$",
        description="The hash of your Android app, added as the last line so that SMS Retriever"
        " assigns the message to it. The text may have at most 140 bytes then. Not with `origin`.",
        examples=["FA+9qCX9VSu"],
    )
    origin: Annotated[str, AfterValidator(texts.host)] | None = Field(
        None,
        description="The host name of your site. The last line is `@host #code` then, so that"
        " browsers and iOS autofill the code on that site only.",
        examples=["example.com"],
        json_schema_extra=texts.HOST_SCHEMA,
    )


class OtpVerifyBody(Body):
    otp_id: OtpId
    code: Annotated[str, AfterValidator(codes.normalize)] = Field(
        max_length=codes.MAX_INPUT,
        description="The code that the user typed or pasted: 4 to 8 digits, in any script. Spaces,"
        " dashes, dots, line breaks and invisible characters are ignored.",
        examples=["123456"],
        json_schema_extra={"pattern": codes.INPUT_PATTERN},
    )


class OtpSent(TypedDict):
    """A code that was accepted for sending."""

    otp_id: OtpId
    phone: Phone
    status: Annotated[str, OneOf([Verification.Status.PENDING])]
    expires_at: Time
    message_id: MessageId


class OtpSentInTest(OtpSent):
    """The same for a test key, with the code, which is not sent to the phone."""

    test_code: Annotated[str, Field(pattern="^[0-9]{4,8}$", examples=["123456"])]


class OtpChecked(TypedDict):
    """The result of a check."""

    otp_id: OtpId
    verified: Annotated[
        bool, Field(description="Whether the code is correct. Rely on this field alone.")
    ]
    status: Status
    attempts_left: AttemptsLeft


class OtpVerification(TypedDict):
    """A verification, without its code."""

    otp_id: OtpId
    phone: Phone
    status: Status
    reason: Annotated[Reason | None, Field(description="Why it is expired or failed.")]
    attempts_left: AttemptsLeft
    created_at: Time
    expires_at: Time
    verified_at: Time | None
    message_id: Annotated[MessageId, Field(description="The latest message with the code.")]
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
        """Create a code, send it before all bulk messages, and store only a keyed hash of it.

        A number has one valid code of an organization. During the cooldown another one is refused
        (`OTP_COOLDOWN`); after it, a new code replaces the earlier one.
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
        """Check the code that the user entered. A wrong code is not an error: rely on `verified`.

        After the fifth wrong code the verification is `failed`. After a correct one, further checks
        are refused (`ALREADY_VERIFIED`), a repetition with the same `Idempotency-Key` too.
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
        """Refuse to return `verified: true` again: repeating a request proves nothing."""
        if first.get("verified"):
            raise ApiError(VerificationReason.VERIFIED)


class OtpResendView(ApiView):
    """`POST /v1/otp/{otp_id}/resend`"""

    authentication_classes = [SenderAuthentication]
    required_scope = Scope.OTP
    limit_class = LimitClass.SEND

    @operation("resend_otp", "Send the same code again", responses={200: OtpSent | OtpSentInTest})
    def post(self, request: Request, otp_id: PathId) -> Response:
        """Send a pending code to the same number again, after the cooldown.

        Its `expiry` starts again; earlier checks still count.
        """
        return Response(_sent(send.resend(caller_of(request), otp_id)))


class OtpCancelView(ApiView):
    """`POST /v1/otp/{otp_id}/cancel`"""

    required_scope = Scope.OTP

    @operation("cancel_otp", "Cancel a verification", responses={200: OtpVerification})
    def post(self, request: Request, otp_id: PathId) -> Response:
        """Cancel a verification and its code. A message that is not yet sent is canceled, too."""
        return Response(_verification(verify.cancel(caller_of(request), otp_id)))


class OtpView(ApiView):
    """`GET /v1/otp/{otp_id}`"""

    required_scope = Scope.OTP

    @operation("get_otp", "Read a verification", responses={200: OtpVerification})
    def get(self, request: Request, otp_id: PathId) -> Response:
        """Return a verification's status, never its code."""
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
