"""The time zone that a person reads times in: the one they chose, else the browser's own."""

import zoneinfo
from collections.abc import Callable
from functools import cache

from django.http import HttpRequest, HttpResponse
from django.utils import timezone


class TimeZoneMiddleware:
    """Pages are made in the time zone that their reader chose.

    Where none was chosen they hold UTC, and `app.js` rewrites it in the browser's own.
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
    """The names that a person may choose from: places, and UTC."""
    names = zoneinfo.available_timezones()
    return ("UTC", *sorted(name for name in names if _is_place(name)))


def _is_place(name: str) -> bool:
    region = name.partition("/")[0]
    return "/" in name and region not in ("Etc", "SystemV", "US", "Canada", "Mexico", "Brazil",
                                          "Chile")  # fmt: skip
