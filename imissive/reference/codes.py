"""The error codes in words, and a body with each."""

from dataclasses import dataclass

from imissive.core.api.error_bodies import Error


@dataclass(frozen=True, slots=True)
class Code:
    """What a code means, and what an answer with it may say."""

    meaning: str
    message: str
    field: str | None = None


CODES = {
    "INVALID_REQUEST": Code(
        "The body, a parameter or a header is not as described here.",
        "The field 'to' is missing.",
        "to",
    ),
    "INVALID_PHONE": Code(
        "Not a mobile number in E.164.", "A fixed line, which cannot receive SMS.", "to"
    ),
    "MESSAGE_TOO_LONG": Code(
        "More parts than the organization may send.",
        "The text has 12 parts; at most 10 are allowed.",
        "message",
    ),
    "INVALID_SCHEDULE": Code(
        "No time, without its offset, past, or more than 90 days ahead.",
        "The time has passed.",
        "scheduled_at",
    ),
    "INVALID_TEMPLATE": Code(
        "The template does not hold `{code}` exactly once, or is too long.",
        "The template must hold {code} exactly once.",
        "template",
    ),
    "INVALID_URL": Code(
        "Webhooks may not be posted there.", "The URL must begin with https://.", "url"
    ),
    "UNAUTHORIZED": Code(
        "No key, or one that is malformed, unknown, revoked or expired: all alike.",
        "The API key is missing or not valid.",
    ),
    "INSUFFICIENT_CREDITS": Code(
        "The balance does not cover it. Nothing was sent or charged.",
        "The balance does not cover this. Nothing was sent or charged.",
    ),
    "FORBIDDEN": Code(
        "The key lacks the scope or may not be used from this address, or the organization is"
        " suspended.",
        "This API key lacks the scope 'sms:send'.",
    ),
    "INVALID_SENDER": Code(
        "The sender ID is not approved for this organization; of a test message: it could never"
        " be one.",
        "'Nobody' is not an approved sender ID of this account.",
        "sender_id",
    ),
    "DESTINATION_BLOCKED": Code(
        "The country is not enabled, the recipient opted out, or the hours forbid it.",
        "This number asked not to be written to.",
        "to",
    ),
    "NOT_FOUND": Code(
        "There is none with that id, or it is another organization's.",
        "There is no such message.",
    ),
    "METHOD_NOT_ALLOWED": Code(
        "The address does not answer to that method; `Allow` lists those it answers to.",
        "This address does not answer to that method.",
    ),
    "NOT_ACCEPTABLE": Code(
        "`Accept` excludes `application/json`.", "Answers are application/json."
    ),
    "CONFLICT": Code("It does not go with what there is already.", "There is one already."),
    "NOT_CANCELABLE": Code(
        "It is on its way already, or over.", "Only scheduled and queued messages can be canceled."
    ),
    "ALREADY_VERIFIED": Code("The code was verified before.", "This code was verified already."),
    "IDEMPOTENCY_IN_PROGRESS": Code(
        "A call with the same `Idempotency-Key` still runs. Ask again in a moment.",
        "A call with this Idempotency-Key is still running. Ask again in a moment.",
    ),
    "PAYLOAD_TOO_LARGE": Code("The body is too large.", "A body has at most 8,388,608 bytes."),
    "UNSUPPORTED_MEDIA_TYPE": Code(
        "The body is not sent as `application/json`.", "Send Content-Type: application/json."
    ),
    "IDEMPOTENCY_MISMATCH": Code(
        "The `Idempotency-Key` was used for another request: another address or body.",
        "This Idempotency-Key was used for another request: another address or body.",
        "Idempotency-Key",
    ),
    "RATE_LIMITED": Code(
        "Too many calls a minute. `Retry-After` says how long to wait.",
        "This account may send 600 messages a minute this way.",
    ),
    "TOO_MANY_ATTEMPTS": Code(
        "Too many codes for this number. `Retry-After` says how long to wait.",
        "Too many codes were sent to this number. Try again later.",
        "phone",
    ),
    "OTP_COOLDOWN": Code(
        "A code was sent to this number a moment ago. `Retry-After` says how long to wait.",
        "A code was sent to this number less than 60 seconds ago.",
        "phone",
    ),
    "SERVER_ERROR": Code(
        "Our fault, and logged. Repeat the call with the same `Idempotency-Key`.",
        "Something went wrong on our side. Try again later.",
    ),
    "UNAVAILABLE": Code(
        "For the moment. Repeat the call with the same `Idempotency-Key` after `Retry-After`.",
        "The service is not available right now. Try again.",
    ),
}


def example(code: str, base: str) -> Error:
    """Return a body with that code; `base` is the platform's address."""
    known = CODES[code]
    return {
        "error": {
            "code": code,
            "message": known.message,
            "field": known.field,
            "details": [],
            "docs": f"{base}/docs#{code}",
        },
        "request_id": "req_01m83snhn8fsjsf5h41ebt60cg",
    }
