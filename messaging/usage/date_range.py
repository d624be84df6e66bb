"""The form of a date range: a first and a last day, in the reader's time zone."""

from datetime import date, datetime, timedelta
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from messaging.usage.overview import midnight

_BOUNDS = [MinValueValidator(date(2000, 1, 1)), MaxValueValidator(date(2100, 1, 1))]


def day_field(label: Any) -> forms.DateField:
    """Return an optional field for a day between the years 2000 and 2100."""
    return forms.DateField(
        label=label,
        required=False,
        input_formats=["%Y-%m-%d"],
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        validators=_BOUNDS,
    )


class DaysForm(forms.Form):
    """A date range. Each day may be left out; both are included."""

    since = day_field(gettext_lazy("From day"))
    until = day_field(gettext_lazy("To day"))

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and until < since:
            self.add_error("until", _("That is before the first day."))
        return cleaned

    @property
    def start(self) -> datetime | None:
        """Midnight of the first day, in UTC."""
        since: date | None = self.cleaned_data["since"]
        return midnight(since) if since else None

    @property
    def end(self) -> datetime | None:
        """Midnight after the last day, in UTC."""
        until: date | None = self.cleaned_data["until"]
        return midnight(until + timedelta(days=1)) if until else None

    @property
    def name_suffix(self) -> str:
        """The days as the end of a file's name."""
        days = [self.cleaned_data[name] for name in ("since", "until")]
        return "".join(f"-{day:%Y-%m-%d}" for day in days if day)
