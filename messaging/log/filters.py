"""Filters of the message log: the form, its chips, and the query filter that it makes."""

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from accounts.models import Organization
from imissive.core import ids
from imissive.core.countries import country_choices
from messaging.log import query as message_query
from messaging.log.failure_reasons import STATUS_LABELS
from messaging.log.sources import SOURCES, as_stored
from messaging.numbers.written import search_terms
from messaging.sending.evaluation import MAX_REFERENCE

_ANY = ("", gettext_lazy("Any"))
_DAYS = [MinValueValidator(date(2000, 1, 1)), MaxValueValidator(date(2100, 1, 1))]


class _Choice(forms.ChoiceField):
    """A choice that ignores unknown values, which an old link may have."""

    def clean(self, value: Any) -> str:
        """Return the choice, or an empty text for an unknown value."""
        return str(value) if value and self.valid_value(value) else ""


class _Day(forms.DateField):
    def __init__(self, label: Any) -> None:
        widget = forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})
        super().__init__(
            label=label,
            required=False,
            input_formats=["%Y-%m-%d"],
            widget=widget,
            validators=_DAYS,
        )


class _Line(forms.CharField):
    """A line of text into which anything may be pasted; NUL characters are removed."""

    def __init__(self, label: Any, longest: int, **attrs: str) -> None:
        attrs = {"dir": "ltr", "autocomplete": "off", "spellcheck": "false"} | attrs
        widget = forms.TextInput(attrs=attrs)
        super().__init__(label=label, required=False, max_length=longest, widget=widget)

    def to_python(self, value: Any) -> str:
        """Return the text without NUL characters."""
        return str(super().to_python(str(value or "").replace("\0", "")))


@dataclass(frozen=True, slots=True)
class Chip:
    """One active filter in words: `without` is the query string that removes it."""

    label: str
    value: str
    without: str


class LogFilters(forms.Form):
    """The filters of the query string. All may be empty, and they combine freely."""

    number = _Line(gettext_lazy("Number or message id"), 64, placeholder="+966501234567")
    status = _Choice(
        label=gettext_lazy("Status"), required=False, choices=[_ANY, *STATUS_LABELS.items()]
    )
    since = _Day(gettext_lazy("From day"))
    until = _Day(gettext_lazy("To day"))
    sender = _Line(gettext_lazy("Sender ID"), 16, list="senders")
    country = _Choice(
        label=gettext_lazy("Country"),
        required=False,
        choices=lambda: [_ANY, *country_choices()],
    )
    source = _Choice(label=gettext_lazy("Source"), required=False, choices=[_ANY, *SOURCES.items()])
    mode = _Choice(
        label=gettext_lazy("Live or test"),
        required=False,
        choices=[
            _ANY,
            ("live", pgettext_lazy("mode", "Live")),
            ("test", pgettext_lazy("mode", "Test")),
        ],
    )
    reference = _Line(gettext_lazy("Reference"), MAX_REFERENCE)
    batch = _Line(gettext_lazy("Batch"), 40, placeholder="bat_…")

    def __init__(
        self, organization: Organization, query: QueryDict, senders: Sequence[str] | None = None
    ) -> None:
        """Bind the form to a query string.

        `senders` are the suggested sender IDs. They are read from the database by default; pass an
        empty sequence where they are not shown.
        """
        super().__init__(query, auto_id="%s")
        self.senders = message_query.senders_used(organization.id) if senders is None else senders
        self._query = query
        self._home = organization.default_country

    def clean_sender(self) -> str:
        """Return the sender ID with the case of the messages, whatever case was typed."""
        typed: str = self.cleaned_data["sender"]
        same = [each for each in self.senders if each.lower() == typed.lower()]
        return typed if typed in self.senders or not same else same[0]

    def clean_batch(self) -> str:
        """Return the batch's public id; refuse anything else."""
        typed: str = self.cleaned_data["batch"]
        if typed and ids.parse_id(ids.BATCH, typed) is None:
            raise forms.ValidationError(_("That is no batch id. It begins with bat_."))
        return typed

    def clean(self) -> dict[str, Any]:
        """Refuse a last day before the first."""
        cleaned: dict[str, Any] = super().clean() or {}
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and until < since:
            self.add_error("until", _("That is before the first day."))
        return cleaned

    def __bool__(self) -> bool:
        """Return whether any filter is active; True where the form has errors."""
        return any(self.cleaned_data.values()) if self.is_valid() else True

    @property
    def more_open(self) -> bool:
        """True where one of the collapsed filters is in use."""
        return any(self.data.get(name) for name in self.fields if name not in ("number", "status"))

    @property
    def days_in_utc(self) -> bool:
        """True where the days are those of UTC, because the reader chose no time zone."""
        return timezone.get_current_timezone_name() == "UTC"

    def chips(self) -> list[Chip]:
        """Return the active filters in words. Only for a valid form."""
        return [
            Chip(str(self.fields[name].label), self._shown(name, value), self._without(name))
            for name, value in self.cleaned_data.items()
            if value
        ]

    def _shown(self, name: str, value: Any) -> str:
        field = self.fields[name]
        if isinstance(field, forms.ChoiceField):
            # The choices are pairs here, never groups.
            return str(dict(field.choices).get(value, value))  # type: ignore[arg-type]
        return str(value)

    def _without(self, *names: str) -> str:
        query = self._query.copy()
        for name in (*names, "before", "after", "live", "seen"):
            query.pop(name, None)
        return query.urlencode()

    @property
    def query(self) -> str:
        """The query string of the active filters."""
        query = QueryDict(mutable=True)
        for name, value in self.cleaned_data.items():
            if value:
                query[name] = str(value)
        return query.urlencode()

    def narrowed(self) -> message_query.Filter:
        """Return the filter for `messaging.log.query`. Only for a valid form.

        A complete number in any spelling is looked up exactly, a part of one by its digits.
        """
        values = self.cleaned_data
        to, digits = _number(values["number"], self._home)
        source, batched = as_stored(values["source"])
        return message_query.Filter(
            status=values["status"] or None,
            to=to,
            sender=values["sender"] or None,
            batch_id=ids.parse_id(ids.BATCH, values["batch"]),
            reference=values["reference"] or None,
            since=_midnight(values["since"]),
            until=_midnight(values["until"], timedelta(days=1)),
            digits=digits,
            source=source or None,
            batched=batched if source else None,
            country=values["country"] or None,
            test=values["mode"] == "test" if values["mode"] else None,
        )


def _number(typed: str, home: str) -> tuple[str | None, str | None]:
    """Return the typed number in E.164, or the digits of a part of one."""
    if not typed:
        return None, None
    number, digits = search_terms(typed, home)
    # A text without digits finds nothing, rather than everything.
    return (None, digits) if digits else (number, None)


def _midnight(day: date | None, later: timedelta = timedelta()) -> datetime | None:
    """Return the start of the day, moved by `later`, in the reader's time zone."""
    if day is None:
        return None
    return datetime.combine(day + later, time.min, tzinfo=timezone.get_current_timezone())


def as_json(narrowed: message_query.Filter) -> dict[str, Any]:
    """Return a filter as JSON, for a database column."""
    return {name: _plain(value) for name, value in asdict(narrowed).items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, bool | str) else str(value)


def from_json(stored: dict[str, Any]) -> message_query.Filter:
    """Return the filter that `as_json` stored."""
    values = dict(stored)
    for name in ("since", "until"):
        if name in values:
            values[name] = datetime.fromisoformat(values[name])
    if "batch_id" in values:
        values["batch_id"] = uuid.UUID(values["batch_id"])
    return message_query.Filter(**values)
