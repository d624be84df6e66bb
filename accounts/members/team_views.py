"""Dashboard pages of the team: members and roles, invitations, leaving the organization."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.access.page_access import FORM, POST, member_page
from accounts.access.post_limits import INVITE, limit_posts
from accounts.members import invitations, team
from accounts.members.team import NotAllowed
from accounts.models import Invitation, Member
from accounts.roles import MEANINGS, Action, Role
from accounts.ui.pages import confirmation_page, page_url, show_page, to_page
from imissive.core.api.requests import client_address


class InviteForm(forms.Form):
    """Email address and role of the person to invite."""

    email = forms.EmailField(label=gettext_lazy("E-mail"), max_length=254)
    role = forms.ChoiceField(label=gettext_lazy("Role"), choices=())

    def __init__(self, by: Member, data: Any = None) -> None:
        super().__init__(data, initial={"role": Role.DEVELOPER})
        self.fields["role"] = forms.ChoiceField(
            label=gettext_lazy("Role"), choices=roles_given_by(by)
        )


def roles_given_by(by: Member) -> list[tuple[str, str]]:
    """Return the roles that `by` may assign, as (value, label)."""
    return [
        (role.value, str(role.label))
        for role in Role
        if role != Role.OWNER or by.role == Role.OWNER
    ]


@member_page(Action.SEE_MEMBERS)
def team_page(request: HttpRequest, member: Member) -> HttpResponse:
    """Show the members and the open invitations."""
    return _show(request, member, InviteForm(member))


def _show(request: HttpRequest, member: Member, form: InviteForm) -> HttpResponse:
    members = Member.objects.filter(organization=member.organization).select_related("user")
    open_ones = Invitation.objects.filter(organization=member.organization)
    context = {
        "page": "team",
        "members": members.order_by("created_at", "id"),
        "invitations": open_ones.select_related("invited_by").order_by("-sent_at"),
        "form": form,
        "roles": roles_given_by(member),
        "meanings": [(role.label, MEANINGS[role]) for role in Role],
    }
    return show_page(request, member, "accounts/members/team.html", context)


@member_page(Action.MANAGE_MEMBERS, POST)
@limit_posts(INVITE)
def invite(request: HttpRequest, member: Member) -> HttpResponse:
    """Invite a person by email."""
    form = InviteForm(member, request.POST)
    if not form.is_valid():
        return _show(request, member, form)
    email, role = form.cleaned_data["email"], form.cleaned_data["role"]
    try:
        sent = invitations.invite(member, email, role, client_address(request))
    except NotAllowed as refusal:
        form.add_error("email", str(refusal.why))
        return _show(request, member, form)
    _message_sent(request, sent, email)
    return _back(member)


@member_page(Action.MANAGE_MEMBERS, POST)
@limit_posts(INVITE)
def resend(request: HttpRequest, member: Member, invitation_id: int) -> HttpResponse:
    """Send an open invitation again."""
    with _refusals_as_messages(request):
        sent = invitations.resend(member, invitation_id, client_address(request))
        _message_sent(request, sent, "")
    return _back(member)


@member_page(Action.MANAGE_MEMBERS, POST)
def revoke(request: HttpRequest, member: Member, invitation_id: int) -> HttpResponse:
    """Revoke an open invitation."""
    with _refusals_as_messages(request):
        revoked = invitations.revoke(member, invitation_id, client_address(request))
        text = _("The invitation of %(email)s does not work any more.")
        messages.success(request, text % {"email": revoked.email})
    return _back(member)


@member_page(Action.MANAGE_MEMBERS, POST)
def change_role(request: HttpRequest, member: Member, member_id: int) -> HttpResponse:
    """Change a member's role."""
    role = request.POST.get("role", "")
    with _refusals_as_messages(request):
        if role not in Role.values:
            raise NotAllowed(_("There is no such role."))
        changed = team.change_role(member, member_id, role, client_address(request))
        names = {"name": changed.user.get_full_name(), "role": changed.get_role_display()}
        messages.success(request, _("%(name)s is %(role)s now.") % names)
    return _back(member)


@member_page(Action.MANAGE_MEMBERS, FORM)
def remove(request: HttpRequest, member: Member, member_id: int) -> HttpResponse:
    """Ask for confirmation; on POST, remove the member."""
    mine = Member.objects.filter(organization=member.organization).select_related("user")
    target = get_object_or_404(mine, pk=member_id)
    name = target.user.get_full_name()
    if request.method == "POST":
        with _refusals_as_messages(request):
            team.remove(member, member_id, client_address(request))
            messages.success(request, _("%(name)s is not a member any more.") % {"name": name})
        return _back(member)
    return confirmation_page(
        request,
        member,
        page="team",
        title=_("Remove %(name)s?") % {"name": name},
        text=_("They lose access at once. API keys that they made go on working."),
        button=_("Remove"),
        back=page_url(member, "team"),
    )


@member_page(Action.SEE_MEMBERS, FORM, impersonation=False)
def leave(request: HttpRequest, member: Member) -> HttpResponse:
    """Ask for confirmation; on POST, leave the organization."""
    name = member.organization.name
    if request.method == "POST":
        try:
            team.leave(member, client_address(request))
        except NotAllowed as refusal:
            messages.error(request, str(refusal.why))
            return _back(member)
        messages.success(request, _("You have left %(name)s.") % {"name": name})
        return redirect("dashboard")
    return confirmation_page(
        request,
        member,
        page="team",
        title=_("Leave %(name)s?") % {"name": name},
        text=_("You lose access at once. Only a new invitation brings you back."),
        button=_("Leave"),
        back=page_url(member, "team"),
    )


@contextmanager
def _refusals_as_messages(request: HttpRequest) -> Iterator[None]:
    """Turn NotAllowed inside the block into an error message, and a missing object into 404."""
    try:
        yield
    except NotAllowed as refusal:
        messages.error(request, str(refusal.why))
    except (Invitation.DoesNotExist, Member.DoesNotExist) as error:
        raise Http404 from error


def _message_sent(request: HttpRequest, sent: bool, email: str) -> None:
    if not sent:
        text = _("The invitation is made, but its mail could not be sent. Send it again later.")
        messages.warning(request, text)
    elif email:
        messages.success(request, _("%(email)s is invited.") % {"email": email})
    else:
        messages.success(request, _("The invitation was sent again. The old link has ended."))


def _back(member: Member) -> HttpResponse:
    return to_page(member, "team")
