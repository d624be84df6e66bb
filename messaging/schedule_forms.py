"""A time to send at, as people choose it in a form: by the clock of a time zone."""

import zoneinfo
from datetime import UTC, datetime

from django import forms
from django.utils.translation import gettext as _

from imissive.errors import ApiError
from messaging.problem_words import told
from messaging.schedules import check_schedule

_FORMS = ("%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M")


def zone_named(name: str) -> zoneinfo.ZoneInfo:
    """The time zone of that name. Raises ValidationError."""
    if name not in zoneinfo.available_timezones():
        raise forms.ValidationError(_("There is no such time zone."))
    return zoneinfo.ZoneInfo(name)


def clock_time(written: str, zone: zoneinfo.ZoneInfo) -> datetime | None:
    """What a `datetime-local` field holds, by the clock of that zone; None for at once.

    Raises ValidationError for what is no time, past, too far ahead, or left out when the clocks go
    forward.
    """
    for form in _FORMS:
        try:
            local = datetime.strptime(written.strip(), form)
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
        raise forms.ValidationError(told(error.problem)) from None
