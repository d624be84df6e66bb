"""The answers about messages: their types where they are built, and their schema in the reference.

Answers are plain dicts, so that one of 10,000 rows costs no model; mypy holds whoever builds them
to these types, and the tests hold the answers to their patterns and bounds.
"""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from imissive.core import ids
from imissive.core.api.fields import Count, NextCursor, OneOf, Time
from messaging.states import Status

StatusName = Annotated[str, OneOf(Status)]
Encoding = Annotated[str, OneOf(["gsm7", "ucs2"])]

MessageId = Annotated[
    str, Field(pattern=ids.pattern(ids.MESSAGE), examples=["msg_01m83snhn8fsjsf5h41ebt60cg"])
]
BatchId = Annotated[
    str, Field(pattern=ids.pattern(ids.BATCH), examples=["bat_01m83sq4zqe1h8r2t5v7x9z3ac"])
]
E164 = Annotated[
    str,
    Field(pattern=r"^\+[1-9][0-9]{1,14}$", examples=["+966501234567"], description="In E.164."),
]
Credits = Annotated[
    str, Field(pattern=r"^[0-9]+(\.[0-9]{1,6})?$", examples=["1", "0.05"], description="Credits.")
]
Country = Annotated[
    str, Field(pattern="^[A-Z]{2}$", examples=["SA"], description="ISO 3166-1 alpha-2.")
]
Parts = Annotated[int, Field(ge=1, le=10, description="What is charged for, and sent as one.")]
SenderName = Annotated[str, Field(max_length=16, examples=["MyCompany"])]


class MessageProblem(TypedDict):
    """Why a message is refused."""

    code: Annotated[str, Field(examples=["INVALID_PHONE"])]
    message: str
    field: Annotated[str | None, Field(examples=["to"])]


class MessageError(TypedDict):
    """Why a message came to nothing."""

    code: Annotated[
        str,
        Field(
            description="The carrier's own word, or EXPIRED, NO_RESPONSE and the like.",
            examples=["UNDELIV"],
        ),
    ]
    message: str


class Message(TypedDict):
    message_id: MessageId
    to: E164
    sender_id: SenderName
    status: StatusName
    parts: Parts
    encoding: Encoding
    credits: Annotated[Credits, Field(description="What was charged for it, all parts.")]
    reference: Annotated[
        str | None, Field(max_length=100, description="Your own, as it was given.")
    ]
    batch_id: BatchId | None
    test: Annotated[
        bool, Field(description="Sent with a test key: never charged, never to a handset.")
    ]
    created_at: Time
    scheduled_at: Annotated[
        Time | None,
        Field(description="When it is to go out: as asked for, or when its country's hours open."),
    ]
    queued_at: Time | None
    sent_at: Annotated[Time | None, Field(description="When a carrier had taken all its parts.")]
    delivered_at: Time | None
    failed_at: Time | None
    error: MessageError | None


class MessageSegment(TypedDict):
    """A carrier's report about one part."""

    number: Annotated[int, Field(ge=1, le=10)]
    status: Annotated[str, OneOf(["sent", "delivered", "failed", "expired"])]
    carrier_message_id: str
    sent_at: Time
    final_at: Time | None
    error_code: Annotated[str | None, Field(examples=["UNDELIV 027"])]


class TimelineEntry(TypedDict):
    at: Time
    event: Annotated[
        str,
        OneOf(
            [
                "accepted",
                "scheduled",
                "held",
                "queued",
                "attempt",
                "sent",
                "part delivered",
                "part failed",
                "part expired",
                "delivered",
                "failed",
                "expired",
                "canceled",
            ]
        ),
        Field(
            description="held: by the hours in which its country lets it go; attempt: a submit"
            " that a carrier did not take."
        ),
    ]
    detail: str | None


class MessageDetail(Message):
    text: Annotated[str, Field(description="A one-time password in it is masked.")]
    expires_at: Time
    segments: Annotated[
        list[MessageSegment], Field(description="The parts that a carrier has taken.")
    ]
    timeline: Annotated[list[TimelineEntry], Field(description="Oldest first.")]


class Messages(TypedDict):
    data: Annotated[list[Message], Field(description="Newest first.")]
    next_cursor: NextCursor


class RejectedMessage(TypedDict):
    to: Annotated[str, Field(description="As it was given.")]
    status: Literal["rejected"]
    error: MessageProblem


class BulkResult(TypedDict):
    batch_id: Annotated[BatchId | None, Field(description="Null where no message was accepted.")]
    accepted: Count
    rejected: Count
    credits: Annotated[Credits, Field(description="What was charged for the accepted ones.")]
    messages: Annotated[
        list[Message | RejectedMessage],
        Field(description="One for each message of the call, in its order."),
    ]


class StatusCounts(TypedDict):
    scheduled: Count
    queued: Count
    sending: Count
    sent: Count
    delivered: Count
    failed: Count
    expired: Count
    canceled: Count


class Batch(TypedDict):
    batch_id: BatchId
    created_at: Time
    total: Annotated[Count, Field(description="Messages that were accepted.")]
    parts: Count
    credits: Annotated[Credits, Field(description="What was charged.")]
    refunded: Annotated[Credits, Field(description="What came back of it.")]
    counts: StatusCounts


class CanceledBatch(TypedDict):
    batch_id: BatchId
    canceled: Annotated[int, Field(ge=1)]
    credits: Annotated[Credits, Field(description="What came back.")]


class EstimatedMessage(TypedDict):
    to: Annotated[str, Field(description="In E.164; as it was given where it is no number.")]
    country: Country | None
    sender_id: Annotated[SenderName | None, Field(description="Null where it would be refused.")]
    accepted: Annotated[bool, Field(description="Whether sending it now would be accepted.")]
    parts: Annotated[int, Field(ge=1)] | None
    encoding: Encoding | None
    units: Annotated[
        Annotated[int, Field(ge=1)] | None,
        Field(description="Septets of gsm7, UTF-16 units of ucs2."),
    ]
    ucs2_characters: Annotated[
        list[str], Field(description="Those for which it is ucs2, each once.", examples=[["–"]])
    ]
    credits: Credits | None
    route: Annotated[
        list[str], Field(description="The carriers, in the order in which they are tried.")
    ]
    scheduled_at: Annotated[
        Time | None,
        Field(
            description="When it would go out, if not at once: as asked for, or when its country's"
            " hours open."
        ),
    ]
    problems: Annotated[
        list[MessageProblem], Field(description="All that is against it; none: accepted.")
    ]


class Estimate(EstimatedMessage):
    balance: Annotated[
        Credits | None, Field(description="Null for a key without the scope `balance`.")
    ]
    covered: Annotated[bool, Field(description="Whether the balance is enough.")]


class BulkEstimate(TypedDict):
    accepted: Count
    rejected: Count
    parts: Annotated[Count, Field(description="Of those that nothing but the balance is against.")]
    credits: Annotated[Credits, Field(description="The same.")]
    balance: Annotated[
        Credits | None, Field(description="Null for a key without the scope `balance`.")
    ]
    covered: Annotated[bool, Field(description="Whether the balance is enough for all of them.")]
    messages: Annotated[
        list[EstimatedMessage], Field(description="One for each message of the call, in its order.")
    ]


class Usage(TypedDict):
    messages: Count
    parts: Count
    credits: Annotated[Credits, Field(description="Charged, less what came back.")]
