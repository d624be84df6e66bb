"""The credits page: balance, spending rate, ledger and its export, price list."""

from datetime import UTC, datetime

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.access.page_access import member_page
from accounts.models import MICRO, Balance, LedgerEntry, Member
from accounts.roles import Action
from accounts.templatetags.shown import credits_written
from accounts.ui.charts import Chart, Series, stacked
from accounts.ui.pages import show_page
from imissive.core import clock
from imissive.core.spreadsheets import download
from messaging.billing import statement
from messaging.billing.price_list import price_list, search
from messaging.usage import overview
from messaging.usage.date_range import DaysForm

PRICES = 10
"""The number of prices on the credits page; the others have a page of their own."""
CHART_PERIOD = overview.PERIODS["30d"]


class LedgerForm(DaysForm):
    """The filters of the ledger's export: a kind and a date range. All may be empty."""

    kind = forms.ChoiceField(
        label=gettext_lazy("Kind"),
        required=False,
        choices=[("", gettext_lazy("Any")), *LedgerEntry.Kind.choices],
    )


@member_page(Action.READ_CREDITS)
def credits_page(request: HttpRequest, member: Member) -> HttpResponse:
    """Show the balance, the spending rate, a page of the ledger and the first prices."""
    organization, now = member.organization, clock.now()
    balance = Balance.objects.filter(organization=organization).first()
    micro = balance.micro if balance else 0
    kind = request.GET.get("kind", "")
    kind = kind if kind in LedgerEntry.Kind.values else ""
    prices = price_list(organization.id)
    context = {
        "page": "credits",
        "balance": micro,
        "paid": balance is not None,
        "low": balance is not None and micro <= organization.low_balance_threshold,
        "pace": overview.spending_rate(organization.id, micro, now),
        "chart": _spending_chart(member, now),
        "in_utc": overview.days_zone() is UTC,
        "top_up": settings.TOP_UP_TEXT,
        "ledger": statement.page(
            organization, kind, before=_number(request, "before"), after=_number(request, "after")
        ),
        "kind": kind,
        "kinds": LedgerEntry.Kind.choices,
        "export": LedgerForm(auto_id="export_%s", initial={"kind": kind}),
        "prices": prices[:PRICES],
        "more_prices": max(0, len(prices) - PRICES),
    }
    return show_page(request, member, "messaging/billing/credits.html", context)


def _number(request: HttpRequest, name: str) -> int | None:
    """Return the number of a row from the query string, or None where it is not valid."""
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def _spending_chart(member: Member, now: datetime) -> Chart:
    """Return the chart of credits by day: charges for messages of that day, less their refunds."""
    used = overview.read_traffic(member.organization_id, CHART_PERIOD, now)
    starts = overview.period_starts(CHART_PERIOD, now)
    by_day = dict.fromkeys(starts, 0)
    for (day, _status), each in used.by_time.items():
        by_day[day] += each.credits
    spent = Series("credits", _("Credits"), "accent", [max(0, by_day[day]) for day in starts])
    places = overview.axis_places(starts, CHART_PERIOD.step)
    return stacked(places, [spent], credits_written, unit=MICRO // 100)


@member_page(Action.READ_CREDITS)
def ledger_file(request: HttpRequest, member: Member) -> HttpResponse | StreamingHttpResponse:
    """Stream the ledger as CSV or XLSX; for invalid filters show the form with the errors."""
    form = LedgerForm(request.GET, auto_id="export_%s")
    if not form.is_valid():
        context = {"page": "credits", "form": form}
        return show_page(request, member, "messaging/billing/ledger_export.html", context)
    rows = statement.file_rows(member.organization, form.cleaned_data["kind"], form.start, form.end)
    return download(request, f"ledger{form.name_suffix}", rows)


@member_page(Action.READ_CREDITS)
def prices_page(request: HttpRequest, member: Member) -> HttpResponse:
    """Show all prices that apply, or those of the country, prefix or number in `q`."""
    query = request.GET.get("q", "").strip()[:64]
    rows = price_list(member.organization_id)
    context = {
        "page": "credits",
        "query": query,
        "prices": search(rows, query) if query else rows,
    }
    return show_page(request, member, "messaging/billing/prices.html", context)
