"""`GET /v1/usage`: messages, parts and credits, and the conversion of one-time passwords.

It combines two applications that do not import each other, messaging and otp.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from typing_extensions import TypedDict

from accounts.api.authentication import Caller, caller_of
from accounts.api.view import ApiView
from accounts.credits.ledger import credits_text
from accounts.roles import Scope
from imissive.core import clock
from imissive.core.api.fields import Count, Time
from imissive.core.api.operation import operation
from imissive.core.api.rendering import time_text
from imissive.core.api.requests import Moment, Query
from imissive.core.errors import ApiError
from imissive.pages.reasons import UsageReason
from messaging.sending.schemas import (
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
DEFAULT_PERIOD, LONGEST_PERIOD = 30 * DAY, 92 * DAY

_moment: TypeAdapter[datetime] = TypeAdapter(Moment)


def _day_or_moment(value: object) -> object:
    """Return the date of `2027-01-15`, or else the time (UTC). Raises ValueError."""
    if isinstance(value, str) and len(value) == len("2027-01-15"):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValueError("is no day; write it as 2027-01-15") from None
    try:
        return _moment.validate_python(value)
    except ValidationError:
        message = "must be a day, such as 2027-01-15, or a time with its offset"
        raise ValueError(message) from None


DayOrMoment = Annotated[date | datetime, BeforeValidator(_day_or_moment)]


class UsageQuery(Query):
    since: DayOrMoment | None = Field(
        None,
        alias="from",
        description="The first day, in UTC, or a time with its offset. Without it: 30 days in all.",
    )
    until: DayOrMoment | None = Field(
        None,
        alias="to",
        description="The last day, which is included, or a time, which is not. Without it: today."
        f" At most {LONGEST_PERIOD.days} days after `from`.",
    )
    group_by: Group = "day"


class OtpUsage(TypedDict):
    """One-time passwords: how many verifications were begun, and how many succeeded."""

    sent: Count
    verified: Count
    conversion: Annotated[
        Annotated[float, Field(ge=0, le=1)] | None,
        Field(description="Verified of sent; null where none was sent.", examples=[0.9231]),
    ]


class UsageWithOtp(Usage):
    otp: OtpUsage


class DayUsage(UsageWithOtp):
    day: Annotated[str, Field(description="In UTC.", json_schema_extra={"format": "date"})]


class CountryUsage(UsageWithOtp):
    country: Country


class StatusUsage(Usage):
    status: StatusName


class SenderUsage(Usage):
    sender_id: SenderName


_Period = TypedDict(
    "_Period",
    {
        "from": Time,
        "to": Annotated[Time, Field(description="Nothing of that moment or later is counted.")],
    },
)


class UsageByDay(_Period):
    group_by: Literal["day"]
    data: Annotated[
        list[DayUsage], Field(description="Oldest first; days without use are left out.")
    ]
    total: UsageWithOtp


class UsageByCountry(_Period):
    group_by: Literal["country"]
    data: Annotated[list[CountryUsage], Field(description="The most used first.")]
    total: UsageWithOtp


class UsageByStatus(_Period):
    group_by: Literal["status"]
    data: Annotated[list[StatusUsage], Field(description="The most frequent first.")]
    total: Usage


class UsageBySender(_Period):
    group_by: Literal["sender_id"]
    data: Annotated[list[SenderUsage], Field(description="The most used first.")]
    total: Usage


class UsageView(ApiView):
    """`GET /v1/usage`"""

    required_scope = Scope.SMS_READ

    @operation(
        "get_usage",
        "Read the usage",
        query=UsageQuery,
        responses={200: UsageByDay | UsageByStatus | UsageBySender | UsageByCountry},
    )
    def get(self, request: Request, query: UsageQuery) -> Response:
        """Messages, parts and credits of a span of time, in groups.

        What counts is when a message was accepted. A live key reads the usage of live messages, a
        test key that of test messages. By day and by country, it is told too how many one-time
        passwords came back.
        """
        start, end = _period(query, clock.now())
        return Response(_usage(caller_of(request), start, end, query.group_by))


def _period(query: UsageQuery, now: datetime) -> tuple[datetime, datetime]:
    """Return the period's start and its exclusive end (UTC). Raises ApiError INVALID_REQUEST."""
    until = now.date() if query.until is None else query.until
    try:
        end = until if isinstance(until, datetime) else _midnight(until) + DAY
        if query.since is None:
            start = end - DEFAULT_PERIOD
        else:
            since = query.since
            start = since if isinstance(since, datetime) else _midnight(since)
    except OverflowError:
        raise ApiError(UsageReason.OUT_OF_RANGE, "to") from None
    if start >= end:
        raise ApiError(UsageReason.EMPTY_PERIOD, "from")
    if end - start > LONGEST_PERIOD:
        raise ApiError(UsageReason.PERIOD_TOO_LONG, "from", days=LONGEST_PERIOD.days)
    return start, end


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _usage(
    caller: Caller, start: datetime, end: datetime, group: Group
) -> UsageByDay | UsageByCountry | UsageByStatus | UsageBySender:
    period: _Period = {"from": time_text(start), "to": time_text(end)}
    used = used_by(caller.organization_id, start, end, group, test=caller.test)
    if group == "status":
        statuses: list[StatusUsage] = [
            {"status": name, **_used_json(counted)} for name, counted in used.items()
        ]
        return {**period, "group_by": "status", "data": statuses, "total": _total(used)}
    if group == "sender_id":
        senders: list[SenderUsage] = [
            {"sender_id": name, **_used_json(counted)} for name, counted in used.items()
        ]
        return {**period, "group_by": "sender_id", "data": senders, "total": _total(used)}
    otp = conversion_by(caller.organization_id, start, end, group, test=caller.test)
    names = dict.fromkeys([*used, *otp])
    rows = {name: _with_otp(used.get(name, NOTHING), otp.get(name, (0, 0))) for name in names}
    sent, verified = (sum(column) for column in zip((0, 0), *otp.values(), strict=True))
    both: UsageWithOtp = {**_total(used), "otp": _otp_json(sent, verified)}
    if group == "day":
        days: list[DayUsage] = [{"day": name, **rows[name]} for name in sorted(rows)]
        return {**period, "group_by": "day", "data": days, "total": both}
    countries: list[CountryUsage] = [{"country": name, **row} for name, row in rows.items()]
    return {**period, "group_by": "country", "data": countries, "total": both}


def _total(used: dict[str, Used]) -> Usage:
    return _used_json(total(used.values()))


def _with_otp(used: Used, otp: tuple[int, int]) -> UsageWithOtp:
    return {**_used_json(used), "otp": _otp_json(*otp)}


def _used_json(used: Used) -> Usage:
    credits = credits_text(used.credits)
    return {"messages": used.messages, "parts": used.parts, "credits": credits}


def _otp_json(sent: int, verified: int) -> OtpUsage:
    conversion = round(verified / sent, 4) if sent else None
    return {"sent": sent, "verified": verified, "conversion": conversion}
