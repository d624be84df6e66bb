"""The pages of contacts and their lists."""

from typing import Any

from django.contrib import messages
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
)
from django.utils.translation import gettext as _

from accounts.access.page_access import FORM, POST, member_page, object_or_404
from accounts.access.post_limits import DOWNLOAD, limit_posts
from accounts.audit import trail
from accounts.models import Member
from accounts.roles import Action, may
from accounts.ui.live_fragments import query_without
from accounts.ui.pages import confirmation_page, page_url, show_page, to_page
from imissive.core import ids
from imissive.core.api.requests import client_address
from imissive.core.logs import redact_text
from imissive.core.lookups import row_of
from imissive.core.spreadsheets import download, wants_workbook
from messaging.contacts import contacts
from messaging.contacts.forms import ContactForm, ListForm
from messaging.log.keyset import requested_page
from messaging.models import Contact, ContactList


@member_page(Action.READ_MESSAGES)
def contact_list_page(request: HttpRequest, member: Member) -> HttpResponse:
    """Show the contacts, newest first: all, those of a list, or those that match a search."""
    chosen = requested_list(request, member)
    words = request.GET.get("q", "").replace("\0", "").strip()[:120]
    found = contacts.search(member.organization, words, chosen)
    page = requested_page(found, request, ids.CONTACT)
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
    return show_page(request, member, "messaging/contacts/contacts.html", context)


@member_page(Action.SEND, FORM)
def new_contact(request: HttpRequest, member: Member) -> HttpResponse:
    chosen = requested_list(request, member)
    initial = {"lists": [chosen.public_id]} if chosen else None
    return _edit(request, member, None, initial)


@member_page(Action.SEND, FORM)
def change_contact(request: HttpRequest, member: Member, contact_id: str) -> HttpResponse:
    return _edit(request, member, _contact_of(member, contact_id))


@member_page(Action.SEND, FORM)
def remove_contact(request: HttpRequest, member: Member, contact_id: str) -> HttpResponse:
    """Ask for confirmation; a POST removes the contact."""
    contact = _contact_of(member, contact_id)
    if request.method == "POST":
        with transaction.atomic():
            if contacts.contacts_of(member.organization).filter(pk=contact.pk).delete()[0]:
                record(request, member, "contact.removed", redact_text(contact.number))
        messages.success(request, _("%(name)s was removed.") % {"name": contact})
        return _back(member)
    return confirmation_page(
        request,
        member,
        page="contacts",
        title=_("Remove %(name)s?") % {"name": contact},
        text=_("From all lists too. Messages that were sent stay as they are."),
        button=_("Remove"),
        back=page_url(member, "contacts"),
    )


@member_page(Action.SEND, POST)
@limit_posts(DOWNLOAD)
def export_contacts(request: HttpRequest, member: Member) -> HttpResponseBase:
    """Download the contacts that the page shows, all pages of them, as CSV or XLSX."""
    organization = member.organization
    chosen = _list_of(member, request.POST.get("list", ""))
    words = request.POST.get("q", "").replace("\0", "").strip()[:120]
    found = contacts.search(organization, words, chosen)
    record(request, member, "contacts.exported", chosen.name if chosen else "")
    names = contacts.field_names(organization)
    rows = contacts.rows_to_export(found, names, grouped=not wants_workbook(request))
    return download(request, "contacts", rows)


@member_page(Action.READ_MESSAGES, FORM)
def contact_lists(request: HttpRequest, member: Member) -> HttpResponse:
    """Show the lists; a POST creates one, if the member has the permission."""
    lists = contacts.lists_of(member.organization)
    may_create = may(member.role, Action.SEND)
    form = ListForm(member.organization, request.POST if request.method == "POST" else None)
    if form.is_bound and may_create and form.is_valid():
        if lists.count() >= contacts.MOST_LISTS:
            form.add_error(
                "name", _("Remove lists first: there are %(most)s.") % {"most": contacts.MOST_LISTS}
            )
        elif _save_list(request, member, form):
            return to_page(member, "contact_lists")
    context = {"page": "contacts", "tab": "lists", "lists": lists, "form": form}
    return show_page(request, member, "messaging/contacts/contact_lists.html", context)


