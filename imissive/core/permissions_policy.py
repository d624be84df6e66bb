"""The Permissions-Policy header: pages may use only the browser features that they need."""

from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse

_UNUSED: Final = (
    "accelerometer",
    "autoplay",
    "browsing-topics",
    "camera",
    "display-capture",
    "encrypted-media",
    "geolocation",
    "gyroscope",
    "hid",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "serial",
    "usb",
    "xr-spatial-tracking",
)
# Copy buttons, and passkeys.
_OWN: Final = ("clipboard-write", "publickey-credentials-create", "publickey-credentials-get")
POLICY: Final = ", ".join(
    [*(f"{name}=()" for name in _UNUSED), *(f"{name}=(self)" for name in _OWN)]
)


def permissions_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Add the header to every response of a page."""

    def respond(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Permissions-Policy"] = POLICY
        return response

    return respond
