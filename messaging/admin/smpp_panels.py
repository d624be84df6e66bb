"""Tables of the SMPP console in the admin."""

from collections.abc import Sequence
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _

from messaging.gateway.live_console import Bind, Line, Overview

Table = dict[str, Any]


def panels(overview: Overview) -> dict[str, Any]:
    """Return the tables of an account: its binds, errors, past binds, and each bind's PDUs."""
    numbers = {
        "pace": overview.pace,
        "submits": overview.submits,
        "throttled": overview.throttled,
        "waiting": overview.waiting,
    }
    summary = _(
        "%(pace)s submits a second; %(submits)s so far, %(throttled)s throttled;"
        " %(waiting)s receipts wait."
    )
    return {
        "summary": summary % numbers,
        "binds": _binds(overview),
        "errors": _lines(overview.errors),
        "past": _past(overview),
        "pdus": [(_title(bind), _lines(bind.pdus)) for bind in overview.binds],
    }


def _title(bind: Bind) -> str:
    return f"{bind.session.get_kind_display()}, {bind.session.address}:{bind.session.port}"


def _binds(overview: Overview) -> Table:
    headers = [
        _("Bind"),
        _("Since"),
        _("Last heard of"),
        _("Window in use"),
        _("Submits a second"),
        _("Submits"),
        _("Throttled"),
        _("Receipts"),
        "",
    ]
    return {"headers": headers, "rows": [_bind(overview, bind) for bind in overview.binds]}


def _bind(overview: Overview, bind: Bind) -> list[Any]:
    session = bind.session
    return [
        format_html(
            "{}, {}{}",
            session.get_kind_display(),
            _whole(f"{session.address}:{session.port}"),
            " TLS" if session.tls else "",
        ),
        _time(session.bound_at),
        _time(session.heard_at, "H:i:s"),  # no date, since a live bind was active moments ago
        f"{session.pending} / {overview.account.window}",
        session.pace,
        session.submits,
        session.throttled,
        f"{session.receipts} + {session.outstanding}",
        format_html(
            '<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>',
            reverse("admin:messaging_smppsession_end", args=(session.pk,)),
            _("End this bind"),
        ),
    ]


def _lines(lines: Sequence[Line]) -> Table:
    return {
        "headers": [_("Time"), "", "PDU", _("Status"), _("What it says")],
        "rows": [
            [
                _time(line.at),
                line.way,
                f"{line.command} #{line.sequence}",
                line.status,
                line.summary,
            ]
            for line in lines
        ],
    }


def _past(overview: Overview) -> Table:
    rows = [
        [
            _time(each.row.at),
            each.row.get_what_display(),
            each.row.get_kind_display(),
            _whole(each.row.address),
            each.row.status,
            each.reason,
        ]
        for each in overview.happenings
    ]
    headers = [_("Time"), _("What"), _("Kind"), _("Address"), _("Status"), _("Why")]
    return {"headers": headers, "rows": rows}


def written(lines: Sequence[Line]) -> str:
    """Return PDUs or errors as lines of HTML, newest first."""
    rows = [
        (
            f"{line.at:%H:%M:%S} {line.way} {line.command} #{line.sequence}",
            line.status,
            line.summary,
        )
        for line in lines
    ]
    return format_html_join("", "<div dir='ltr'>{} {} {}</div>", rows) or "—"


def _time(at: Any, form: str = "Y-m-d H:i:s") -> str:
    return _whole(date_format(timezone.localtime(at), form)) if at else "—"


def _whole(text: object) -> str:
    """Return the text as HTML that is not broken over lines."""
    return format_html('<bdi class="unbroken">{}</bdi>', text)
