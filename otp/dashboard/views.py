"""Dashboard pages of one-time passwords: conversion, held prefixes, rules, recent codes, trials."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _

from accounts.access.page_access import FORM, POST, member_page, object_or_404, public_id
from accounts.access.post_limits import OTP_TRY, limit_posts
from accounts.api.reasons import CallReason
from accounts.models import Member, Organization
from accounts.roles import Action
from accounts.ui.live_fragments import live_page, query_without
from accounts.ui.pages import show_page, to_page
from imissive.core import clock, ids
from imissive.core.api.requests import client_address
from imissive.core.countries import name_of
from imissive.core.errors import ApiError
from imissive.core.problems import sentence
from messaging.numbers import e164
from otp.dashboard.forms import CodeForm, CountriesForm, TryForm
from otp.limits import organization_rules
from otp.limits.rules import rules_of
from otp.models import HeldPrefix, Verification
from otp.verification import (
    codes,
    conversion,
    send,
    texts,
    verify,
)
from otp.verification.callers import DashboardCaller
from otp.verification.send import CodeRequest

PAGE = 25
DAYS = 30
_MINE = "otp_tries"
"""Session key of the live verifications that were started from this page."""
_TONES = {"pending": "moving", "verified": "good", "expired": "still", "failed": "bad"}


@member_page(Action.READ_MESSAGES)
def otp_page(request: HttpRequest, member: Member) -> HttpResponse:
    """Show the one-time passwords' page; recent codes refresh while it is open."""
    return _show(request, member)


def _show(
    request: HttpRequest,
    member: Member,
    try_form: TryForm | None = None,
    countries_form: CountriesForm | None = None,
) -> HttpResponse:
    """Render the page, with the given forms and their errors in the place of fresh ones."""
    organization = member.organization
    rules = rules_of(organization.id)
    before = ids.parse_id(ids.OTP, request.GET.get("before", ""))
    mine = Verification.objects.filter(organization=organization).order_by("-id")
    rows = list((mine.filter(id__lt=before) if before else mine)[: PAGE + 1])
    since = clock.now() - timedelta(days=DAYS)
    context = {
        "page": "otp",
        "days": DAYS,
        # Lazy: the refreshing fragment does not show it, so it is not computed every few seconds.
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
    return live_page(request, member, "otp/dashboard/otp", "otp_recent", context)


def _conversion(organization: Organization, since: datetime) -> dict[str, Any]:
    found = conversion.recent_conversion(organization.id, since)
    return {
        "rows": [_conversion_row(*row) for row in found.countries],
        "capped": conversion.MAX_COUNTED if found.capped else 0,
    }


def _conversion_row(country: str, started: int, verified: int) -> dict[str, Any]:
    share = 100 * verified / started
    return {
        "country": name_of(country),
        "started": started,
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
    if status == Verification.Status.PENDING and verify.is_expired(verification, now):
        status, reason = Verification.Status.EXPIRED, str(Verification.Reason.EXPIRED.label)
    return {
        "id": verification.public_id,
        "number": e164.mask(verification.phone),
        "country": name_of(verification.country),
        "tone": _TONES[status],
        "label": Verification.Status(status).label,
        "reason": reason,
        "attempts": verification.attempts,
        "at": verification.created_at,
        "test": verification.test,
        "message_id": ids.public_id(ids.MESSAGE, verification.message_id),
    }


@member_page(Action.MANAGE_OTP, POST)
def choose_countries(request: HttpRequest, member: Member) -> HttpResponse:
    """Save the countries that codes may go to; an empty choice means no restriction."""
    form = CountriesForm(rules_of(member.organization_id), request.POST)
    if not form.is_valid():
        return _show(request, member, countries_form=form)
    organization_rules.choose_countries(
        member, form.cleaned_data["countries"], client_address(request)
    )
    messages.success(request, _("Saved."))
    return to_page(member, "otp")


@member_page(Action.SEND, POST)
@limit_posts(OTP_TRY)
def send_try(request: HttpRequest, member: Member) -> HttpResponse:
    """Send a code from the page, and redirect to the page that asks for it."""
    form = TryForm(request.POST)
    if not form.is_valid():
        return _show(request, member, try_form=form)
    organization_id = public_id(member.organization)
    if not form.is_first():
        messages.warning(request, _("That was done already."))
        return redirect("otp", organization_id)
    try:
        with form.usable_after_failure():
            verification = _send(member, form.cleaned_data)
    except ApiError as refusal:
        field = "phone" if refusal.problem.field == "phone" else None
        form.add_error(field, sentence(refusal.problem))
        # A corrected form is a new submission, so it gets a new token.
        return _show(request, member, try_form=form.again())
    if not verification.test:
        tries = [*request.session.get(_MINE, []), verification.public_id]
        request.session[_MINE] = tries[-20:]
    return redirect("otp_try", organization_id, verification.public_id)


def _send(member: Member, values: dict[str, Any]) -> Verification:
    organization = member.organization
    if organization.status != Organization.Status.ACTIVE:
        raise ApiError(CallReason.ORGANIZATION_SUSPENDED)
    text = texts.compose(None, values["locale"], app_hash=None, origin=None)
    caller = DashboardCaller(
        organization.id, test=values["kind"] == "test", home=organization.default_country
    )
    code_request = CodeRequest(values["phone"], text, values["length"], values["expiry"], None)
    return send.send(caller, code_request).verification


@member_page(Action.SEND, FORM)
def try_page(request: HttpRequest, member: Member, otp_id: str) -> HttpResponse:
    """Ask for the code that was sent; on POST, verify it."""
    verification = _verification_of(request, member, otp_id)
    form = CodeForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        page = DashboardCaller(member.organization_id, verification.test)
        try:
            checked = verify.verify(page, verification.id, form.cleaned_data["code"])
        except ApiError as refusal:
            messages.error(request, sentence(refusal.problem))
        else:
            _message_result(request, checked)
        return to_page(member, "otp_try", otp_id)
    live = verify.is_active(verification, clock.now())
    context = {
        "page": "otp",
        "verification": verification,
        "row": _row(verification),
        "form": form,
        "live_code": live,
        "code": _test_code(verification) if live and verification.test else "",
        "left": verification.attempts_left,
    }
    return show_page(request, member, "otp/dashboard/otp_try.html", context)


def _message_result(request: HttpRequest, checked: Verification) -> None:
    if checked.status == Verification.Status.VERIFIED:
        messages.success(request, _("Verified: the code is right."))
    elif checked.status == Verification.Status.PENDING:
        messages.error(request, _("That code is wrong."))
    else:
        messages.error(request, _("The verification has ended: %(reason)s.") % {
            "reason": checked.get_reason_display()})  # fmt: skip


def _verification_of(request: HttpRequest, member: Member, otp_id: str) -> Verification:
    """Return a test verification, or a live one that was started from this page.

    Others cannot be checked here, because wrong codes would fail a customer's verification. Raises
    Http404.
    """
    mine = Verification.objects.filter(organization=member.organization)
    found = object_or_404(mine, ids.OTP, otp_id)
    if not (found.test or otp_id in request.session.get(_MINE, [])):
        raise Http404
    return found


def _test_code(verification: Verification) -> str:
    """Return the code of a test verification; it reaches no phone, so the page shows it."""
    try:
        return codes.code_of(verification.id, verification.length, verification.secret)
    except codes.KeyLost:
        return ""
