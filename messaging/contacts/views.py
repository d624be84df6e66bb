"""The pages of contacts and their lists."""

import csv
import io
import uuid
from typing import Any

from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access.page_access import frame, member_page, public_id
from accounts.audit import trail
from accounts.models import Member
from accounts.roles import Action
from accounts.ui import stored_files
from accounts.ui.live_fragments import query_without
from imissive.core import ids
from imissive.core.api.requests import client_address
from imissive.core.logs import redact_text
from imissive.core.problems import sentence
from imissive.core.spreadsheets import csv_lines
from messaging.contacts import contacts, imports
from messaging.contacts.forms import ContactForm, ImportForm, ListForm
from messaging.contacts.imports import Reading
from messaging.importing.reasons import NotUsable
from messaging.log.keyset import page_asked_for
from messaging.models import Contact, ContactList

SHOWN_REJECTED = 200


@require_safe
@member_page(Action.READ_MESSAGES)
def contact_list_page(request: HttpRequest, member: Member) -> HttpResponse:
    """The contacts, newest first: all, of a list, or found by a number or a name."""
    chosen = _list_asked_for(request, member)
    words = request.GET.get("q", "").replace("\0", "").strip()[:120]
    found = contacts.search(member.organization, words, chosen)
    page = page_asked_for(found, request, ids.CONTACT)
    context = {
        "page": "contacts",
        "tab": "contacts",
        "found": page,
        "words": words,
        "chosen": chosen,
        "lists": contacts.lists_of(member.organization),
        "narrowed": bool(words or chosen),
        "query": query_without(request, "before", "after"),
    }
    return render(request, "messaging/contacts/contacts.html", {**frame(member), **context})


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Action.SEND)
def new_contact(request: HttpRequest, member: Member) -> HttpResponse:
    chosen = _list_asked_for(request, member)
    initial = {"lists": [chosen.public_id]} if chosen else None
    return _edit(request, member, None, initial)


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Action.SEND)
def change_contact(request: HttpRequest, member: Member, contact_id: str) -> HttpResponse:
    return _edit(request, member, _contact_of(member, contact_id))


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Action.SEND)
def remove_contact(request: HttpRequest, member: Member, contact_id: str) -> HttpResponse:
    """Ask first; a POST removes."""
    contact = _contact_of(member, contact_id)
    if request.method == "POST":
        with transaction.atomic():
            if contacts.contacts_of(member.organization).filter(pk=contact.pk).delete()[0]:
                _record(request, member, "contact.removed", redact_text(contact.number))
        messages.success(request, _("%(name)s was removed.") % {"name": contact})
        return _back(member)
    context = {
        "page": "contacts",
        "title": _("Remove %(name)s?") % {"name": contact},
        "text": _("From all lists too. Messages that were sent stay as they are."),
        "act": _("Remove"),
        "back": "contacts",
    }
    return render(request, "accounts/ui/confirm.html", {**frame(member), **context})


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Action.SEND)
def import_contacts(request: HttpRequest, member: Member) -> HttpResponse:
    """Takes in what can be read, all in one, and shows what could not."""
    lists = contacts.lists_of(member.organization)
    chosen = _list_asked_for(request, member)
    form = (
        ImportForm(member.organization, lists, request.POST, request.FILES)
        if request.method == "POST"
        else ImportForm(
            member.organization,
            lists,
            initial={"contact_list": chosen.public_id if chosen else ""},
        )
    )
    if form.is_bound and form.is_valid():
        reading = Reading(
            form.pieces(form.cleaned_data["pasted"]),
            form.cleaned_data["country"],
            member.organization.default_country,
        )
        try:
            with transaction.atomic():
                into = form.chosen_list()
                done = contacts.take_in(member.organization, reading.contacts(), into)
                _record(
                    request, member, "contacts.imported", into.name if into else "",
                    added=done.added, known=done.known, rejected=len(reading.rejected),
                )  # fmt: skip
        except NotUsable as error:
            field = "upload" if form.cleaned_data.get("upload") else "pasted"
            form.add_error(field, sentence(error.problem))
        else:
            _tell_imported(request, done)
            return _to_imported(member, reading, into)
    context = {"page": "contacts", "tab": "contacts", "form": form}
    return render(request, "messaging/contacts/contacts_import.html", {**frame(member), **context})


