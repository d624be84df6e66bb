"""Order, tags, error codes and links of the API's operations, by operationId.

An operation that is missing here is listed after the others of its tag and has only the error codes
that are common to all.
"""

from dataclasses import dataclass

TAGS = {
    "SMS": "Send messages, singly or up to 10,000 a call, now or later, and see what became of"
    " each.",
    "Batches": "The messages of one bulk call, together.",
    "OTP": "One-time passwords: the platform makes the code, sends it, and checks it.",
    "Sender IDs": "What a handset shows as sender. An operator approves each before its first use.",
    "Webhooks": "Where events are posted to, and what became of each post.",
    "Suppressions": "Numbers that nothing is sent to.",
    "Account": "Credits and usage.",
}
"""The tags in order, with their descriptions."""

_TAG_OF = {
    "sms": "SMS",
    "batches": "Batches",
    "otp": "OTP",
    "sender-ids": "Sender IDs",
    "webhooks": "Webhooks",
    "suppressions": "Suppressions",
}


def tag_of(path: str) -> str:
    """Return the tag of a path such as `/v1/sms/send`."""
    return _TAG_OF.get(path.split("/")[2], "Account")


WHOSE_ID = {
    "message_id": "message's",
    "batch_id": "batch's",
    "otp_id": "verification's",
    "webhook_id": "endpoint's",
    "delivery_id": "delivery's",
    "sender_id": "sender ID's",
}
"""The objects that the ids in paths belong to, by the names of path parameters."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link of OpenAPI: the response's `field` is the parameter `parameter` of `operation`."""

    operation: str
    parameter: str
    field: str


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation: `codes` are its error codes beyond those of its method and path."""

    codes: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()


_DRAFT = ("INVALID_PHONE", "MESSAGE_TOO_LONG", "INVALID_SENDER", "DESTINATION_BLOCKED")
_MESSAGE = (
    Link("get_message", "message_id", "/message_id"),
    Link("cancel_message", "message_id", "/message_id"),
)
_BATCH = (
    Link("get_batch", "batch_id", "/batch_id"),
    Link("cancel_batch", "batch_id", "/batch_id"),
)
_OTP = (
    Link("resend_otp", "otp_id", "/otp_id"),
    Link("cancel_otp", "otp_id", "/otp_id"),
    Link("get_message", "message_id", "/message_id"),
)
_WEBHOOK = tuple(
    Link(operation, "webhook_id", "/id")
    for operation in (
        "get_webhook",
        "change_webhook",
        "test_webhook",
        "list_webhook_deliveries",
        "delete_webhook",
    )
)
_DELIVERY = (
    Link("get_webhook_delivery", "delivery_id", "/id"),
    Link("replay_webhook_delivery", "delivery_id", "/id"),
)

OPERATIONS = {
    "send_message": Operation((*_DRAFT, "INVALID_SCHEDULE", "INSUFFICIENT_CREDITS"), _MESSAGE),
    "send_bulk": Operation(("INVALID_SCHEDULE", "INSUFFICIENT_CREDITS"), _BATCH),
    "estimate": Operation(("INVALID_SCHEDULE",)),
    "list_messages": Operation(("INVALID_PHONE",)),
    "get_message": Operation(),
    "cancel_message": Operation(("NOT_CANCELABLE",)),
    "get_batch": Operation(),
    "cancel_batch": Operation(("NOT_CANCELABLE",)),
    "send_otp": Operation(
        (
            *_DRAFT,
            "INVALID_TEMPLATE",
            "INVALID_SCHEDULE",
            "INSUFFICIENT_CREDITS",
            "OTP_COOLDOWN",
            "TOO_MANY_ATTEMPTS",
        ),
        _OTP,
    ),
    "verify_otp": Operation(("NOT_FOUND", "ALREADY_VERIFIED")),
    "resend_otp": Operation(
        (
            "ALREADY_VERIFIED",
            "CONFLICT",
            "INVALID_SENDER",
            "DESTINATION_BLOCKED",
            "INVALID_SCHEDULE",
            "INSUFFICIENT_CREDITS",
            "OTP_COOLDOWN",
            "TOO_MANY_ATTEMPTS",
        )
    ),
    "cancel_otp": Operation(("NOT_CANCELABLE", "ALREADY_VERIFIED")),
    "get_otp": Operation(),
    "list_sender_ids": Operation(),
    "request_sender_id": Operation(("CONFLICT",)),
    "get_sender_id": Operation(),
    "list_webhooks": Operation(),
    "create_webhook": Operation(("INVALID_URL", "CONFLICT"), _WEBHOOK),
    "get_webhook": Operation(),
    "change_webhook": Operation(("INVALID_URL",)),
    "delete_webhook": Operation(),
    "test_webhook": Operation(("CONFLICT",), _DELIVERY),
    "rotate_webhook_secret": Operation(),
    "list_webhook_deliveries": Operation(),
    "get_webhook_delivery": Operation(),
    "replay_webhook_delivery": Operation(("CONFLICT",), _DELIVERY),
    "replay_webhook_deliveries": Operation(("CONFLICT",)),
    "list_suppressions": Operation(("INVALID_PHONE",)),
    "add_suppressions": Operation(("INVALID_PHONE",)),
    "get_suppression": Operation(("INVALID_PHONE",)),
    "remove_suppression": Operation(("INVALID_PHONE",)),
    "get_balance": Operation(),
    "get_usage": Operation(),
}
"""In the order in which they are listed."""
