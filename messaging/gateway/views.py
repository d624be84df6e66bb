"""The SMPP pages: the live console of an organization's accounts, and a new password."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.access.page_access import FORM, member_page
from accounts.audit import trail
from accounts.models import Member
from accounts.roles import Action
from accounts.ui.live_fragments import live_page
from accounts.ui.pages import confirmation_page, page_url, show_page, to_page
from accounts.ui.single_use_forms import SingleUseForm
from imissive.core.api.requests import client_address
from messaging.gateway import accounts, live_console
from messaging.models import SmppAccount

_OVERLAPS = {"0": 0, "1": 1, "24": 24}


class PasswordForm(SingleUseForm):
    overlap = forms.ChoiceField(
        label=gettext_lazy("The old password works"),
        initial="24",
        choices=[
            ("24", gettext_lazy("for 24 more hours")),
            ("1", gettext_lazy("for one more hour")),
            ("0", gettext_lazy("no longer: it has leaked")),
        ],
    )


@member_page(Action.READ_MESSAGES)
def console(request: HttpRequest, member: Member) -> HttpResponse:
    overviews = live_console.of_organization(member.organization)
    context: dict[str, Any] = {
        "page": "smpp",
        "overviews": overviews,
        "where": live_console.where(),
        "live": bool(overviews),
        "query": "",
    }
    return live_page(request, member, "messaging/gateway/smpp", "smpp_console", context)


@member_page(Action.MANAGE_KEYS, FORM)
def new_password(request: HttpRequest, member: Member, account_id: UUID) -> HttpResponse:
    """Ask how long the old password stays valid; a POST creates a new one and shows it, once."""
    account = get_object_or_404(SmppAccount, organization=member.organization, pk=account_id)
    form = PasswordForm(request.POST if request.method == "POST" else None)
    if not form.is_bound or not form.is_valid():
        return _password_form(request, member, account, form)
    if not form.is_first():
        text = _("The password was made already, and shown then. If you lost it, make another one.")
        messages.warning(request, text)
        return to_page(member, "smpp")
    overlap = _OVERLAPS[form.cleaned_data["overlap"]]
    with form.usable_after_failure(), transaction.atomic():
        password = accounts.rotate_password(account, timedelta(hours=overlap))
        trail.record(
            "smpp_account.password_rotated",
            actor=member.user,
            organization=member.organization,
            target=account.system_id,
            detail={"overlap_hours": overlap},
            address=client_address(request),
        )
    context = {
        "page": "smpp",
        "account": account,
        "password": password,
        "where": live_console.where(),
    }
    return show_page(request, member, "messaging/gateway/smpp_password.html", context)


def _password_form(
    request: HttpRequest, member: Member, account: SmppAccount, form: PasswordForm
) -> HttpResponse:
    lines = []
    if live_console.previous_works(account) and account.previous_until:
        text = _("The password before the current one still works until %(time)s. It ends at once.")
        until = date_format(localtime(account.previous_until), "Y-m-d H:i")
        lines.append(text % {"time": until})
    return confirmation_page(
        request,
        member,
        page="smpp",
        title=_("A new password for %(system_id)s?") % {"system_id": account.system_id},
        text=_(
            "Binds that are up stay up. Put the new password into your program, and it is"
            " used with the next bind."
        ),
        details=lines,
        button=_("Make the new password"),
        danger=False,
        back=page_url(member, "smpp"),
        form=form,
    )
