"""The usage page and its CSV export: messages, parts and credits of a period, in groups.

It combines two applications that do not import each other, messaging and otp, like `GET /v1/usage`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.access.page_access import member_page
from accounts.credits.ledger import credits_text
from accounts.models import Member
from accounts.roles import Action, may
from accounts.ui.charts import Chart, meter, stacked
from accounts.ui.pages import show_page
from imissive.core import clock
from imissive.core.countries import name_of
from imissive.core.spreadsheets import download
from messaging.log.failure_reasons import STATUS_LABELS
from messaging.usage import overview
from messaging.usage.date_range import DaysForm
from messaging.usage.usage import (
    NOTHING,
    Traffic,
    Used,
    traffic,
)
from otp.verification.conversion import conversion_by

MAX_DAYS = 92
"""The longest period in days, as in the API."""

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


class PeriodForm(DaysForm):
    """The days of the page: either both or none, and at most MAX_DAYS."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        since, until = cleaned.get("since"), cleaned.get("until")
        if not self.errors and bool(since) != bool(until):
            self.add_error("until" if since else "since", _("Choose both days."))
        if since and until and (until - since).days >= MAX_DAYS:
            self.add_error("until", _("A span has at most 92 days: export a longer one in pieces."))
        return cleaned


@dataclass(frozen=True, slots=True)
class Period:
    """Days from `first` to `last`, both included; `key` is empty for days chosen in the form."""

    key: str
    first: date
    last: date

    @property
    def days(self) -> list[date]:
        """The days of the period, oldest first."""
        return [self.first + timedelta(days=at) for at in range((self.last - self.first).days + 1)]

    @property
    def start(self) -> datetime:
        """Midnight of the first day in the reader's time zone."""
        return overview.midnight(self.first)

    @property
    def end(self) -> datetime:
        """Midnight after the last day in the reader's time zone."""
        return overview.midnight(self.last + timedelta(days=1))

    @property
    def query(self) -> str:
        """The page's query string for the period."""
        return f"span={self.key}" if self.key else f"since={self.first}&until={self.last}"


def preset_periods(today: date) -> list[tuple[Period, str]]:
    """Return the periods that the page offers as links, with their labels."""
    month = today.replace(day=1)
    before = (month - timedelta(days=1)).replace(day=1)
    return [
        (Period("month", month, today), _("This month")),
        (Period("last-month", before, month - timedelta(days=1)), _("Last month")),
        (Period("30d", today - timedelta(days=29), today), _("30 days")),
    ]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: `key` for programs, `name` for people.

    `otp` counts one-time passwords, sent and verified, and is None where they are not counted.
    `meter` is the width of the row's bar, from 0 to 100.
    """

    key: str
    name: str | Promise
    used: Used
    otp: tuple[int, int] | None = None
    meter: str = "0"

    @property
    def conversion(self) -> float | None:
        """The percentage of the one-time passwords sent that were verified, 0 to 100."""
        return 100 * self.otp[1] / self.otp[0] if self.otp and self.otp[0] else None


@dataclass(frozen=True, slots=True)
class Selection:
    """The period and grouping that a request selects. `form` has the errors of chosen days."""

    period: Period
    by: By
    form: PeriodForm
    choices: list[tuple[Period, str]]


def _selection(request: HttpRequest) -> Selection:
    today = clock.now().astimezone(overview.days_zone()).date()
    choices = preset_periods(today)
    by: By = next((each for each in BY if each == request.GET.get("by")), "day")
    chosen = any(request.GET.get(name) for name in ("since", "until"))
    form = PeriodForm(request.GET if chosen else None, auto_id="%s")
    if chosen and form.is_valid():
        days = form.cleaned_data
        return Selection(Period("", days["since"], days["until"]), by, form, choices)
    key = request.GET.get("span")
    period = next((period for period, _label in choices if period.key == key), choices[-1][0])
    if not chosen:
        form = PeriodForm(auto_id="%s", initial={"since": period.first, "until": period.last})
    return Selection(period, by, form, choices)


@member_page(Action.READ_MESSAGES)
def usage_page(request: HttpRequest, member: Member) -> HttpResponse:
    """Show the usage of the selected period: figures, a chart and a table."""
    return _render(request, member, _selection(request))


def _render(request: HttpRequest, member: Member, selection: Selection) -> HttpResponse:
    used = _traffic(member, selection.period)
    rows = _rows(member, selection, used)
    total = Row("", _("All"), used.total, _otp_total(rows))
    context = {
        "page": "usage",
        "span": selection.period,
        "spans": selection.choices,
        "form": selection.form,
        "by": selection.by,
        "groups": BY.items(),
        "column": _FIRST_COLUMN[selection.by],
        "in_utc": overview.days_zone() is UTC,
        "chart": _chart(used, selection.period),
        "rate": used.delivery_rate,
        "rows": rows,
        "total": total,
        "otp": total.otp is not None,
        "money": may(member.role, Action.READ_CREDITS),
    }
    return show_page(request, member, "imissive/pages/usage.html", context)


@member_page(Action.READ_MESSAGES)
def usage_file(request: HttpRequest, member: Member) -> HttpResponse | StreamingHttpResponse:
    """Download the page's table as CSV or XLSX; for invalid days show the page with the errors."""
    selection = _selection(request)
    if selection.form.errors:
        return _render(request, member, selection)
    rows = _rows(member, selection, _traffic(member, selection.period))
    money = may(member.role, Action.READ_CREDITS)
    name = f"usage-by-{selection.by}-{selection.period.first}-{selection.period.last}"
    return download(request, name, _cells(selection.by, rows, money=money))


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


def _traffic(member: Member, period: Period) -> Traffic:
    zone = overview.days_zone()
    return traffic(member.organization_id, period.start, period.end, "day", zone)


def _chart(used: Traffic, period: Period) -> Chart:
    starts = [overview.midnight(day) for day in period.days]
    return stacked(overview.axis_places(starts, "day"), overview.status_series(used, starts))


def _rows(member: Member, selection: Selection, used: Traffic) -> list[Row]:
    """Return the table's rows: every day, newest first, or the other groups by use, most first."""
    period, by = selection.period, selection.by
    otp: dict[str, tuple[int, int]] | None = None
    if by in ("day", "country"):
        group: Literal["day", "country"] = "day" if by == "day" else "country"
        zone = str(overview.days_zone())
        found = conversion_by(member.organization_id, period.start, period.end, group, zone)
        otp = found or None
    grouped = _grouped(used, period, by)
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


def _grouped(used: Traffic, period: Period, by: By) -> dict[str, Used]:
    if by == "sender":
        return dict(used.by_sender)
    if by == "country":
        return dict(used.by_country)
    if by == "status":
        return dict(sorted(used.by_status.items(), key=lambda pair: -pair[1].messages))
    zone = overview.days_zone()
    days = {f"{day}": NOTHING for day in reversed(period.days)}
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
