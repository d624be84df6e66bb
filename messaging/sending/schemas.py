"""The answers about messages as the public reference declares them.

For the schema only: answers are built as plain dicts, and the tests hold them against these models.
"""

import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from imissive.core import ids
from imissive.core.cursors import CURSOR

StatusName = Literal[
    "scheduled", "queued", "sending", "sent", "delivered", "failed", "expired", "canceled"
]
"""messaging.states.Status, as schemas say it."""
Encoding = Literal["gsm7", "ucs2"]

MessageId = Annotated[
    str, Field(pattern=ids.pattern(ids.MESSAGE), examples=["msg_01m83snhn8fsjsf5h41ebt60cg"])
]
BatchId = Annotated[
    str, Field(pattern=ids.pattern(ids.BATCH), examples=["bat_01m83sq4zqe1h8r2t5v7x9z3ac"])
]
NextCursor = Annotated[
    str | None,
    Field(
        json_schema_extra={"pattern": ids.pattern(CURSOR)},
        description="Asks for the next page, as `cursor`; null on the last one.",
    ),
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
Count = Annotated[int, Field(ge=0)]
SenderName = Annotated[str, Field(max_length=16, examples=["MyCompany"])]
Moment = datetime.datetime


class MessageProblem(BaseModel):
    """Why a message is refused."""

    code: str = Field(examples=["INVALID_PHONE"])
    message: str
    field: str | None = Field(examples=["to"])


class MessageError(BaseModel):
    """Why a message came to nothing."""

    code: str = Field(
        description="The carrier's own word, or EXPIRED, NO_RESPONSE and the like.",
        examples=["UNDELIV"],
    )
    message: str


class Message(BaseModel):
    message_id: MessageId
    to: E164
    sender_id: SenderName
    status: StatusName
    parts: Parts
    encoding: Encoding
    credits: Credits = Field(description="What was charged for it, all parts.")
    reference: str | None = Field(max_length=100, description="Your own, as it was given.")
    batch_id: BatchId | None
    test: bool = Field(description="Sent with a test key: never charged, never to a handset.")
    created_at: Moment
    scheduled_at: Moment | None = Field(
        description="When it is to go out: as asked for, or when its country's hours open."
    )
    queued_at: Moment | None
    sent_at: Moment | None = Field(description="When a carrier had taken all its parts.")
    delivered_at: Moment | None
    failed_at: Moment | None
    error: MessageError | None


class MessageSegment(BaseModel):
    """What a carrier said of one part."""

    number: Annotated[int, Field(ge=1, le=10)]
    status: Literal["sent", "delivered", "failed", "expired"]
    carrier_message_id: str
    sent_at: Moment
    final_at: Moment | None
    error_code: str | None = Field(examples=["UNDELIV 027"])


class TimelineEntry(BaseModel):
    at: Moment
    event: Literal[
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
    ] = Field(
        description="held: by the hours in which its country lets it go; attempt: a submit that a"
        " carrier did not take."
    )
    detail: str | None


class MessageDetail(Message):
    text: str = Field(description="A one-time password in it is masked.")
    expires_at: Moment
    segments: list[MessageSegment] = Field(description="The parts that a carrier has taken.")
    timeline: list[TimelineEntry] = Field(description="Oldest first.")


class Messages(BaseModel):
    data: list[Message] = Field(description="Newest first.")
    next_cursor: NextCursor


class RejectedMessage(BaseModel):
    to: str = Field(description="As it was given.")
    status: Literal["rejected"]
    error: MessageProblem


class BulkResult(BaseModel):
    batch_id: BatchId | None = Field(description="Null where no message was accepted.")
    accepted: Count
    rejected: Count
    credits: Credits = Field(description="What was charged for the accepted ones.")
    messages: list[Message | RejectedMessage] = Field(
        description="One for each message of the call, in its order."
    )


class StatusCounts(BaseModel):
    scheduled: Count
    queued: Count
    sending: Count
    sent: Count
    delivered: Count
    failed: Count
    expired: Count
    canceled: Count


class Batch(BaseModel):
    batch_id: BatchId
    created_at: Moment
    total: Count = Field(description="Messages that were accepted.")
    parts: Count
    credits: Credits = Field(description="What was charged.")
    refunded: Credits = Field(description="What came back of it.")
    counts: StatusCounts


class CanceledBatch(BaseModel):
    batch_id: BatchId
    canceled: Annotated[int, Field(ge=1)]
    credits: Credits = Field(description="What came back.")


class EstimatedMessage(BaseModel):
    to: str = Field(description="In E.164; as it was given where it is no number.")
    country: Country | None
    sender_id: SenderName | None = Field(description="Null where it would be refused.")
    accepted: bool = Field(description="Whether sending it now would be accepted.")
    parts: Annotated[int, Field(ge=1)] | None
    encoding: Encoding | None
    units: Annotated[int, Field(ge=1)] | None = Field(
        description="Septets of gsm7, UTF-16 units of ucs2."
    )
    ucs2_characters: list[str] = Field(
        description="Those for which it is ucs2, each once.", examples=[["–"]]
    )
    credits: Credits | None
    route: list[str] = Field(description="The carriers, in the order in which they are tried.")
    scheduled_at: Moment | None = Field(
        description="When it would go out, if not at once: as asked for, or when its country's"
        " hours open."
    )
    problems: list[MessageProblem] = Field(description="All that is against it; none: accepted.")


class Estimate(EstimatedMessage):
    balance: Credits | None = Field(description="Null for a key without the scope `balance`.")
    covered: bool = Field(description="Whether the balance is enough.")


class BulkEstimate(BaseModel):
    accepted: Count
    rejected: Count
    parts: Count = Field(description="Of those that nothing but the balance is against.")
    credits: Credits = Field(description="The same.")
    balance: Credits | None = Field(description="Null for a key without the scope `balance`.")
    covered: bool = Field(description="Whether the balance is enough for all of them.")
    messages: list[EstimatedMessage] = Field(
        description="One for each message of the call, in its order."
    )


class Usage(BaseModel):
    messages: Count
    parts: Count
    credits: Credits = Field(description="Charged, less what came back.")
