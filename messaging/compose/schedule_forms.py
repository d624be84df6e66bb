"""A form for the schedule and the validity, with times in a time zone."""

import zoneinfo
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import User
from imissive.core.errors import ApiError
from imissive.core.problems import sentence
from messaging.sending.schedules import check_schedule

_FORMS = ("%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M")


def zone_named(name: str) -> zoneinfo.ZoneInfo:
    """Return the time zone of that name. Raises ValidationError."""
    if name not in zoneinfo.available_timezones():
        raise forms.ValidationError(_("There is no such time zone."))
    return zoneinfo.ZoneInfo(name)


def clock_time(value: str, zone: zoneinfo.ZoneInfo) -> datetime | None:
    """Return the time of a `datetime-local` field in that zone; None for now.

    Raises ValidationError for a value that is not a time, in the past, too far ahead, or skipped
    when the clocks go forward.
    """
    for form in _FORMS:
        try:
            local = datetime.strptime(value.strip(), form)
        except ValueError:
            continue
        return _checked(local.replace(tzinfo=zone))
    raise forms.ValidationError(_("Choose a day and a time."))


def _checked(at: datetime) -> datetime | None:
    if at.astimezone(UTC).astimezone(at.tzinfo) != at:
        raise forms.ValidationError(_("The clocks go forward then: there is no such time."))
    try:
        return check_schedule(at)
    except ApiError as error:
        raise forms.ValidationError(sentence(error.problem)) from None


class WhenForm(forms.Form):
    """A schedule and a validity.

    In the cleaned data, `scheduled_at` is an aware time or None for now, and `validity` is in
    seconds, or None for the platform's default.
    """

    when = forms.ChoiceField(
        label=gettext_lazy("When"),
        choices=[("now", gettext_lazy("Now")), ("later", gettext_lazy("At a time"))],
        widget=forms.RadioSelect,
    )
    at = forms.CharField(
        label=gettext_lazy("Time"),
        required=False,
        max_length=30,
        widget=forms.TextInput(attrs={"type": "datetime-local"}),
    )
    zone = forms.CharField(max_length=60, required=False, widget=forms.HiddenInput)
    validity = forms.TypedChoiceField(
        label=gettext_lazy("Try to deliver"),
        required=False,
        coerce=int,
        empty_value=None,
        choices=[
            ("", gettext_lazy("for 2 days")),
            ("600", gettext_lazy("for 10 minutes")),
            ("3600", gettext_lazy("for an hour")),
            ("21600", gettext_lazy("for 6 hours")),
            ("86400", gettext_lazy("for a day")),
            ("604800", gettext_lazy("for 7 days")),
        ],
        help_text=gettext_lazy("A phone that is off until then does not get it any more."),
    )

    def __init__(self, user: User, data: Any = None, initial: dict[str, Any] | None = None) -> None:
        defaults = {"when": "now", "zone": timezone.get_current_timezone_name()}
        super().__init__(data, initial={**defaults, **(initial or {})})
        # For a user without a chosen zone, a script sets the browser's.
        self.zone_is_chosen = bool(user.time_zone)

    def clean_zone(self) -> zoneinfo.ZoneInfo:
        return zone_named(self.cleaned_data["zone"] or timezone.get_current_timezone_name())

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        cleaned["scheduled_at"] = None
        if cleaned.get("when") == "later" and "zone" in cleaned:
            try:
                cleaned["scheduled_at"] = clock_time(cleaned.get("at", ""), cleaned["zone"])
            except forms.ValidationError as error:
                self.add_error("at", error)
        return cleaned
