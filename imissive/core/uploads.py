"""What is uploaded to a page is bounded before a byte of it is read.

Django reads a form's files before any view is asked, to look for the CSRF token in it, and keeps
them on disk meanwhile. So who posts 100 MB would fill a disk with what is refused afterwards.
"""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


class UploadLimitMiddleware:
    """Refuses a request whose body is larger than UPLOAD_MAX_BYTES by what it says of its length.

    A body that says nothing is none: Django reads as much as the length says, and no more.
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