@member_page(Action.SEND, FORM)
def change_list(request: HttpRequest, member: Member, list_id: str) -> HttpResponse:
    contact_list = _list_or_404(member, list_id)
    data = request.POST if request.method == "POST" else None
    form = ListForm(member.organization, data, contact_list)
    if form.is_bound and form.is_valid() and _save_list(request, member, form):
        return to_page(member, "contact_lists")
    context = {"page": "contacts", "tab": "lists", "form": form, "contact_list": contact_list}
    return show_page(request, member, "messaging/contacts/contact_list.html", context)


@member_page(Action.SEND, FORM)
def remove_list(request: HttpRequest, member: Member, list_id: str) -> HttpResponse:
    """Ask for confirmation; a POST removes the list, but not its contacts."""
    contact_list = _list_or_404(member, list_id)
    if request.method == "POST":
        with transaction.atomic():
            if ContactList.objects.filter(pk=contact_list.pk).delete()[0]:
                record(request, member, "contact_list.removed", contact_list.name)
        messages.success(request, _("%(name)s was removed.") % {"name": contact_list})
        return to_page(member, "contact_lists")
    return confirmation_page(
        request,
        member,
        page="contacts",
        title=_("Remove %(name)s?") % {"name": contact_list},
        text=_("Only the list goes: its contacts stay."),
        button=_("Remove"),
        back=page_url(member, "contact_lists"),
    )


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
    return show_page(request, member, "messaging/contacts/contact.html", context)


@transaction.atomic
def _save_contact(request: HttpRequest, member: Member, form: ContactForm) -> Contact:
    cleaned = form.cleaned_data
    contact = form.contact or Contact(organization=member.organization)
    contact.number, contact.name = cleaned["number"], cleaned["name"]
    contact.fields = cleaned["fields_text"]
    contact.save()
    contacts.set_lists(contact, form.chosen_lists())
    action = "contact.changed" if form.contact else "contact.added"
    record(request, member, action, redact_text(contact.number))
    return contact


def _save_list(request: HttpRequest, member: Member, form: ListForm) -> bool:
    """Save the list; return False, with an error at the field, if the name was just taken."""
    contact_list = form.contact_list or ContactList(organization=member.organization)
    contact_list.name = form.cleaned_data["name"]
    action = "contact_list.renamed" if form.contact_list else "contact_list.added"
    try:
        with transaction.atomic():
            contact_list.save()
            record(request, member, action, contact_list.name)
    except IntegrityError:
        form.add_error("name", _("There is a list of that name already."))
        return False
    messages.success(request, _("%(name)s is saved.") % {"name": contact_list})
    return True


def _contact_of(member: Member, contact_id: str) -> Contact:
    return object_or_404(contacts.contacts_of(member.organization), ids.CONTACT, contact_id)


def requested_list(request: HttpRequest, member: Member) -> ContactList | None:
    return _list_of(member, request.GET.get("list", ""))


def _list_of(member: Member, list_id: str) -> ContactList | None:
    return row_of(_lists_of(member), ids.parse_id(ids.CONTACT_LIST, list_id))


def _list_or_404(member: Member, list_id: str) -> ContactList:
    return object_or_404(_lists_of(member), ids.CONTACT_LIST, list_id)


def _lists_of(member: Member) -> QuerySet[ContactList]:
    return ContactList.objects.filter(organization=member.organization)


def record(request: HttpRequest, member: Member, action: str, target: str, **detail: int) -> None:
    trail.record(
        action,
        actor=member.user,
        organization=member.organization,
        target=target,
        detail=detail,
        address=client_address(request),
    )


def _back(member: Member) -> HttpResponse:
    return to_page(member, "contacts")
