"""The usage page: what was sent in some days, by day, status, sender or country, and what it cost.

Here, because it is composed of two applications that do not know each other, as `GET /v1/usage` is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from accounts.access.page_access import frame, member_page
from accounts.credits.ledger import credits_text
from accounts.models import Member
from accounts.roles import Action, may
from accounts.ui.charts import Chart, meter, stacked
from imissive.core.spreadsheets import csv_download
from messaging.log.failure_reasons import STATUS_LABELS
from messaging.numbers.countries import name_of
from messaging.usage import overview
from messaging.usage.date_range import DaysForm
from messaging.usage.usage import (
    NOTHING,
    Traffic,
    Used,
    traffic,
)
from otp.verification.conversion import conversion_by

LONGEST = 92
"""Days of one span, as in the API."""

By = Literal["day", "status", "sender", "country"]
BY: Final[dict[By, str | Promise]] = {
    "day": gettext_lazy("By day"),
    "status": gettext_lazy("By status"),
    "sender": gettext_lazy("By sender"),
    "country": gettext_lazy("By country"),
}
_FIRST_COLUMN: Final[dict[By, str | Promise]] = {
    "day": gettext_lazy("Day"),
    "status": gettext_lazy("Status"),
    "sender": gettext_lazy("Sender"),
    "country": gettext_lazy("Country"),
}


class SpanForm(DaysForm):
    """The days of the page; both or none have to be given, and not too many."""

    def clean(self) -> dict[str, Any]:
        found = super().clean()
        since, until = found.get("since"), found.get("until")
        if not self.errors and bool(since) != bool(until):
            self.add_error("until" if since else "since", _("Choose both days."))
        if since and until and (until - since).days >= LONGEST:
            self.add_error("until", _("A span has at most 92 days: export a longer one in pieces."))
        return found


@dataclass(frozen=True, slots=True)
class Span:
    """Days from `first` to `last`, both included; `key` is empty for days that were chosen."""

    key: str
    first: date
    last: date

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=at) for at in range((self.last - self.first).days + 1)]

    @property
    def start(self) -> datetime:
        return overview.midnight(self.first)

    @property
    def end(self) -> datetime:
        return overview.midnight(self.last + timedelta(days=1))

    @property
    def query(self) -> str:
        """How an address asks for it."""
        return f"span={self.key}" if self.key else f"since={self.first}&until={self.last}"


def spans(today: date) -> list[tuple[Span, str]]:
    """The spans that are a click away."""
    month = today.replace(day=1)
    before = (month - timedelta(days=1)).replace(day=1)
    return [
        (Span("month", month, today), _("This month")),
        (Span("last-month", before, month - timedelta(days=1)), _("Last month")),
        (Span("30d", today - timedelta(days=29), today), _("30 days")),
    ]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `key` as a program writes it, `name` as people read it."""

    key: str
    name: str | Promise
    used: Used
    otp: tuple[int, int] | None = None
    meter: str = "0"

    @property
    def conversion(self) -> float | None:
        """Verified of the one-time passwords sent, 0 to 100."""
        return 100 * self.otp[1] / self.otp[0] if self.otp and self.otp[0] else None


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for. `form` has the errors of days that were chosen wrongly."""

    span: Span
    by: By
    form: SpanForm
    choices: list[tuple[Span, str]]


def _asked(request: HttpRequest) -> Asked:
    today = timezone.now().astimezone(overview.days_zone()).date()
    choices = spans(today)
    by: By = next((each for each in BY if each == request.GET.get("by")), "day")
    chosen = any(request.GET.get(name) for name in ("since", "until"))
    form = SpanForm(request.GET if chosen else None, auto_id="%s")
    if chosen and form.is_valid():
        days = form.cleaned_data
        return Asked(Span("", days["since"], days["until"]), by, form, choices)
    wanted = request.GET.get("span")
    span = next((span for span, _label in choices if span.key == wanted), choices[-1][0])
    if not chosen:
        form = SpanForm(auto_id="%s", initial={"since": span.first, "until": span.last})
    return Asked(span, by, form, choices)


@require_safe
@member_page(Action.READ_MESSAGES)
def usage_page(request: HttpRequest, member: Member) -> HttpResponse:
    return _show(request, member, _asked(request))


def _show(request: HttpRequest, member: Member, asked: Asked) -> HttpResponse:
    used = _used(member, asked.span)
    rows = _rows(member, asked, used)
    total = Row("", _("All"), used.total, _otp_total(rows))
    context = {
        "page": "usage",
        "span": asked.span,
        "spans": asked.choices,
        "form": asked.form,
        "by": asked.by,
        "groups": BY.items(),
        "column": _FIRST_COLUMN[asked.by],
        "in_utc": overview.days_zone() is UTC,
        "chart": _chart(used, asked.span),
        "rate": used.delivery_rate,
        "rows": rows,
        "total": total,
        "otp": total.otp is not None,
        "money": may(member.role, Action.READ_CREDITS),
    }
    return render(request, "imissive/pages/usage.html", {**frame(member), **context})


@require_safe
@member_page(Action.READ_MESSAGES)
def usage_file(request: HttpRequest, member: Member) -> HttpResponse | StreamingHttpResponse:
    """The page's table as CSV; wrongly chosen days lead to the page, which says what is wrong."""
    asked = _asked(request)
    if asked.form.errors:
        return _show(request, member, asked)
    rows = _rows(member, asked, _used(member, asked.span))
    money = may(member.role, Action.READ_CREDITS)
    name = f"usage-by-{asked.by}-{asked.span.first}-{asked.span.last}.csv"
    return csv_download(name, _cells(asked.by, rows, money=money))


