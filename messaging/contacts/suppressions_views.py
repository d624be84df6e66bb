"""The pages of the suppression list."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.access.page_access import FORM, member_page, public_id
from accounts.access.post_limits import UPLOAD, limit_posts
from accounts.audit import trail
from accounts.models import Member
from accounts.roles import Action
from accounts.ui.live_fragments import query_without
from accounts.ui.pages import confirmation_page, page_url, show_page
from imissive.core import ids
from imissive.core.api.requests import client_address
from imissive.core.errors import ApiError
from imissive.core.problems import sentence
from messaging.contacts import imports, suppressions
from messaging.contacts.forms import SuppressForm
from messaging.contacts.imports import Reading, Rejected
from messaging.importing.problems import of_refusal
from messaging.importing.reasons import FileReason, NotUsable
from messaging.log.keyset import requested_page
from messaging.models import Suppression
from messaging.numbers.written import search_terms


@member_page(Action.READ_MESSAGES)
def suppression_list(request: HttpRequest, member: Member) -> HttpResponse:
    """Show the numbers, newest first, or those that a search finds.

    They are those of live mode, or with `mode=test` of test mode.
    """
    test = _in_test(request)
    entries = Suppression.objects.filter(organization=member.organization, test=test)
    words = request.GET.get("q", "").replace("\0", "").strip()[:64]
    if words:
        number, digits = search_terms(words, member.organization.default_country)
        if number:
            entries = entries.filter(number=number)
        else:
            entries = entries.filter(number__contains=digits) if digits else entries.none()
    context = {
        "page": "contacts",
        "tab": "suppressions",
        "found": requested_page(entries, request, ids.SUPPRESSION),
        "words": words,
        "test": test,
        "any_test": Suppression.objects.filter(
            organization=member.organization, test=True
        ).exists(),
        "query": query_without(request, "before", "after"),
    }
    return show_page(request, member, "messaging/contacts/suppressions.html", context)


@member_page(Action.SEND, FORM)
@limit_posts(UPLOAD)
def add_suppressions(request: HttpRequest, member: Member) -> HttpResponse:
    """Ask for numbers; a POST adds them to the list and cancels the pending messages to them."""
    given = (request.POST, request.FILES) if request.method == "POST" else ()
    form = SuppressForm(member.organization, *given)
    if form.is_bound and form.is_valid():
        try:
            return _add(request, member, form)
        except NotUsable as error:
            form.add_error("upload", sentence(error.problem))
        except ApiError as error:
            form.add_error("numbers", sentence(error.problem))
    context = {"page": "contacts", "tab": "suppressions", "form": form}
    return show_page(request, member, "messaging/contacts/suppressions_add.html", context)


def _add(request: HttpRequest, member: Member, form: SuppressForm) -> HttpResponse:
    """Add the numbers. Raise NotUsable or ApiError if none of them is valid."""
    organization, rejected, layout = member.organization, list[Rejected](), None
    written = form.written()
    if form.cleaned_data.get("upload"):
        home = organization.default_country
        reading = Reading(form.pieces(""), home, home)
        written += [contact.number for contact in reading.contacts()]
        rejected, layout = reading.rejected, reading.layout
    if not written:
        raise NotUsable(FileReason.NO_NUMBERS.problem())
    done = suppressions.add(
        organization.id,
        written,
        form.cleaned_data["reason"],
        source=suppressions.Source.DASHBOARD,
        home=organization.default_country,
        test=False,
    )
    rejected += [
        Rejected(position, number[:64], *of_refusal(problem))
        for position, (number, problem) in enumerate(done.rejected, 1)
    ]
    trail.record(
        "suppressions.added",
        actor=member.user,
        organization=organization,
        detail={"added": done.added, "known": done.known, "canceled": done.canceled},
        address=client_address(request),
    )
    _add_message(request, done)
    if rejected:
        kept = imports.keep_rejected(organization, rejected, layout)
        return redirect("not_imported", public_id(organization), kept.id)
    return redirect("suppressions", public_id(organization))


def _add_message(request: HttpRequest, done: suppressions.Added) -> None:
    added = ngettext("%(count)s number is new", "%(count)s numbers are new", done.added)
    known = ngettext("%(count)s was known already", "%(count)s were known already", done.known)
    texts = [added % {"count": f"{done.added:,}"}, known % {"count": f"{done.known:,}"}]
    if done.canceled:
        canceled = ngettext(
            "%(count)s waiting message was canceled",
            "%(count)s waiting messages were canceled",
            done.canceled,
        )
        texts.append(canceled % {"count": f"{done.canceled:,}"})
    messages.success(request, " · ".join(texts))


@member_page(Action.SEND, FORM)
def remove_suppression(request: HttpRequest, member: Member, number: str) -> HttpResponse:
    """Ask for confirmation; a POST removes the number from the list."""
    try:
        suppression = suppressions.find(
            member.organization_id, number, home="", test=_in_test(request)
        )
        if request.method == "POST":
            suppressions.remove(suppression, actor=member.user, address=client_address(request))
    except ApiError:
        raise Http404 from None
    if request.method == "POST":
        done = _("Messages may go to %(number)s again.") % {"number": suppression.number}
        messages.success(request, done)
        return redirect(_list_url(member, test=suppression.test))
    return confirmation_page(
        request,
        member,
        page="contacts",
        title=_("Write to %(number)s again?") % {"number": suppression.number},
        text=_("Only when its owner has asked for it."),
        button=_("Write again"),
        back=_list_url(member, test=suppression.test),
    )


def _in_test(request: HttpRequest) -> bool:
    return request.GET.get("mode") == "test"


def _list_url(member: Member, *, test: bool) -> str:
    return page_url(member, "suppressions", query="mode=test" if test else "")
