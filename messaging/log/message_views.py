"""The page of a message: its timeline and failure reason, cancel and resend."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from accounts.access.page_access import FORM, member_page, object_or_404, public_id
from accounts.audit import trail
from accounts.credits.ledger import InsufficientCredits
from accounts.models import LedgerEntry, Member
from accounts.roles import Action, may
from accounts.ui.live_fragments import live_page
from accounts.ui.pages import confirmation_page, page_url, show_page
from accounts.ui.single_use_forms import SingleUseForm
from imissive.core import ids
from imissive.core.api.requests import client_address
from imissive.core.countries import name_of
from imissive.core.errors import ApiError
from imissive.core.problems import sentence
from messaging.log import pages, timeline
from messaging.log import resend as message_resend
from messaging.log.failure_reasons import reason_of
from messaging.log.sources import source_name
from messaging.models import Message
from messaging.sending import cancel
from messaging.states import CANCELABLE


@member_page(Action.READ_MESSAGES)
def message_page(request: HttpRequest, member: Member, message_id: str) -> HttpResponse:
    """Show a message with its timeline; the page updates automatically until it is settled."""
    message = message_for(member, message_id)
    may_send = may(member.role, Action.SEND)
    context = {
        "page": "messages",
        "message": message,
        "reason": reason_of(message),
        "refunded": _refunded(message),
        "timeline": timeline.steps_of(message),
        "live": not timeline.is_settled(message),
        "query": "",
        "source": source_name(message),
        "country": name_of(message.country),
        "cancelable": may_send and message.status in CANCELABLE,
        "resendable": may_send and message_resend.may_be_resent(message),
    }
    return live_page(request, member, "messaging/log/message", "message_body", context)


def message_for(member: Member, message_id: str) -> Message:
    """Return the message of the member's organization with that public id. Raises Http404."""
    mine = pages.messages_of(member.organization).select_related("batch", "api_key", "carrier")
    return object_or_404(mine, ids.MESSAGE, message_id)


def _refunded(message: Message) -> int:
    """Return the message's refund in micro-credits, 0 without one."""
    refund = LedgerEntry.objects.filter(
        organization=message.organization_id, kind=LedgerEntry.Kind.REFUND, reference=message.id
    ).first()
    return refund.amount if refund else 0


@member_page(Action.SEND, FORM)
def cancel_message(request: HttpRequest, member: Member, message_id: str) -> HttpResponse:
    """Ask for confirmation; a POST cancels the message if no carrier has it yet."""
    message = message_for(member, message_id)
    back = page_url(member, "message", message_id)
    if request.method == "POST":
        try:
            with transaction.atomic():
                cancel.cancel(member.organization_id, message.id, test=None)
                trail.record(
                    "message.canceled",
                    actor=member.user,
                    organization=member.organization,
                    target=message_id,
                    address=client_address(request),
                )
        except ApiError:
            messages.error(request, _("It cannot be canceled any more: it is on its way or over."))
        else:
            messages.success(request, _("Canceled. Its credits came back."))
        return redirect(back)
    return confirmation_page(
        request,
        member,
        page="messages",
        title=_("Cancel this message?"),
        text=_("It is not sent, and its credits come back. It cannot be undone."),
        button=_("Cancel the message"),
        back=back,
    )


@member_page(Action.SEND, FORM)
def resend(request: HttpRequest, member: Member, message_id: str) -> HttpResponse:
    """Show the evaluation of the same message; a POST sends it again, as a new message."""
    message = message_for(member, message_id)
    organization_id = public_id(member.organization)
    if not message_resend.may_be_resent(message):
        messages.error(request, _("A one-time password is not sent again: ask for a new one."))
        return redirect("message", organization_id, message_id)
    form = SingleUseForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        return _send_again(request, member, message, form)
    context = {
        "page": "messages",
        "message": message,
        "form": SingleUseForm(),
        "evaluation": message_resend.evaluation(message),
        "source": message.public_id,
    }
    return show_page(request, member, "messaging/log/resend.html", context)


def _send_again(
    request: HttpRequest, member: Member, message: Message, form: SingleUseForm
) -> HttpResponse:
    organization_id = public_id(member.organization)
    if not form.is_first():
        messages.warning(request, _("It was sent already. The newest message to the number is it."))
        return redirect("message", organization_id, message.public_id)
    try:
        with form.usable_after_failure():
            sent = message_resend.resend(message, member, client_address(request))
    except ApiError as error:
        messages.error(request, sentence(error.problem))
        return redirect("resend_message", organization_id, message.public_id)
    except InsufficientCredits:
        sent = None
    if sent is None:
        # The page says why, because it shows the same evaluation.
        messages.error(request, _("It was not sent."))
        return redirect("resend_message", organization_id, message.public_id)
    messages.success(request, _("Sent. What becomes of it shows up here by itself."))
    return redirect("message", organization_id, ids.public_id(ids.MESSAGE, sent))
