"""Time zone of the pages: the one that the user chose, otherwise the browser's own."""

import zoneinfo
from collections.abc import Callable
from functools import cache

from django.http import HttpRequest, HttpResponse
from django.utils import timezone


class TimeZoneMiddleware:
    """Render pages in the time zone that the user chose.

    Without a choice they are rendered in UTC, and `app.js` converts the times to the browser's
    time zone.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        chosen = getattr(request.user, "time_zone", "")
        if chosen not in time_zones():
            return self.get_response(request)
        with timezone.override(zoneinfo.ZoneInfo(chosen)):
            return self.get_response(request)


@cache
def time_zones() -> tuple[str, ...]:
    """Return the names of the time zones to choose from: UTC first, then places by name."""
    names = zoneinfo.available_timezones()
    return ("UTC", *sorted(name for name in names if _is_place(name)))


def _is_place(name: str) -> bool:
    region = name.partition("/")[0]
    return "/" in name and region not in ("Etc", "SystemV", "US", "Canada", "Mexico", "Brazil",
                                          "Chile")  # fmt: skip
