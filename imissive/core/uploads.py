"""Upload limit of pages: a request's size is checked before its body is read.

Django reads a form's files before it calls a view, because it looks for the CSRF token in the form,
and stores them on disk meanwhile. A post of 100 MB would fill the disk before the view refuses it.
"""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


class UploadLimitMiddleware:
    """Refuse a request whose Content-Length is above UPLOAD_MAX_BYTES, with 413.

    A request without Content-Length has no body: Django reads only as much as the header says.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if _length(request) <= settings.UPLOAD_MAX_BYTES:
            return self.get_response(request)
        return render(request, "413.html", status=413)


def _length(request: HttpRequest) -> int:
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0
