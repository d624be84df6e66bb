"""An organization's contacts and contact lists: search, import and export."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Count, Q, QuerySet

from accounts.models import Organization
from imissive.core import ids
from imissive.core.sql import server_cursor
from messaging.contacts.reasons import ContactReason
from messaging.importing.reasons import NotUsable
from messaging.models import Contact, ContactList, ListEntry
from messaging.numbers import e164
from messaging.numbers.written import search_terms

MOST_FIELDS = 20
MAX_VALUE = 500
MAX_NAME = 120
MOST_LISTS = 500
MOST_CONTACTS = 1_000_000
"""The maximum number of contacts of an organization."""
_STEP = 2_000


@dataclass(frozen=True, slots=True)
class NewContact:
    """A contact to import: `number` in E.164."""

    number: str
    name: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class ImportCounts:
    """The numbers of contacts that were created and that were updated."""

    added: int = 0
    known: int = 0


def contacts_of(organization: Organization) -> QuerySet[Contact]:
    return Contact.objects.filter(organization=organization)


def search(
    organization: Organization, words: str = "", contact_list: ContactList | None = None
) -> QuerySet[Contact]:
    """Return the organization's contacts, of that list if given, that match a search.

    They match by a full number in any spelling, by some of its digits, or by a part of the name.
    """
    contacts = contacts_of(organization)
    if contact_list is not None:
        contacts = contacts.filter(entries__contact_list=contact_list)
    if not words:
        return contacts
    number, digits = search_terms(words, organization.default_country)
    if number:
        return contacts.filter(number=number)
    matches = Q(name__icontains=words)
    if digits and not any(each.isalpha() for each in words):
        matches |= Q(number__contains=digits)
    return contacts.filter(matches)


def lists_of(organization: Organization) -> QuerySet[ContactList]:
    """Return the organization's lists by name, each with its number of contacts as `size`."""
    lists = ContactList.objects.filter(organization=organization)
    return lists.annotate(size=Count("entries")).order_by("name", "id")


_UPSERT = """
INSERT INTO messaging_contact AS old (id, organization_id, number, name, fields)
SELECT new.id, %(organization)s, new.number, new.name, new.fields::jsonb
  FROM unnest(%(ids)b::uuid[], %(numbers)b::text[], %(names)b::text[], %(fields)b::text[])
       AS new(id, number, name, fields)
    ON CONFLICT (organization_id, number) DO UPDATE
   SET name = CASE WHEN EXCLUDED.name = '' THEN old.name ELSE EXCLUDED.name END,
       fields = old.fields || EXCLUDED.fields
RETURNING id, xmax = 0
"""
_ENTRIES = """
INSERT INTO messaging_listentry (contact_list_id, contact_id)
SELECT %(list)s, contact FROM unnest(%(contacts)b::uuid[]) AS contact
    ON CONFLICT (contact_list_id, contact_id) DO NOTHING
"""


@transaction.atomic
def upsert(
    organization: Organization,
    new_contacts: Iterable[NewContact],
    contact_list: ContactList | None = None,
) -> ImportCounts:
    """Create or update these contacts, whose numbers must be unique, and add them to the list.

    An existing contact keeps its name if none is given, and the values of other variables. Raises
    NotUsable if that would be more than MOST_CONTACTS.
    """
    # One import at a time, so that concurrent ones count together.
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    done = ImportCounts()
    for step in _steps(new_contacts):
        with server_cursor() as cursor:
            cursor.execute(_UPSERT, _columns(organization, step))
            rows = cursor.fetchall()
            added = sum(new for _, new in rows)
            done.added += added
            done.known += len(rows) - added
            if contact_list is not None:
                contacts = [row[0] for row in rows]
                cursor.execute(_ENTRIES, {"list": contact_list.id, "contacts": contacts})
    if done.added:
        check_room(organization)
    return done


def check_room(organization: Organization, *, more: int = 0) -> None:
    """Raise NotUsable if the organization would have too many contacts with `more` added."""
    if contacts_of(organization).count() + more > MOST_CONTACTS:
        raise NotUsable(ContactReason.TOO_MANY.problem(most=f"{MOST_CONTACTS:,}"))


def _steps(new_contacts: Iterable[NewContact]) -> Iterator[list[NewContact]]:
    step: list[NewContact] = []
    for contact in new_contacts:
        step.append(contact)
        if len(step) == _STEP:
            yield step
            step = []
    if step:
        yield step


def _columns(organization: Organization, step: Sequence[NewContact]) -> dict[str, Any]:
    return {
        "organization": organization.id,
        "ids": [ids.new_uuid() for _ in step],
        "numbers": [contact.number for contact in step],
        "names": [contact.name for contact in step],
        "fields": [json.dumps(dict(contact.fields)) for contact in step],
    }


def set_lists(contact: Contact, lists: Sequence[ContactList]) -> None:
    """Put the contact on exactly these lists."""
    entries = ListEntry.objects.filter(contact=contact)
    entries.exclude(contact_list__in=lists).delete()
    ListEntry.objects.bulk_create(
        [ListEntry(contact_list=each, contact=contact) for each in lists], ignore_conflicts=True
    )


def rows_to_export(
    contacts: QuerySet[Contact], names: Sequence[str], *, grouped: bool
) -> Iterator[list[str]]:
    """Yield a heading, then a row for each contact, newest first, with those variables' values.

    `grouped` writes numbers in groups, for CSV files: a spreadsheet treats +966501234567 as a
    quantity, and displays it as 9.66501E+11.
    """
    yield ["number", "name", *names]
    for contact in contacts.order_by("-pk").iterator(_STEP):
        number = e164.in_groups(contact.number) if grouped else contact.number
        yield [number, contact.name, *(str(contact.fields.get(name, "")) for name in names)]


def field_names(organization: Organization) -> list[str]:
    """Return the names of all variables that the organization's contacts have values for."""
    with server_cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT jsonb_object_keys(fields) FROM messaging_contact"
            " WHERE organization_id = %s",
            [organization.id],
        )
        return sorted(row[0] for row in cursor.fetchall())
