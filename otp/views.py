"""The one-time passwords' page: conversion, held prefixes, rules, recent codes, and a try."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import frame, member_page, public_id
from accounts.limits import take_tokens
from accounts.live import live_page, query_without
from accounts.models import Member, Organization
from accounts.roles import Action
from imissive import clock, ids
from imissive.errors import ApiError
from imissive.requests import client_address
from messaging import numbers
from messaging.countries import name_of
from messaging.problem_words import told
from otp import choosing, codes, sending, texts, usage, verifying
from otp.askers import Page
from otp.forms import CodeForm, CountriesForm, TryForm
from otp.models import HeldPrefix, Verification
from otp.rules import rules_of
from otp.sending import Asked

PAGE = 25
DAYS = 30
TRIES_PER_MINUTE = 10
_MINE = "otp_tries"
"""The session's key for the live verifications that were begun from this page."""
_TONES = {"pending": "moving", "verified": "good", "expired": "still", "failed": "bad"}


@require_safe
@member_page(Action.READ_MESSAGES)
def otp_page(request: HttpRequest, member: Member) -> HttpResponse:
    return _show(request, member)


def _show(
    request: HttpRequest,
    member: Member,
    try_form: TryForm | None = None,
    countries_form: CountriesForm | None = None,
) -> HttpResponse:
    """The page; a form that was filled in wrongly is shown as it was."""
    organization = member.organization
    rules = rules_of(organization.id)
    before = ids.parse_id(ids.OTP, request.GET.get("before", ""))
    mine = Verification.objects.filter(organization=organization).order_by("-id")
    rows = list((mine.filter(id__lt=before) if before else mine)[: PAGE + 1])
    since = clock.now() - timedelta(days=DAYS)
    context = {
        "page": "otp",
        "days": DAYS,
        # What refreshes does not show it, so it is not counted every few seconds.
        "conversion": SimpleLazyObject(lambda: _conversion(organization, since)),
        "held": _held(organization),
        "rules": rules,
        "number_limit": settings.OTP_NUMBER_LIMIT_DAY,
        "chosen": sorted(name_of(country) for country in rules.chosen),
        "ceiling": sorted(name_of(country) for country in rules.countries),
        "try_form": try_form or TryForm(),
        "countries_form": countries_form or CountriesForm(rules),
        "rows": [_row(verification) for verification in rows[:PAGE]],
        "older": rows[PAGE - 1].public_id if len(rows) > PAGE else "",
        "newest": before is None,
        "live": before is None,
        "paused": False,
        "query": query_without(request, "before"),
    }
    return live_page(request, member, "otp", "otp_recent", context)


def _conversion(organization: Organization, since: datetime) -> dict[str, Any]:
    found = usage.recent_conversion(organization.id, since)
    return {
        "rows": [_converted(*row) for row in found.countries],
        "capped": usage.NEWEST if found.capped else 0,
    }


def _converted(country: str, begun: int, verified: int) -> dict[str, Any]:
    share = 100 * verified / begun
    return {
        "country": name_of(country),
        "begun": begun,
        "verified": verified,
        "share": share,
        "width": f"{share:.2f}",
    }


def _held(organization: Organization) -> list[HeldPrefix]:
    now = clock.now()
    held = HeldPrefix.objects.filter(organization=organization, lifted_at=None, until__gt=now)
    return list(held.filter(enforced=True).order_by("prefix"))


def _row(verification: Verification) -> dict[str, Any]:
    now = clock.now()
    status = verification.status
    reason = str(verification.get_reason_display())
    if status == Verification.Status.PENDING and verifying.is_over(verification, now):
        status, reason = Verification.Status.EXPIRED, str(Verification.Reason.EXPIRED.label)
    return {
        "id": verification.public_id,
        "number": numbers.mask(verification.phone),
        "country": name_of(verification.country),
        "tone": _TONES[status],
        "label": Verification.Status(status).label,
        "reason": reason,
        "attempts": verification.attempts,
        "at": verification.created_at,
        "test": verification.test,
        "message_id": ids.public_id(ids.MESSAGE, verification.message_id),
    }


