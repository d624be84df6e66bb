"""`GET /v1/usage`: messages, parts and credits, and the conversion of one-time passwords.

It combines two applications that do not import each other, messaging and otp.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal, get_args

from drf_spectacular.utils import OpenApiParameter, extend_schema
from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.authentication import caller_of
from accounts.api.view import ApiView
from accounts.credits.ledger import credits_text
from accounts.roles import Scope
from imissive.core.api.rendering import time_text
from imissive.core.api.requests import Moment, Query, parse_query
from imissive.core.errors import ApiError
from imissive.pages.reasons import UsageReason
from messaging.sending.schemas import (
    Count,
    Country,
    SenderName,
    StatusName,
    Usage,
)
from messaging.usage.usage import (
    NOTHING,
    Group,
    Used,
    total,
    used_by,
)
from otp.verification.conversion import conversion_by

DAY = timedelta(days=1)
DEFAULT_SPAN, LONGEST_SPAN = 30 * DAY, 92 * DAY

_moment: TypeAdapter[datetime] = TypeAdapter(Moment)


def _day_or_moment(value: object) -> object:
    """A day as it is; else a time with its offset."""
    if isinstance(value, str) and len(value) == len("2027-01-15"):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValueError("is no day; write it as 2027-01-15") from None
    try:
        return _moment.validate_python(value)
    except ValidationError:
        told = "must be a day, such as 2027-01-15, or a time with its offset"
        raise ValueError(told) from None


DayOrMoment = Annotated[datetime | date, BeforeValidator(_day_or_moment)]


class UsageQuery(Query):
    since: DayOrMoment | None = Field(None, alias="from")
    until: DayOrMoment | None = Field(None, alias="to")
    group_by: Group = "day"


class OtpUsage(BaseModel):
    """One-time passwords: how many verifications were begun, and how many succeeded."""

    sent: Count
    verified: Count
    conversion: Annotated[float, Field(ge=0, le=1)] | None = Field(
        description="Verified of sent; null where none was sent.", examples=[0.9231]
    )


class UsageWithOtp(Usage):
    otp: OtpUsage


class DayUsage(UsageWithOtp):
    day: date = Field(description="In UTC.")


class CountryUsage(UsageWithOtp):
    country: Country


class StatusUsage(Usage):
    status: StatusName


class SenderUsage(Usage):
    sender_id: SenderName


class _Span(BaseModel):
    since: datetime = Field(alias="from")
    until: datetime = Field(alias="to", description="Nothing of that moment or later is counted.")


class UsageByDay(_Span):
    group_by: Literal["day"]
    data: list[DayUsage] = Field(description="Oldest first; days without use are left out.")
    total: UsageWithOtp


class UsageByCountry(_Span):
    group_by: Literal["country"]
    data: list[CountryUsage] = Field(description="The most used first.")
    total: UsageWithOtp


class UsageByStatus(_Span):
    group_by: Literal["status"]
    data: list[StatusUsage] = Field(description="The most frequent first.")
    total: Usage


class UsageBySender(_Span):
    group_by: Literal["sender_id"]
    data: list[SenderUsage] = Field(description="The most used first.")
    total: Usage


_SPAN_FORMS: dict[str, Any] = {
    "anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]
}
PARAMETERS = [
    OpenApiParameter(
        "from",
        _SPAN_FORMS,
        description="The first day, in UTC, or a time with its offset. Without it: 30 days in all.",
    ),
    OpenApiParameter(
        "to",
        _SPAN_FORMS,
        description="The last day, which is included, or a time, which is not. Without it: today."
        f" At most {LONGEST_SPAN.days} days after `from`.",
    ),
    OpenApiParameter("group_by", str, enum=list(get_args(Group)), default="day"),
]


class UsageView(ApiView):
    """`GET /v1/usage`"""

    required_scope = Scope.SMS_READ

    @extend_schema(
        operation_id="get_usage",
        summary="Read the usage",
        parameters=PARAMETERS,
        responses={200: UsageByDay | UsageByStatus | UsageBySender | UsageByCountry},
    )
    def get(self, request: Request) -> Response:
        """Messages, parts and credits of a span of time, in groups.

        What counts is when a message was accepted. Messages of test keys are left out. By day and
        by country, it is told too how many one-time passwords came back.
        """
        query = parse_query(request, UsageQuery)
        start, end = _span(query, datetime.now(UTC))
        organization_id, group = caller_of(request).organization_id, query.group_by
        used = used_by(organization_id, start, end, group)
        otp: dict[str, tuple[int, int]] | None = None
        if group in ("day", "country"):
            otp = conversion_by(organization_id, start, end, group)
        answer = {"from": time_text(start), "to": time_text(end), "group_by": group}
        return Response(answer | _rows(used, otp, group))


def _span(query: UsageQuery, now: datetime) -> tuple[datetime, datetime]:
    """From when on, and before when (UTC). Raises ApiError INVALID_REQUEST."""
    until = now.date() if query.until is None else query.until
    try:
        end = until if isinstance(until, datetime) else _midnight(until) + DAY
        if query.since is None:
            start = end - DEFAULT_SPAN
        else:
            since = query.since
            start = since if isinstance(since, datetime) else _midnight(since)
    except OverflowError:
        raise ApiError(UsageReason.OUT_OF_RANGE, "to") from None
    if start >= end:
        raise ApiError(UsageReason.EMPTY_PERIOD, "from")
    if end - start > LONGEST_SPAN:
        raise ApiError(UsageReason.PERIOD_TOO_LONG, "from", days=LONGEST_SPAN.days)
    return start, end


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _rows(
    used: dict[str, Used], otp: dict[str, tuple[int, int]] | None, group: Group
) -> dict[str, Any]:
    """`data` and `total`; `otp` None where it is not told."""
    keys = dict.fromkeys([*used, *(otp or ())])
    names = sorted(keys) if group == "day" else list(keys)
    data = []
    for name in names:
        row = {group: name} | _used_json(used.get(name, NOTHING))
        data.append(row if otp is None else row | {"otp": _otp_json(*otp.get(name, (0, 0)))})
    all_of_it = _used_json(total(used.values()))
    if otp is not None:
        sums = [sum(column) for column in zip(*otp.values(), strict=True)] or [0, 0]
        all_of_it["otp"] = _otp_json(*sums)
    return {"data": data, "total": all_of_it}


def _used_json(used: Used) -> dict[str, Any]:
    credits = credits_text(used.credits)
    return {"messages": used.messages, "parts": used.parts, "credits": credits}


def _otp_json(sent: int, verified: int) -> dict[str, Any]:
    conversion = round(verified / sent, 4) if sent else None
    return {"sent": sent, "verified": verified, "conversion": conversion}
