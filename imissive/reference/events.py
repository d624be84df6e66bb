"""Webhook events as models, and as `webhooks` of OpenAPI 3.1."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, create_model

from imissive.core.api.openapi import REFERENCE, Schema, components_of
from imissive.core.problems import english
from webhooks.endpoints.reasons import DisabledReason
from webhooks.models import EventType

_EXAMPLE_ID = "01m83snhn8fsjsf5h41ebt60cg"
_AT, _BEFORE = "2026-11-23T08:52:02Z", "2026-11-23T08:52:01Z"

MessageId = Annotated[str, Field(examples=[f"msg_{_EXAMPLE_ID}"])]
OtpId = Annotated[str, Field(examples=[f"otp_{_EXAMPLE_ID}"])]
Phone = Annotated[str, Field(description="In E.164.", examples=["+966501234567"])]


def _where_set(hint: Any, description: str, **more: Any) -> Any:
    """Return a field that is left out where it has no value."""
    # A default_factory makes the field optional, and the schema has no default for it.
    return (hint, Field(default_factory=str, description=f"{description} Only where set.", **more))


class EventError(BaseModel):
    """Why a message was not delivered."""

    code: str = Field(description="The carrier's word, or ours.", examples=["UNDELIV"])
    message: str = Field(examples=["The carrier could not deliver the message."])


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of event: when it is posted, the fields of its `data`, and an example of them."""

    event: EventType
    when: str
    data: dict[str, Any]
    example: dict[str, Any]
    about_message: bool = False

    @property
    def name(self) -> str:
        """The model's name, such as `MessageDeliveredEvent`."""
        words = self.event.replace(".", "_").split("_")
        return "".join(word.capitalize() for word in words) + "Event"

    def model(self) -> type[BaseModel]:
        """Return the model of the event's body."""
        data: Any = create_model(self.name.removesuffix("Event") + "Data", **self.data)
        fields: dict[str, Any] = {"event": (Literal[self.event.value], ...)}
        if self.about_message:
            fields["message_id"] = (MessageId, ...)
        fields["timestamp"] = (datetime, Field(description="When it happened, in whole seconds."))
        fields["data"] = (data, ...)
        model: type[BaseModel] = create_model(self.name, __doc__=self.when, **fields)
        return model

    def body(self) -> dict[str, Any]:
        """Return an example of the event's body."""
        about = {"message_id": f"msg_{_EXAMPLE_ID}"} if self.about_message else {}
        return {"event": self.event.value, **about, "timestamp": _AT, "data": self.example}


def _message(event: EventType, when: str, *, error: dict[str, str] | None = None) -> Kind:
    status = event.split(".")[1]
    at = f"{status}_at"
    data: dict[str, Any] = {
        "to": (Phone, ...),
        "status": (Literal[status], ...),
        at: (datetime, ...),
        "reference": _where_set(str, "Your own reference.", examples=["order-4711"]),
        "batch_id": _where_set(str, "The bulk call.", examples=[f"bat_{_EXAMPLE_ID}"]),
        "test": (bool, Field(default_factory=bool, description="Only for a test key's messages.")),
    }
    example: dict[str, Any] = {"to": "+966501234567", "status": status, at: _BEFORE}
    if error is not None:
        data["error"] = (EventError, ...)
        example["error"] = error
    return Kind(event, when, data, example, about_message=True)


def _otp(event: EventType, when: str, statuses: tuple[str, ...], at: str, **more: Any) -> Kind:
    data: dict[str, Any] = {
        "otp_id": (OtpId, ...),
        "phone": (Phone, ...),
        "status": (Literal[statuses], ...),
        at: (datetime, ...),
        "test": (bool, Field(default_factory=bool, description="Only for a test key's codes.")),
    }
    example = {"otp_id": f"otp_{_EXAMPLE_ID}", "phone": "+966501234567", "status": statuses[-1]}
    reason = {"reason": "too_many_attempts"} if more else {}
    return Kind(event, when, data | more, example | {at: _BEFORE} | reason, about_message=True)


def _sender(event: EventType, when: str, **more: Any) -> Kind:
    status = event.split(".")[1]
    data: dict[str, Any] = {
        "id": (str, Field(examples=[f"snd_{_EXAMPLE_ID}"])),
        "sender_id": (str, Field(examples=["MyCompany"])),
        "status": (Literal[status], ...),
    }
    example = {"id": f"snd_{_EXAMPLE_ID}", "sender_id": "MyCompany", "status": status}
    reason = {"reason": "The trade licence is missing."} if more else {}
    return Kind(event, when, data | more, example | reason)


_EndpointId = Annotated[str, Field(examples=[f"whk_{_EXAMPLE_ID}"])]
_OtpReason = Literal["expired", "superseded", "too_many_attempts", "canceled"]