@require_POST
@member_page(Action.MANAGE_OTP)
def choose_countries(request: HttpRequest, member: Member) -> HttpResponse:
    """Narrow the countries that codes may go to; none chosen narrows nothing."""
    form = CountriesForm(rules_of(member.organization_id), request.POST)
    if not form.is_valid():
        return _show(request, member, countries_form=form)
    choosing.choose_countries(member, form.cleaned_data["countries"], client_address(request))
    messages.success(request, _("Saved."))
    return redirect("otp", public_id(member.organization))


@require_POST
@member_page(Action.SEND)
def send_try(request: HttpRequest, member: Member) -> HttpResponse:
    """Send a code, and ask for it on the next page."""
    form = TryForm(request.POST)
    if not form.is_valid():
        return _show(request, member, try_form=form)
    organization_id = public_id(member.organization)
    if not form.is_first():
        messages.warning(request, _("That was done already."))
        return redirect("otp", organization_id)
    try:
        verification = _send(member, form.cleaned_data)
    except ApiError as refusal:
        field = "phone" if refusal.problem.field == "phone" else None
        form.add_error(field, told(refusal.problem))
        # Corrected, it is another submission.
        return _show(request, member, try_form=form.again())
    if not verification.test:
        tries = [*request.session.get(_MINE, []), verification.public_id]
        request.session[_MINE] = tries[-20:]
    return redirect("otp_try", organization_id, verification.public_id)


def _send(member: Member, asked: dict[str, Any]) -> Verification:
    organization = member.organization
    if organization.status != Organization.Status.ACTIVE:
        raise ApiError("FORBIDDEN", "This organization is suspended. Contact support.")
    if take_tokens(f"{organization.id.hex}:otp-try", TRIES_PER_MINUTE, 60).wait_seconds:
        raise ApiError("RATE_LIMITED", _("That was a lot in a minute. Wait a little."))
    text = texts.compose(None, asked["locale"], app_hash=None, origin=None)
    page = Page(organization.id, test=asked["kind"] == "test")
    what = Asked(asked["phone"], text, asked["length"], asked["expiry"], None)
    return sending.send(page, what).verification


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Action.SEND)
def try_page(request: HttpRequest, member: Member, otp_id: str) -> HttpResponse:
    """Ask for the code that was sent; a POST checks it."""
    verification = _tried(request, member, otp_id)
    form = CodeForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        page = Page(member.organization_id, verification.test)
        try:
            checked = verifying.verify(page, otp_id, form.cleaned_data["code"])
        except ApiError as refusal:
            messages.error(request, told(refusal.problem))
        else:
            _tell(request, checked)
        return redirect("otp_try", public_id(member.organization), otp_id)
    live = verifying.is_live(verification, clock.now())
    context = {
        "page": "otp",
        "verification": verification,
        "row": _row(verification),
        "form": form,
        "live_code": live,
        "code": _test_code(verification) if live and verification.test else "",
        "left": verification.attempts_left,
    }
    return render(request, "dashboard/otp_try.html", {**frame(member), **context})


def _tell(request: HttpRequest, checked: Verification) -> None:
    if checked.status == Verification.Status.VERIFIED:
        messages.success(request, _("Verified: the code is right."))
    elif checked.status == Verification.Status.PENDING:
        messages.error(request, _("That code is wrong."))
    else:
        messages.error(request, _("The verification has ended: %(reason)s.") % {
            "reason": checked.get_reason_display()})  # fmt: skip


def _tried(request: HttpRequest, member: Member, otp_id: str) -> Verification:
    """A test verification, or a live one that was begun here: wrong codes would end a customer's.

    Raises Http404.
    """
    wanted, found = ids.parse_id(ids.OTP, otp_id), None
    if wanted is not None:
        found = Verification.objects.filter(organization=member.organization, id=wanted).first()
    if found is None or not (found.test or otp_id in request.session.get(_MINE, [])):
        raise Http404
    return found


def _test_code(verification: Verification) -> str:
    """The code of a test: it reaches no phone, so the page shows it, as the API does."""
    try:
        return codes.code_of(verification.id, verification.length, verification.secret)
    except codes.KeyLost:
        return ""