def _cells(by: By, rows: Sequence[Row], *, money: bool) -> Iterator[Sequence[object]]:
    otp = by in ("day", "country")
    yield (
        by,
        "messages",
        "parts",
        *(["credits"] if money else []),
        *(["otp_sent", "otp_verified"] if otp else []),
    )
    for row in rows:
        used = row.used
        yield (
            row.key,
            used.messages,
            used.parts,
            *([credits_text(used.credits)] if money else []),
            *((row.otp or (0, 0)) if otp else []),
        )


def _used(member: Member, span: Span) -> Traffic:
    zone = overview.days_zone()
    return traffic(member.organization_id, span.start, span.end, "day", zone)


def _chart(used: Traffic, span: Span) -> Chart:
    starts = [overview.midnight(day) for day in span.days]
    return stacked(overview.places_of(starts, "day"), overview.status_series(used, starts))


def _rows(member: Member, asked: Asked, used: Traffic) -> list[Row]:
    """The table's lines: every day in its order, or what was used most first."""
    span, by = asked.span, asked.by
    otp: dict[str, tuple[int, int]] | None = None
    if by in ("day", "country"):
        group: Literal["day", "country"] = "day" if by == "day" else "country"
        zone = str(overview.days_zone())
        found = conversion_by(member.organization_id, span.start, span.end, group, zone)
        otp = found or None
    grouped = _grouped(used, span, by)
    for key in otp or ():
        grouped.setdefault(key, NOTHING)
    most = max((each.messages for each in grouped.values()), default=0)
    return [
        Row(
            key,
            _name(by, key),
            each,
            None if otp is None else otp.get(key, (0, 0)),
            meter(each.messages, most),
        )
        for key, each in grouped.items()
    ]


def _grouped(used: Traffic, span: Span, by: By) -> dict[str, Used]:
    if by == "sender":
        return dict(used.by_sender)
    if by == "country":
        return dict(used.by_country)
    if by == "status":
        return dict(sorted(used.by_status.items(), key=lambda pair: -pair[1].messages))
    zone = overview.days_zone()
    days = {f"{day}": NOTHING for day in reversed(span.days)}
    for (start, _status), each in used.by_time.items():
        day = f"{start.astimezone(zone):%Y-%m-%d}"
        days[day] = days.get(day, NOTHING) + each
    return days


def _name(by: By, key: str) -> str | Promise:
    if by == "status":
        return STATUS_LABELS.get(key, key)
    return name_of(key) if by == "country" else key


def _otp_total(rows: Sequence[Row]) -> tuple[int, int] | None:
    found = [row.otp for row in rows if row.otp is not None]
    return (sum(sent for sent, _v in found), sum(v for _s, v in found)) if found else None
