"""The pages of an import: choose a file, review its format and problems, import it."""

import uuid
from collections.abc import Iterable
from urllib.parse import urlencode

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.utils.translation import ngettext

from accounts.access.page_access import FORM, member_page
from accounts.access.post_limits import UPLOAD, limit_posts
from accounts.models import Member
from accounts.roles import Action
from accounts.ui import stored_files
from accounts.ui.pages import page_url, show_page, to_page
from imissive.core.problems import sentence
from imissive.core.spreadsheets import wants_workbook
from messaging.contacts import contacts, imports
from messaging.contacts.forms import ImportColumnsForm, ImportForm
from messaging.contacts.imports import Reading
from messaging.contacts.views import record, requested_list
from messaging.importing import csv_reader, problems
from messaging.importing.csv_reader import Shape
from messaging.importing.reasons import FileReason, NotUsable
from messaging.models import ContactList

SHOWN_REJECTED = 200


@member_page(Action.SEND, FORM)
@limit_posts(UPLOAD)
def import_contacts(request: HttpRequest, member: Member) -> HttpResponse:
    """Ask for a file or pasted rows; the next page shows their format."""
    form = ImportForm(request.POST, request.FILES) if request.method == "POST" else ImportForm()
    if form.is_bound and form.is_valid():
        kept = imports.keep(member.organization, form.pieces(form.cleaned_data["pasted"]))
        chosen = request.GET.get("list", "")
        query = urlencode({"list": chosen}) if chosen else ""
        return redirect(page_url(member, "import_columns", kept.id, query=query))
    context = {"page": "contacts", "tab": "contacts", "form": form}
    return show_page(request, member, "messaging/contacts/contacts_import.html", context)


@member_page(Action.SEND, FORM)
@limit_posts(UPLOAD)
def import_columns(request: HttpRequest, member: Member, upload_id: uuid.UUID) -> HttpResponse:
    """Show the file's format and its invalid rows; import the valid ones in one transaction."""
    organization = member.organization
    kept = imports.kept_import(organization, upload_id)
    if kept is None:  # imported already, or expired
        return to_page(member, "import_contacts")
    home = organization.default_country

    def pieces() -> Iterable[bytes]:
        return stored_files.read(kept)

    layout = imports.layout_of(pieces, home)
    form = _columns_form(request, member, layout, pieces)
    reading = Reading(pieces, form.chosen_country, home, form.layout)
    if form.is_bound and form.is_valid() and request.POST.get("act") == "import":
        try:
            into = _import(request, member, form, reading)
        except NotUsable as error:
            form.add_error("number_column", sentence(error.problem))
        else:
            kept.delete()
            return _to_imported(member, reading, into)
    preview = imports.preview(Reading(pieces, form.chosen_country, home, form.layout))
    context = {"page": "contacts", "tab": "contacts", "form": form, "layout": form.layout}
    first_failed = preview.rejected[: imports.SHOWN]
    failed = [(each, problems.in_words(each.kind, each.detail)) for each in first_failed]
    context |= {"preview": preview, "failed": failed, "suggested": preview.suggestion}
    if form.layout.number_column is None:
        context["no_column"] = sentence(FileReason.NO_NUMBER_COLUMN.problem())
    return show_page(request, member, "messaging/contacts/contacts_import_columns.html", context)


def _columns_form(
    request: HttpRequest, member: Member, layout: imports.Layout, pieces: imports.Pieces
) -> ImportColumnsForm:
    organization, lists = member.organization, list(contacts.lists_of(member.organization))
    if request.method != "POST":
        chosen = requested_list(request, member)
        return ImportColumnsForm(
            organization,
            lists,
            layout,
            country=organization.default_country,
            contact_list=chosen.public_id if chosen else "",
        )
    form = ImportColumnsForm(organization, lists, layout, request.POST)
    shape = form.shape()
    if shape is None:
        return form
    if shape != layout.shape:
        layout = imports.layout_of(pieces, organization.default_country, shape)
    if form.columns_are_of(shape):
        return ImportColumnsForm(organization, lists, layout, request.POST)
    # In that shape, the file may have other columns than the form offered.
    kept = {name: request.POST.get(name, "") for name in ("country", "contact_list", "new_list")}
    return ImportColumnsForm(organization, lists, layout, **kept)


@transaction.atomic
def _import(
    request: HttpRequest, member: Member, form: ImportColumnsForm, reading: Reading
) -> ContactList | None:
    """Import the valid rows and return their list. Raise NotUsable."""
    into = form.chosen_list()
    done = contacts.upsert(member.organization, reading.contacts(), into)
    record(
        request, member, "contacts.imported", into.name if into else "",
        added=done.added, known=done.known, rejected=len(reading.rejected),
    )  # fmt: skip
    _add_message(request, done)
    return into


def _add_message(request: HttpRequest, done: contacts.ImportCounts) -> None:
    added = ngettext("%(count)s contact is new", "%(count)s contacts are new", done.added)
    known = ngettext("%(count)s was known already", "%(count)s were known already", done.known)
    text = f"{added % {'count': f'{done.added:,}'}} · {known % {'count': f'{done.known:,}'}}"
    (messages.success if done.added + done.known else messages.warning)(request, text)


def _to_imported(member: Member, reading: Reading, into: ContactList | None) -> HttpResponse:
    if reading.rejected:
        kept = imports.keep_rejected(member.organization, reading.rejected, reading.layout)
        return to_page(member, "not_imported", kept.id)
    query = urlencode({"list": into.public_id}) if into is not None else ""
    return redirect(page_url(member, "contacts", query=query))


@member_page(Action.SEND)
def not_imported(request: HttpRequest, member: Member, file_id: uuid.UUID) -> HttpResponseBase:
    """Show the rows that an import skipped; with `download`, return all of them as a file."""
    kept = imports.read_rejected(member.organization, file_id)
    if kept is None:
        raise Http404
    if "download" in request.GET:
        return stored_files.download(kept, workbook=wants_workbook(request))
    rows = [row.cells[:4] for row in csv_reader.rows(stored_files.read(kept), Shape())]
    context = {
        "page": "contacts",
        "tab": "contacts",
        "rows": rows[:SHOWN_REJECTED],
        "count": len(rows),
        "more": max(0, len(rows) - SHOWN_REJECTED),
    }
    return show_page(request, member, "messaging/contacts/contacts_not_imported.html", context)
