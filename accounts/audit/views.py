"""Dashboard pages of the audit log: a filtered list, and its export as CSV."""

import json
from collections.abc import Collection, Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone
from django.utils.translation import get_language, gettext_lazy, override
from django.utils.translation import gettext as _

from accounts.access.page_access import member_page
from accounts.audit import log
from accounts.audit.log import PLATFORM, SUPPORT
from accounts.audit.texts import AREAS, details, sentence
from accounts.models import AuditEntry, Member
from accounts.roles import Action
from accounts.ui.live_fragments import query_without
from accounts.ui.pages import show_page
from imissive.core import clock
from imissive.core.api.rendering import time_text
from imissive.core.spreadsheets import download

PAGE = 50


class _Day(forms.DateField):
    """A date from 2000 to 2100, so that adding a day never leaves the calendar."""

    def __init__(self, **more: Any) -> None:
        bounds = [MinValueValidator(date(2000, 1, 1)), MaxValueValidator(date(2100, 1, 1))]
        widget = forms.DateInput(attrs={"type": "date"})
        super().__init__(required=False, widget=widget, validators=bounds, **more)


class AuditForm(forms.Form):
    """The filters of the audit log."""

    who = forms.ChoiceField(label=gettext_lazy("Who"), required=False)
    what = forms.ChoiceField(label=gettext_lazy("What"), required=False)
    since = _Day(label=gettext_lazy("From"))
    until = _Day(label=gettext_lazy("Until"))

    def __init__(self, member: Member, data: Any) -> None:
        super().__init__(data)
        people = [(str(user.pk), user.get_full_name()) for user in log.people(
            member.organization)]  # fmt: skip
        self.fields["who"].choices = [  # type: ignore[attr-defined]
            ("", _("Anybody")), *people, (SUPPORT, _("Support")), (PLATFORM, _("The platform")),
        ]  # fmt: skip
        self.fields["what"].choices = [("", _("Anything")), *_areas()]  # type: ignore[attr-defined]

    def narrowed(self) -> log.Filter:
        """Return the filter; invalid fields do not filter, and the last day is included."""
        self.is_valid()
        values = self.cleaned_data
        until = values.get("until")
        return log.Filter(
            who=values.get("who", ""),
            what=values.get("what", ""),
            since=_midnight(values.get("since")),
            until=_midnight(until + timedelta(days=1)) if until else None,
        )


def _areas() -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the grouped choices of actions: each area as a whole, then its actions."""
    shown = []
    for area, (name, actions) in AREAS.items():
        by_sentence = {str(text) % {"target": "…"}: action for action, text in actions.items()}
        each = [(action, text) for text, action in by_sentence.items()]
        shown.append((str(name), [(area, _("%(area)s: all") % {"area": name}), *each]))
    return shown


def _midnight(day: Any) -> datetime | None:
    return timezone.make_aware(datetime.combine(day, time.min)) if day else None


@member_page(Action.READ_AUDIT)
def audit_page(request: HttpRequest, member: Member) -> HttpResponse:
    """Show a page of the audit log, filtered by the query string."""
    form = AuditForm(member, request.GET)
    narrowed = form.narrowed()
    before = request.GET.get("before", "")
    found = log.entries(member.organization, narrowed)
    # Ids are bigints: a number with more digits matches no entry.
    if before.isdecimal() and len(before) < 19:
        found = found.filter(id__lt=int(before))
    else:
        before = ""
    rows = list(found[: PAGE + 1])
    support = log.operator_ids(member.organization)
    context = {
        "page": "audit",
        "form": form,
        "narrowed": narrowed != log.Filter(),
        "rows": [_row(entry, support) for entry in rows[:PAGE]],
        "older": rows[PAGE - 1].pk if len(rows) > PAGE else "",
        "newest": not before,
        "query": query_without(request, "before"),
    }
    return show_page(request, member, "accounts/audit/audit.html", context)


def _row(entry: AuditEntry, support: Collection[int]) -> dict[str, Any]:
    who, email, address = _actor(entry, support)
    return {
        "at": entry.created_at,
        "who": who,
        "email": email,
        "what": sentence(entry.action, entry.target),
        "details": details(entry.detail),
        "address": address,
    }


def _actor(entry: AuditEntry, support: Collection[int]) -> tuple[str, str, str]:
    """Return the actor's name, email and IP address; the latter two are empty for support."""
    if entry.actor is None:
        return _("The platform"), "", ""
    if entry.actor.pk in support:
        return _("Support"), "", ""
    return entry.actor.name, entry.actor.email, entry.address or ""


@member_page(Action.READ_AUDIT)
def export_audit(request: HttpRequest, member: Member) -> StreamingHttpResponse:
    """Stream all entries that match the filter as a CSV or XLSX file."""
    narrowed = AuditForm(member, request.GET).narrowed()
    rows = _table(member, narrowed, get_language() or "en")
    return download(request, f"audit-{timezone.localtime(clock.now()):%Y-%m-%d}", rows)


def _table(member: Member, narrowed: log.Filter, language: str) -> Iterator[list[str]]:
    """Yield the heading and the rows of the export.

    Rows are read while the response is sent, after the request's language has been reset: each
    text is therefore rendered in `language` explicitly.
    """
    support = log.operator_ids(member.organization)
    yield ["time", "who", "email", "action", "what", "target", "detail", "address"]
    for entry in log.walk(log.entries(member.organization, narrowed)):
        with override(language):
            who, email, address = _actor(entry, support)
            what = sentence(entry.action, entry.target)
        yield [
            time_text(entry.created_at) or "", who, email, entry.action, what, entry.target,
            json.dumps(entry.detail, ensure_ascii=False) if entry.detail else "", address,
        ]  # fmt: skip
