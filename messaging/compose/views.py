"""Compose: a message to one or many, reviewed before it is sent."""

import uuid
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts.access.page_access import FORM, POST, member_page, public_id
from accounts.access.post_limits import (
    LARGE_PREVIEW,
    LARGE_REVIEW,
    PREVIEW,
    PostLimit,
    limit_posts,
    refusal,
)
from accounts.credits.ledger import InsufficientCredits
from accounts.models import Balance, Member
from accounts.roles import Action, may
from accounts.ui.pages import show_page
from imissive.core import ids
from imissive.core.api.requests import client_address
from imissive.core.errors import ApiError
from imissive.core.problems import sentence
from messaging.compose import composer
from messaging.compose.composer import Assessment, ComposedMessage
from messaging.compose.forms import (
    VALUE,
    ComposeForm,
    list_of,
    template_of,
)
from messaging.models import ListEntry
from messaging.text import gsm_alternatives, variables

SHOWN_CHARACTERS = 16
SHOWN_REFUSED = 100
SHOWN_TEXTS = 5
MANY_CHARACTERS, MANY_ENTRIES = 10_000, 500
"""Limits for the numbers and the lists: above them a preview costs several times as much."""
_REWRITES = {"plain": gsm_alternatives.plain, "bare": gsm_alternatives.without_marks}


@member_page(Action.SEND, FORM)
@limit_posts(PREVIEW)
def compose(request: HttpRequest, member: Member) -> HttpResponse:
    """Show the form; a POST shows the review, or the form with a rewritten text."""
    if request.method != "POST":
        return _form_page(request, member, _form(member, initial=_initial(request, member)))
    refused = _refusal_of_many(request, member, LARGE_REVIEW)
    if refused is not None:
        return refused
    act = request.POST.get("act", "")
    if act in ("edit", "count", "template", *_REWRITES):
        return _form_page(request, member, _form(member, initial=_rewritten(member, request.POST)))
    form = _form(member, request.POST)
    if not form.is_valid():
        return _form_page(request, member, form)
    return _review(request, member, form)


@member_page(Action.SEND, POST)
@limit_posts(PREVIEW)
def estimate(request: HttpRequest, member: Member) -> HttpResponse:
    """Render the help beside the form while it is filled in, with the functions of the review."""
    refused = _refusal_of_many(request, member, LARGE_PREVIEW)
    if refused is not None:
        return refused
    act = request.POST.get("act", "")
    rewrites = act == "template" or act in _REWRITES
    data = _rewritten(member, request.POST) if rewrites else request.POST
    form = _form(member, data)
    form.is_valid()
    names = ",".join(variables.variables_of(form.text_now))
    context = {
        **_help_context(member, form),
        "form": form,
        "rewritten": rewrites,
        "asks_anew": rewrites or names != request.POST.get("names", ""),
        "organization_id": public_id(member.organization),
    }
    return render(request, "messaging/compose/parts/compose_said.html", context)


@member_page(Action.SEND, POST)
@limit_posts(PREVIEW)
def send_composed(request: HttpRequest, member: Member) -> HttpResponse:
    """Send the reviewed message once; show the review again where the cost has changed."""
    refused = _refusal_of_many(request, member, LARGE_REVIEW)
    if refused is not None:
        return refused
    form = _form(member, request.POST)
    form_id = _form_id(request)
    if form_id is None or not form.is_valid():
        return _form_page(request, member, form)
    composed = form.composed()
    try:
        reviewed = request.POST.get("seen")
        if (
            not composer.was_sent(member, form_id)
            and composer.assess(composed).fingerprint != reviewed
        ):
            raise composer.NothingAccepted
        sent = composer.send(member, composed, form_id, client_address(request))
    except InsufficientCredits:
        messages.error(request, _("The balance does not cover this. Nothing was sent."))
    except composer.NothingAccepted:
        messages.warning(request, _("This has changed meanwhile. Nothing was sent: look again."))
    except ApiError as error:
        messages.error(request, sentence(error.problem))
    else:
        if not sent.first:
            messages.warning(request, _("This was sent already. It was not sent again."))
        return _to_sent(request, member, composed, sent)
    return _review(request, member, form)


def _refusal_of_many(request: HttpRequest, member: Member, limit: PostLimit) -> HttpResponse | None:
    """Count a post about many recipients, and return the response if it exceeds the limit."""
    return refusal(request, limit, member) if _has_many(member, request.POST) else None


def _has_many(member: Member, data: QueryDict) -> bool:
    """Return whether evaluating the form would be expensive, without evaluating it."""
    if len(data.get("to", "")) > MANY_CHARACTERS:
        return True
    chosen = [ids.parse_id(ids.CONTACT_LIST, each) for each in data.getlist("lists")]
    entries = ListEntry.objects.filter(
        contact_list__organization=member.organization, contact_list__in=filter(None, chosen)
    )
    return bool(chosen) and entries[: MANY_ENTRIES + 1].count() > MANY_ENTRIES


def _form(member: Member, data: Any = None, initial: dict[str, Any] | None = None) -> ComposeForm:
    return ComposeForm(member.organization, member.user, data, initial)


