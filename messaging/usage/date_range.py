"""A span of days that people choose in a form: the first and the last one, where they read."""

from datetime import date, datetime, timedelta
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from messaging.usage.overview import midnight

_BOUNDS = [MinValueValidator(date(2000, 1, 1)), MaxValueValidator(date(2100, 1, 1))]


def day_field(label: Any) -> forms.DateField:
    return forms.DateField(
        label=label,
        required=False,
        input_formats=["%Y-%m-%d"],
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        validators=_BOUNDS,
    )


class DaysForm(forms.Form):
    """Both days may be left out, and both are included."""

    since = day_field(gettext_lazy("From day"))
    until = day_field(gettext_lazy("To day"))

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or {}
        since, until = found.get("since"), found.get("until")
        if since and until and until < since:
            self.add_error("until", _("That is before the first day."))
        return found

    @property
    def start(self) -> datetime | None:
        since: date | None = self.cleaned_data["since"]
        return midnight(since) if since else None

    @property
    def end(self) -> datetime | None:
        """When the last day is over."""
        until: date | None = self.cleaned_data["until"]
        return midnight(until + timedelta(days=1)) if until else None

    @property
    def named(self) -> str:
        """The days as the name of a file has them."""
        days = [self.cleaned_data[name] for name in ("since", "until")]
        return "".join(f"-{day:%Y-%m-%d}" for day in days if day)