def _tell_imported(request: HttpRequest, done: contacts.TakenIn) -> None:
    added = ngettext("%(count)s contact is new", "%(count)s contacts are new", done.added)
    known = ngettext("%(count)s was known already", "%(count)s were known already", done.known)
    told = f"{added % {'count': f'{done.added:,}'}} · {known % {'count': f'{done.known:,}'}}"
    (messages.success if done.added + done.known else messages.warning)(request, told)


def _to_imported(member: Member, reading: Reading, into: ContactList | None) -> HttpResponse:
    organization_id = public_id(member.organization)
    if reading.rejected:
        kept = imports.keep_rejected(member.organization, reading.rejected)
        return redirect("not_imported", organization_id, kept.id)
    back = redirect("contacts", organization_id)
    if into is not None:
        back["Location"] += f"?list={into.public_id}"
    return back


@require_safe
@member_page(Action.SEND)
def not_imported(request: HttpRequest, member: Member, file_id: uuid.UUID) -> HttpResponseBase:
    """What an import left out, row by row; with `download`, all of it as a file."""
    kept = imports.read_rejected(member.organization, file_id)
    if kept is None:
        raise Http404
    if "download" in request.GET:
        return stored_files.download(kept)
    text = b"".join(stored_files.read(kept)).decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(text)))[1:]
    context = {
        "page": "contacts",
        "tab": "contacts",
        "rows": rows[:SHOWN_REJECTED],
        "count": len(rows),
        "more": max(0, len(rows) - SHOWN_REJECTED),
    }
    return render(
        request, "messaging/contacts/contacts_not_imported.html", {**frame(member), **context}
    )


@require_POST
@member_page(Action.SEND)
def export_contacts(request: HttpRequest, member: Member) -> HttpResponseBase:
    """The contacts that the page shows, all pages of them, as CSV."""
    organization = member.organization
    chosen = _list_of(member, request.POST.get("list", ""))
    words = request.POST.get("q", "").replace("\0", "").strip()[:120]
    found = contacts.search(organization, words, chosen)
    _record(request, member, "contacts.exported", chosen.name if chosen else "")
    rows = contacts.rows_to_export(found, contacts.field_names(organization))
    response = StreamingHttpResponse(csv_lines(rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="contacts.csv"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Action.READ_MESSAGES)
def contact_lists(request: HttpRequest, member: Member) -> HttpResponse:
    """The lists; a POST makes one, for who may."""
    lists = contacts.lists_of(member.organization)
    may_make = frame(member)["can"][Action.SEND.value]
    form = ListForm(member.organization, request.POST if request.method == "POST" else None)
    if form.is_bound and may_make and form.is_valid():
        if lists.count() >= contacts.MOST_LISTS:
            form.add_error(
                "name", _("Remove lists first: there are %(most)s.") % {"most": contacts.MOST_LISTS}
            )
        elif _save_list(request, member, form):
            return redirect("contact_lists", public_id(member.organization))
    context = {"page": "contacts", "tab": "lists", "lists": lists, "form": form}
    return render(request, "messaging/contacts/contact_lists.html", {**frame(member), **context})


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Action.SEND)
def change_list(request: HttpRequest, member: Member, list_id: str) -> HttpResponse:
    contact_list = _list_or_404(member, list_id)
    data = request.POST if request.method == "POST" else None
    form = ListForm(member.organization, data, contact_list)
    if form.is_bound and form.is_valid() and _save_list(request, member, form):
        return redirect("contact_lists", public_id(member.organization))
    context = {"page": "contacts", "tab": "lists", "form": form, "contact_list": contact_list}
    return render(request, "messaging/contacts/contact_list.html", {**frame(member), **context})


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Action.SEND)
def remove_list(request: HttpRequest, member: Member, list_id: str) -> HttpResponse:
    """Ask first; a POST removes the list, and leaves who is on it."""
    contact_list = _list_or_404(member, list_id)
    if request.method == "POST":
        with transaction.atomic():
            if ContactList.objects.filter(pk=contact_list.pk).delete()[0]:
                _record(request, member, "contact_list.removed", contact_list.name)
        messages.success(request, _("%(name)s was removed.") % {"name": contact_list})
        return redirect("contact_lists", public_id(member.organization))
    context = {
        "page": "contacts",
        "title": _("Remove %(name)s?") % {"name": contact_list},
        "text": _("Only the list goes: its contacts stay."),
        "act": _("Remove"),
        "back": "contact_lists",
    }
    return render(request, "accounts/ui/confirm.html", {**frame(member), **context})


