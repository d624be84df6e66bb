"""Rate limits of posts to pages, by user, by organization and by IP address (django-ratelimit).

django-ratelimit counts in the shared cache, in fixed windows. The API has its own limits
(accounts/api/rate_limits.py), which count messages. Limits per account or mailbox (guessed
passwords and codes, mails to one address) are allauth's: ACCOUNT_RATE_LIMITS.
"""

import ipaddress
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django_ratelimit.core import get_usage

from accounts.models import Member
from imissive.core.api.requests import client_address

ViewT = TypeVar("ViewT", bound=Callable[..., HttpResponseBase])


@dataclass(frozen=True, slots=True)
class PostLimit:
    """Limit of one kind of posts, as "10/m" or "20/h". Views with the same limit share its count.

    All people of an office share one IP address, so an address has a higher limit than a user.
    """

    name: str
    by_address: str
    by_user: str | None = None
    by_organization: str | None = None


SIGN_IN = PostLimit("sign-in", by_address="30/m")
SECOND_FACTOR = PostLimit("second-factor", by_address="30/m")
PASSKEY_SIGN_IN = PostLimit("passkey-sign-in", by_address="10/m")
SIGN_UP = PostLimit("sign-up", by_address="20/h")
PASSWORD_RESET = PostLimit("password-reset", by_address="20/m")
NEW_PASSWORD = PostLimit("new-password", by_address="20/m")
CHANGE_PASSWORD = PostLimit("change-password", by_user="5/m", by_address="30/m")
MANAGE_EMAIL = PostLimit("manage-email", by_user="10/m", by_address="30/m")
REAUTHENTICATE = PostLimit("reauthenticate", by_user="10/m", by_address="30/m")
INVITE = PostLimit("invite", by_user="20/m", by_address="60/m")
ACCEPT_INVITATION = PostLimit("accept-invitation", by_address="30/m")
TEST_MESSAGE = PostLimit("test-message", by_organization="10/m", by_user="10/m", by_address="30/m")
TEST_EVENT = PostLimit("test-event", by_organization="20/m", by_user="20/m", by_address="60/m")
OTP_TRY = PostLimit("otp-try", by_organization="10/m", by_user="10/m", by_address="30/m")
# Each pause in typing requests an estimate; one of a few messages costs about 20 ms of CPU.
PREVIEW = PostLimit("preview", by_user="90/m", by_address="180/m")
# One of 10,000 messages costs up to half a second. Two limits, so that typing leaves the review's.
LARGE_PREVIEW = PostLimit("large-preview", by_user="20/m", by_address="60/m")
LARGE_REVIEW = PostLimit("large-review", by_user="12/m", by_address="36/m")
UPLOAD = PostLimit("upload", by_user="20/m", by_address="60/m")
DOWNLOAD = PostLimit("download", by_user="20/m", by_address="60/m")


def limit_posts(limit: PostLimit) -> Callable[[ViewT], ViewT]:
    """Return a decorator that refuses posts beyond the limit with 429; only posts are counted.

    On a member page it belongs below `member_page`, so that the organization is known and posts of
    outsiders are not counted.
    """

    def decorate(view: ViewT) -> ViewT:
        @wraps(view)
        def limited(request: HttpRequest, *args: Any, **named: Any) -> HttpResponseBase:
            member = args[0] if args and isinstance(args[0], Member) else None
            return refusal(request, limit, member) or view(request, *args, **named)

        limited.post_limit = limit  # type: ignore[attr-defined]
        return cast("ViewT", limited)

    return decorate


def refusal(
    request: HttpRequest, limit: PostLimit, member: Member | None = None
) -> HttpResponse | None:
    """Count a post; return the response with status 429 if it exceeds a limit, otherwise None.

    The address is counted last, so that a refused user does not use up their colleagues' share.
    """
    if request.method != "POST":
        return None
    for kind, rate, key in _counters(request, limit, member):
        usage = get_usage(
            request,
            group=f"{limit.name}:{kind}",
            key=lambda group, request, key=key: key,
            rate=rate,
            increment=True,
        )
        if usage is not None and usage["should_limit"]:
            return too_many_requests(request, usage["time_left"])
    return None


def _counters(
    request: HttpRequest, limit: PostLimit, member: Member | None
) -> Iterator[tuple[str, str, str]]:
    """Yield the kind, the rate and the key of each counter of the post."""
    if limit.by_user and request.user.is_authenticated:
        yield "user", limit.by_user, str(request.user.pk)
    if limit.by_organization and member is not None:
        yield "organization", limit.by_organization, member.organization_id.hex
    yield "address", limit.by_address, network_of(client_address(request))


def network_of(address: str) -> str:
    """Return the key of an IP address: an IPv6 address counts as its /64, the usual subnet."""
    if ":" not in address:
        return address or "unknown"
    known = ipaddress.IPv6Address(address)
    if known.ipv4_mapped:
        return str(known.ipv4_mapped)
    return str(ipaddress.IPv6Network((known, 64), strict=False).network_address)


def too_many_requests(request: HttpRequest, seconds: float = 60) -> HttpResponse:
    """Return the page with status 429, or its fragment for htmx. allauth uses it too.

    `seconds` until the next attempt are sent as Retry-After, rounded up.
    """
    wait = max(1, math.ceil(seconds))
    part = bool(getattr(request, "htmx", False))
    template = "accounts/access/parts/too_many_requests.html" if part else "429.html"
    context: dict[str, Any] = {"minutes": math.ceil(wait / 60)}
    response = render(request, template, context, status=429)
    response["Retry-After"] = str(wait)
    return response
