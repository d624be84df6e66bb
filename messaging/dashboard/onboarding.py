"""Onboarding of a new organization: the checklist, and the test message from a page."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.access.page_access import FORM, member_page, public_id
from accounts.access.post_limits import TEST_MESSAGE, limit_posts
from accounts.models import Member, Organization
from accounts.roles import Action
from accounts.ui.pages import show_page
from accounts.ui.single_use_forms import SingleUseForm
from imissive.core import ids
from imissive.core.problems import sentence
from messaging.models import Message, SenderId
from messaging.sending.accept import SendRequest, accept
from messaging.sending.evaluation import Draft, Refusal
from webhooks.models import Endpoint

_MAX_CHARACTERS = 1600


def steps_of(organization: Organization) -> list[tuple[str, bool]]:
    """Return the steps until the first message reaches a handset, each with whether it is done.

    The email address is always verified: without that the list is not shown.
    """
    return [
        ("email", True),
        ("key", organization.api_keys.filter(revoked_at=None).exists()),
        ("message", Message.objects.filter(organization=organization).exists()),
        ("sender", organization.sender_ids.filter(status=SenderId.Status.APPROVED).exists()),
        ("webhook", Endpoint.objects.filter(organization=organization, enabled=True).exists()),
    ]


class TestMessageForm(SingleUseForm):
    """A test message to one of the simulator's magic numbers, which determine its outcome."""

    to = forms.ChoiceField(
        label=gettext_lazy("What shall happen"),
        choices=[
            ("+966500000001", gettext_lazy("It is delivered (+966500000001)")),
            ("+966500000002", gettext_lazy("It fails at the carrier (+966500000002)")),
            ("+966500000003", gettext_lazy("The carrier refuses it (+966500000003)")),
            ("+966500000004", gettext_lazy("The carrier is busy, then it is delivered (…04)")),
        ],
    )
    text = forms.CharField(
        label=gettext_lazy("Text"),
        max_length=_MAX_CHARACTERS,
        initial=gettext_lazy("Hello from iMissive!"),
        widget=forms.Textarea(attrs={"rows": 2, "dir": "auto"}),
    )


@member_page(Action.SEND, FORM)
@limit_posts(TEST_MESSAGE)
def send_test_message(request: HttpRequest, member: Member) -> HttpResponse:
    """Show the form; a POST sends the message to the simulator and redirects to its page.

    Test messages are free.
    """
    form = TestMessageForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        organization_id = public_id(member.organization)
        if not form.is_first():
            return redirect("messages", organization_id)
        send_request = SendRequest(
            member.organization_id, source="dashboard", test=True, urgent=True
        )
        draft = Draft(form.cleaned_data["to"], form.cleaned_data["text"])
        with form.usable_after_failure():
            outcome = accept(send_request, [draft]).outcomes[0]
        if not isinstance(outcome, Refusal):
            messages.success(request, _("Sent. What becomes of it shows up here by itself."))
            return redirect("message", organization_id, ids.public_id(ids.MESSAGE, outcome.id))
        for problem in outcome.problems:
            form.add_error("text" if problem.field == "message" else None, sentence(problem))
    context: dict[str, Any] = {"page": "overview", "form": form}
    return show_page(request, member, "messaging/dashboard/test_message.html", context)