KINDS = (
    _message(EventType.MESSAGE_QUEUED, "Accepted, or a scheduled message's time has come."),
    _message(EventType.MESSAGE_SENT, "The carrier accepted all parts."),
    _message(EventType.MESSAGE_DELIVERED, "Receipts say that all parts are delivered."),
    _message(
        EventType.MESSAGE_FAILED,
        "Refused, or undeliverable. Credits of what no carrier took come back.",
        error={"code": "UNDELIV", "message": "The carrier could not deliver the message."},
    ),
    _message(
        EventType.MESSAGE_EXPIRED,
        "Nothing final was known within its validity.",
        error={"code": "EXPIRED", "message": "No final receipt came within the validity."},
    ),
    _message(EventType.MESSAGE_CANCELED, "You took it back before it went out."),
    _otp(EventType.OTP_VERIFIED, "The right code was typed in.", ("verified",), "verified_at"),
    _otp(
        EventType.OTP_FAILED,
        "Its time was over, the code was wrong too often, a newer one took its place, or it was"
        " canceled.",
        ("expired", "failed"),
        "failed_at",
        reason=(_OtpReason, ...),
    ),
    _sender(EventType.SENDER_APPROVED, "An operator approved a sender ID of yours."),
    _sender(
        EventType.SENDER_REJECTED,
        "An operator rejected it.",
        reason=(str, Field(description="What the operator wrote.")),
    ),
    Kind(
        EventType.BALANCE_LOW,
        "The balance fell below the organization's threshold.",
        {
            "credits": (str, Field(examples=["99.5"])),
            "low_balance_threshold": (str, Field(examples=["100"])),
        },
        {"credits": "99.5", "low_balance_threshold": "100"},
    ),
    Kind(
        EventType.WEBHOOK_TEST,
        "You asked for it.",
        {"endpoint_id": (_EndpointId, ...)},
        {"endpoint_id": f"whk_{_EXAMPLE_ID}"},
    ),
    Kind(
        EventType.ENDPOINT_DISABLED,
        "Another endpoint of yours was disabled: it answered 410, or failed for five days.",
        {
            "endpoint_id": (_EndpointId, ...),
            "url": (str, Field(json_schema_extra={"format": "uri"})),
            "reason": (str, Field(description="Why, in a sentence.")),
        },
        {
            "endpoint_id": f"whk_{_EXAMPLE_ID}",
            "url": "https://example.com/webhook",
            "reason": english(DisabledReason.GONE.problem()),
        },
    ),
)


def components() -> dict[str, Schema]:
    """Return the JSON schemas of all events' bodies and of the models in them, by name."""
    found: dict[str, Schema] = {}
    for kind in KINDS:
        found |= components_of(kind.model(), "serialization")
    return found


def _header(name: str, description: str, example: str) -> Schema:
    schema = {"type": "string", "examples": [example]}
    return {
        "name": name,
        "in": "header",
        "required": True,
        "description": description,
        "schema": schema,
    }


_HEADERS = [
    _header(
        "webhook-id",
        "The event's id, the same on every attempt and replay: drop an event that you have.",
        f"evt_{_EXAMPLE_ID}",
    ),
    _header(
        "webhook-timestamp",
        "When this attempt was signed, in Unix seconds. Refuse what is older than five minutes.",
        "1795423922",
    ),
    _header(
        "webhook-signature",
        "`v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64, by the endpoint's secret;"
        " two, with a space between them, while a secret is rotated.",
        "v1,zQ1tzYW0uRFqDr5vQmJ9TFgGmXQ2Jmlq1m8jXQ0f3mk=",
    ),
]
_RESPONSES = {
    "2XX": {"description": "Taken. Answer within 10 seconds, and do the work afterwards."},
    "410": {"description": "Disables the endpoint."},
    "default": {
        "description": "Failed, a redirect too. It is posted again, for more than three days;"
        " a `Retry-After` is honoured."
    },
}


def webhooks() -> Schema:
    """Return `webhooks` of OpenAPI 3.1: the posts to an endpoint, by the event's name."""
    return {
        kind.event.value: {
            "post": {
                "operationId": f"on_{kind.event.replace('.', '_')}",
                "summary": kind.event.value,
                "description": kind.when,
                "tags": ["Webhooks"],
                # The post is authenticated by its signature only.
                "security": [],
                "parameters": _HEADERS,
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {"$ref": REFERENCE.format(model=kind.name)},
                            "examples": {kind.event.value: {"value": kind.body()}},
                        }
                    },
                },
                "responses": _RESPONSES,
            }
        }
        for kind in KINDS
    }