def _initial(request: HttpRequest, member: Member) -> dict[str, Any]:
    """Return the initial values from other pages' links: numbers, a list, a template."""
    found: dict[str, Any] = {"to": request.GET.get("to", "").replace("\0", "")[:1000]}
    lists = member.organization.contact_lists.all()
    contact_list = list_of(list(lists), request.GET.get("list", ""))
    if contact_list is not None:
        found["lists"] = [contact_list.public_id]
    templates = list(member.organization.text_templates.all())
    template = template_of(templates, request.GET.get("template", ""))
    if template is not None:
        found["text"] = template.text
    return found


def _rewritten(member: Member, data: QueryDict) -> dict[str, Any]:
    """Return the form's values, with the rewritten text where one was requested."""
    found: dict[str, Any] = data.dict()
    found["lists"] = data.getlist("lists")
    text = found.get("text", "").replace("\r\n", "\n")
    act = found.get("act", "")
    if act in _REWRITES:
        text = _REWRITES[act](text)
    if act == "template":
        templates = list(member.organization.text_templates.all())
        template = template_of(templates, found.get("template", ""))
        text = template.text if template else text
    found["text"] = text
    return found


def _form_page(request: HttpRequest, member: Member, form: ComposeForm) -> HttpResponse:
    context = {"page": "compose", "form": form, **_help_context(member, form)}
    return show_page(request, member, "messaging/compose/compose.html", context)


def _help_context(member: Member, form: ComposeForm) -> dict[str, Any]:
    """Return the context of the help beside the form: preview, cost and problems."""
    if not form.is_bound:
        form = _form(member, {**form.initial})
    form.is_valid()
    composed = form.composed()
    recipients = composed.recipients.all
    values = recipients[0].values if recipients else form.values
    found = gsm_alternatives.advice(form.text_now, values)
    names = variables.variables_of(form.text_now)
    context: dict[str, Any] = {
        "advice": found,
        "characters": found.forcing[:SHOWN_CHARACTERS] if found else (),
        "more_characters": max(0, len(found.forcing) - SHOWN_CHARACTERS) if found else 0,
        "sender": composed.sender or (form.senders[0] if form.senders else "Test"),
        "variables": [(name, VALUE + name, form.values.get(name, "")) for name in names],
        "names": ",".join(names),
        "asked": composed,
        "assessment": None,
    }
    if recipients and composed.text:
        context |= _evaluation(member, composer.assess(composed))
    return context


def _evaluation(member: Member, assessment: Assessment) -> dict[str, Any]:
    balance = Balance.objects.filter(organization=member.organization).first()
    available = balance.micro if balance else 0
    return {
        "assessment": assessment,
        "available": available if may(member.role, Action.READ_CREDITS) else None,
        "left": available - assessment.price,
        "covered": assessment.price <= available,
        "problems": [(sentence(problem), count) for problem, count in assessment.problems],
        "sends_all": not assessment.refused,
    }


def _review(request: HttpRequest, member: Member, form: ComposeForm) -> HttpResponse:
    composed = form.composed()
    assessment = composer.assess(composed)
    evaluation = _evaluation(member, assessment)
    refused = [
        (opinion.draft.to, [sentence(problem) for problem in opinion.problems])
        for opinion in assessment.refused[:SHOWN_REFUSED]
    ]
    context = {
        "page": "compose",
        "form": form,
        **evaluation,
        "asked": composed,
        "sender": assessment.opinions[0].sender,
        "refused": refused,
        "more_refused": len(assessment.refused) - len(refused),
        "texts": composer.first_texts(assessment, SHOWN_TEXTS),
        "more_texts": max(0, len(assessment.accepted) - SHOWN_TEXTS),
        "once": str(_form_id(request) or ids.new_uuid()),
        "carried": _carried(request.POST),
    }
    return show_page(request, member, "messaging/compose/compose_review.html", context)


def _carried(data: QueryDict) -> list[tuple[str, str]]:
    """Return the form's values for the hidden fields of the review."""
    dropped = ("csrfmiddlewaretoken", "act", "once", "seen", "names", "template")
    return [(name, value) for name, found in data.lists() if name not in dropped for value in found]


def _form_id(request: HttpRequest) -> uuid.UUID | None:
    try:
        return uuid.UUID(request.POST.get("once", ""))
    except ValueError:
        return None


def _to_sent(
    request: HttpRequest, member: Member, composed: ComposedMessage, sent: composer.Sent
) -> HttpResponse:
    organization_id = public_id(member.organization)
    if sent.first and composed.scheduled_at is not None:
        messages.success(request, _("Scheduled. Until then it can be canceled."))
    elif sent.first and sent.message_id is not None:
        messages.success(request, _("Sent. What becomes of it shows up here by itself."))
    elif sent.first:
        messages.success(request, _("Sent. What becomes of them shows up here by itself."))
    if sent.message_id is not None:
        message_id = ids.public_id(ids.MESSAGE, sent.message_id)
        return redirect("message", organization_id, message_id)
    batch_id = ids.public_id(ids.BATCH, sent.batch_id or uuid.UUID(int=0))
    return redirect("batch", organization_id, batch_id)