def _edit(
    request: HttpRequest,
    member: Member,
    contact: Contact | None,
    initial: dict[str, Any] | None = None,
) -> HttpResponse:
    lists = contacts.lists_of(member.organization)
    data = request.POST if request.method == "POST" else None
    form = ContactForm(member.organization, lists, data, contact, initial)
    if form.is_bound and not form.is_valid() and form.is_saved_already():
        return _back(member)
    if form.is_bound and form.is_valid():
        try:
            saved = _save_contact(request, member, form)
        except IntegrityError:
            form.add_error("number", _("There is a contact with that number already."))
        else:
            messages.success(request, _("%(name)s is saved.") % {"name": saved})
            return _back(member)
    context = {"page": "contacts", "tab": "contacts", "form": form, "contact": contact}
    return render(request, "messaging/contacts/contact.html", {**frame(member), **context})


@transaction.atomic
def _save_contact(request: HttpRequest, member: Member, form: ContactForm) -> Contact:
    asked = form.cleaned_data
    contact = form.contact or Contact(organization=member.organization)
    contact.number, contact.name = asked["number"], asked["name"]
    contact.fields = asked["fields_text"]
    contact.save()
    contacts.set_lists(contact, form.chosen_lists())
    act = "contact.changed" if form.contact else "contact.added"
    _record(request, member, act, redact_text(contact.number))
    return contact


def _save_list(request: HttpRequest, member: Member, form: ListForm) -> bool:
    """False where another list took the name meanwhile, which is told at the field."""
    contact_list = form.contact_list or ContactList(organization=member.organization)
    contact_list.name = form.cleaned_data["name"]
    act = "contact_list.renamed" if form.contact_list else "contact_list.added"
    try:
        with transaction.atomic():
            contact_list.save()
            _record(request, member, act, contact_list.name)
    except IntegrityError:
        form.add_error("name", _("There is a list of that name already."))
        return False
    messages.success(request, _("%(name)s is saved.") % {"name": contact_list})
    return True


def _contact_of(member: Member, contact_id: str) -> Contact:
    wanted = ids.parse_id(ids.CONTACT, contact_id)
    mine = contacts.contacts_of(member.organization)
    found = mine.filter(pk=wanted).first() if wanted else None
    if found is None:
        raise Http404
    return found


def _list_asked_for(request: HttpRequest, member: Member) -> ContactList | None:
    return _list_of(member, request.GET.get("list", ""))


def _list_of(member: Member, list_id: str) -> ContactList | None:
    wanted = ids.parse_id(ids.CONTACT_LIST, list_id)
    mine = ContactList.objects.filter(organization=member.organization)
    return mine.filter(pk=wanted).first() if wanted else None


def _list_or_404(member: Member, list_id: str) -> ContactList:
    found = _list_of(member, list_id)
    if found is None:
        raise Http404
    return found


def _record(request: HttpRequest, member: Member, act: str, target: str, **detail: int) -> None:
    trail.record(
        act,
        actor=member.user,
        organization=member.organization,
        target=target,
        detail=detail,
        address=client_address(request),
    )


def _back(member: Member) -> HttpResponse:
    return redirect("contacts", public_id(member.organization))
