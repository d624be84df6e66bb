"""The error codes of the API: their meanings, and an example of an error body for each."""

from dataclasses import dataclass

from accounts.api.reasons import CallReason
from accounts.credits.reasons import CreditsReason
from imissive.core.api.error_bodies import Error
from imissive.core.errors import problem_json
from imissive.core.problems import Problem
from imissive.core.reasons import CoreReason, UrlReason
from messaging.numbers.reasons import NumberReason
from messaging.sending.reasons import MessageReason, SendingReason
from otp.limits.reasons import LimitReason
from otp.verification.reasons import VerificationReason
from webhooks.endpoints.reasons import EndpointReason


@dataclass(frozen=True, slots=True)
class Code:
    """The meaning of an error code, and an example of a problem with it."""

    meaning: str
    example: Problem


CODES = {
    "INVALID_REQUEST": Code(
        "The body, a parameter or a header is not as described here.",
        CoreReason.MISSING_FIELD.problem("to", name="to"),
    ),
    "INVALID_PHONE": Code("Not a mobile number in E.164.", NumberReason.FIXED_LINE.problem("to")),
    "MESSAGE_TOO_LONG": Code(
        "More parts than the organization may send.",
        SendingReason.TOO_MANY_PARTS.problem("message", parts=12, most=10),
    ),
    "INVALID_SCHEDULE": Code(
        "No time, without its offset, past, or more than 90 days ahead.",
        SendingReason.TIME_PASSED.problem("scheduled_at"),
    ),
    "INVALID_TEMPLATE": Code(
        "The template does not hold `{code}` exactly once, or is too long.",
        VerificationReason.NO_PLACE_FOR_CODE.problem("template"),
    ),
    "INVALID_URL": Code("Webhooks may not be posted there.", UrlReason.NOT_HTTPS.problem("url")),
    "UNAUTHORIZED": Code(
        "No key, or one that is malformed, unknown, revoked or expired: all alike.",
        CoreReason.KEY_NOT_VALID.problem(),
    ),
    "INSUFFICIENT_CREDITS": Code(
        "The balance does not cover it. Nothing was sent or charged.",
        CreditsReason.NOT_COVERED.problem(),
    ),
    "FORBIDDEN": Code(
        "The key lacks the scope or may not be used from this address, or the organization is"
        " suspended.",
        CallReason.NO_SCOPE.problem(scope="sms:send"),
    ),
    "INVALID_SENDER": Code(
        "The sender ID is not approved for this organization; of a test message: it could never"
        " be one.",
        SendingReason.SENDER_NOT_APPROVED.problem("sender_id", name="Nobody"),
    ),
    "DESTINATION_BLOCKED": Code(
        "The country is not enabled, the recipient opted out, or the hours forbid it.",
        SendingReason.OPTED_OUT.problem("to"),
    ),
    "NOT_FOUND": Code(
        "There is none with that id, or it is another organization's.",
        MessageReason.NO_SUCH_MESSAGE.problem(),
    ),
    "METHOD_NOT_ALLOWED": Code(
        "The address does not answer to that method; `Allow` lists those it answers to.",
        CoreReason.METHOD_NOT_ALLOWED.problem(),
    ),
    "NOT_ACCEPTABLE": Code(
        "`Accept` excludes `application/json`.", CoreReason.NOT_ACCEPTABLE.problem()
    ),
    "CONFLICT": Code(
        "It does not go with what there is already.", EndpointReason.DISABLED.problem()
    ),
    "NOT_CANCELABLE": Code(
        "It is on its way already, or over.", MessageReason.AT_THE_CARRIER.problem()
    ),
    "ALREADY_VERIFIED": Code(
        "The code was verified before.", VerificationReason.VERIFIED.problem()
    ),
    "IDEMPOTENCY_IN_PROGRESS": Code(
        "A call with the same `Idempotency-Key` still runs. Ask again in a moment.",
        CallReason.IDEMPOTENCY_IN_PROGRESS.problem(),
    ),
    "PAYLOAD_TOO_LARGE": Code(
        "The body is too large.", CoreReason.BODY_TOO_LARGE.problem(most=8_388_608)
    ),
    "UNSUPPORTED_MEDIA_TYPE": Code(
        "The body is not sent as `application/json`.", CoreReason.NOT_JSON.problem()
    ),
    "IDEMPOTENCY_MISMATCH": Code(
        "The `Idempotency-Key` was used for another request: another address or body.",
        CallReason.IDEMPOTENCY_MISMATCH.problem("Idempotency-Key"),
    ),
    "RATE_LIMITED": Code(
        "Too many calls a minute. `Retry-After` says how long to wait.",
        CallReason.TOO_MANY_MESSAGES.problem(limit=600),
    ),
    "TOO_MANY_ATTEMPTS": Code(
        "Too many codes for this number. `Retry-After` says how long to wait.",
        LimitReason.TOO_MANY_CODES.problem("phone"),
    ),
    "OTP_COOLDOWN": Code(
        "A code was sent to this number a moment ago. `Retry-After` says how long to wait.",
        LimitReason.COOLDOWN.problem("phone", seconds=60),
    ),
    "SERVER_ERROR": Code(
        "Our fault, and logged. Repeat the call with the same `Idempotency-Key`.",
        CoreReason.SERVER_ERROR.problem(),
    ),
    "UNAVAILABLE": Code(
        "For the moment. Repeat the call with the same `Idempotency-Key` after `Retry-After`.",
        CoreReason.UNAVAILABLE.problem(),
    ),
}


def example(code: str, base: str) -> Error:
    """Return an example of an error body with that code; `base` is the platform's URL."""
    return {
        "error": {
            **problem_json(CODES[code].example),
            "details": [],
            "docs": f"{base}/docs#{code}",
        },
        "request_id": "req_01m83snhn8fsjsf5h41ebt60cg",
    }
