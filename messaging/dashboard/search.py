"""Messaging's finder for the dashboard's search: by id, number, reference, sender ID and name."""

from collections.abc import Callable
from urllib.parse import urlencode

from django.db.models import Model, QuerySet
from django.utils.translation import gettext as _

from accounts.models import Member
from accounts.roles import Action, may
from accounts.ui.pages import page_url
from accounts.ui.search import (
    AT_MOST,
    SHORTEST_NAME,
    Hit,
)
from imissive.core import ids
from imissive.core.lookups import row_of
from messaging.log import pages
from messaging.log import query as message_query
from messaging.log.failure_reasons import STATUS_LABELS
from messaging.models import (
    Batch,
    Campaign,
    Contact,
    Export,
    Message,
    SenderId,
    Suppression,
    TextTemplate,
)
from messaging.numbers.written import search_terms
from messaging.sending.evaluation import MAX_REFERENCE

MIN_DIGITS = 4
"""The least digits of a part of a number: fewer would find too much."""


def find(member: Member, text: str) -> list[Hit]:
    """Return what the text finds in the organization, as far as the member's role may see it."""
    prefix = text.partition("_")[0]
    if prefix in _BY_ID:
        return _BY_ID[prefix](member, text)
    return [
        *_by_number(member, text),
        *_by_reference(member, text),
        *_senders(member, text),
        *_named(member, text),
    ]


def _message(member: Member, text: str) -> list[Hit]:
    parsed = ids.parse_id(ids.MESSAGE, text)
    message = row_of(pages.messages_of(member.organization), parsed)
    return [message_hit(member, message)] if message else []


def message_hit(member: Member, message: Message) -> Hit:
    """Return a message as a search result."""
    label = str(STATUS_LABELS.get(message.status, message.status))
    url = page_url(member, "message", message.public_id)
    detail = f"{label} · {message.sender} · {message.public_id}"
    return Hit(_("Messages"), message.to, url, detail, left_to_right=True)


def _batch(member: Member, text: str) -> list[Hit]:
    return _one(member, text, ids.BATCH, Batch.objects.all(), _("Batches"), "batch")


def _export(member: Member, text: str) -> list[Hit]:
    found = _one(member, text, ids.EXPORT, Export.objects.all(), _("Exports"), "fetch_export")
    return [Hit(hit.kind, hit.title, page_url(member, "exports") + f"#{text}") for hit in found]


def _campaign(member: Member, text: str) -> list[Hit]:
    return _one(member, text, ids.CAMPAIGN, Campaign.objects.all(), _("Campaigns"), "campaign")


def _sender(member: Member, text: str) -> list[Hit]:
    return _one(member, text, ids.SENDER, SenderId.objects.all(), _("Sender IDs"), "sender_id")


def _template(member: Member, text: str) -> list[Hit]:
    if not may(member.role, Action.SEND):
        return []
    return _one(member, text, ids.TEMPLATE, TextTemplate.objects.all(), _("Templates"), "template")


def _contact(member: Member, text: str) -> list[Hit]:
    parsed = ids.parse_id(ids.CONTACT, text)
    if parsed is None:
        return []
    mine = Contact.objects.filter(organization=member.organization, id=parsed)
    return [_contact_hit(member, contact) for contact in mine]


def _contact_hit(member: Member, contact: Contact) -> Hit:
    """Return a contact as a result: its page for members who may edit it, or the list."""
    url = page_url(member, "contacts", query=urlencode({"q": contact.number}))
    if may(member.role, Action.SEND):
        url = page_url(member, "contact", contact.public_id)
    return Hit(_("Contacts"), contact.name or contact.number, url, contact.number)


def _one(
    member: Member, text: str, prefix: str, rows: QuerySet[Model], kind: str, name: str
) -> list[Hit]:
    """Return the row with that public id, if it is the organization's and the member may see it."""
    parsed = ids.parse_id(prefix, text)
    if parsed is None or not rows.filter(organization=member.organization, id=parsed).exists():
        return []
    return [Hit(kind, text, page_url(member, name, text), left_to_right=True)]


_BY_ID: dict[str, Callable[[Member, str], list[Hit]]] = {
    ids.MESSAGE: _message,
    ids.BATCH: _batch,
    ids.EXPORT: _export,
    ids.CAMPAIGN: _campaign,
    ids.CONTACT: _contact,
    ids.SENDER: _sender,
    ids.TEMPLATE: _template,
}


def _by_number(member: Member, text: str) -> list[Hit]:
    """Return the messages, contact and opt-out of a number in any spelling, or of its digits."""
    number, digits = search_terms(text, member.organization.default_country)
    if not number:
        return _by_digits(member, text, digits)
    hits = _messages(member, number, number, message_query.Filter(to=number), number=number)
    mine = {"organization": member.organization, "number": number}
    hits += [_contact_hit(member, contact) for contact in Contact.objects.filter(**mine)]
    if Suppression.objects.filter(**mine, test=False).exists():
        url = page_url(member, "suppressions", query=urlencode({"q": number}))
        hits.append(Hit(_("Opt-outs"), number, url, left_to_right=True))
    return hits


def _by_digits(member: Member, text: str, digits: str) -> list[Hit]:
    """Return the messages to numbers with these digits.

    A number without its country, such as 050 123 4567, is found without its leading zero.
    """
    if any(one.isalpha() for one in text) or len(digits) < MIN_DIGITS:
        return []
    narrowed = message_query.Filter(digits=digits)
    title = _("Numbers with %(digits)s") % {"digits": digits}
    return _messages(member, title, digits, narrowed, number=digits)


def _messages(
    member: Member, title: str, alone: str, narrowed: message_query.Filter, **query: str
) -> list[Hit]:
    """Return the only message of a filter, or a link to the log for several.

    `alone`: the title that consists of left-to-right text only.
    """
    found = message_query.search(member.organization_id, narrowed, 2).messages
    if len(found) == 1:
        return [message_hit(member, found[0])]
    if not found:
        return []
    url = page_url(member, "messages", query=urlencode(query))
    return [Hit(_("Messages"), title, url, _("All of them in the log"), title == alone)]


def _by_reference(member: Member, text: str) -> list[Hit]:
    if len(text) > MAX_REFERENCE:
        return []
    narrowed = message_query.Filter(reference=text)
    title = _("Reference %(reference)s") % {"reference": text}
    return _messages(member, title, text, narrowed, reference=text)


def _senders(member: Member, text: str) -> list[Hit]:
    """Return sender IDs that start with the text, and the messages of one with that very name."""
    if len(text) < SHORTEST_NAME:
        return []
    mine = SenderId.objects.filter(organization=member.organization, name__istartswith=text)
    hits = [
        Hit(
            _("Sender IDs"),
            sender.name,
            page_url(member, "sender_id", ids.public_id(ids.SENDER, sender.id)),
            str(sender.get_status_display()),
            True,
        )
        for sender in mine.order_by("name")[:AT_MOST]
    ]
    for used in message_query.senders_used(member.organization_id):
        if used.lower() == text.lower():
            title = _("Messages from %(sender)s") % {"sender": used}
            url = page_url(member, "messages", query=urlencode({"sender": used}))
            hits.append(Hit(_("Messages"), title, url, _("All of them in the log")))
    return hits


def _named(member: Member, text: str) -> list[Hit]:
    """Return campaigns, contacts and templates by a part of their name."""
    if len(text) < SHORTEST_NAME:
        return []
    mine = {"organization": member.organization, "name__icontains": text}
    hits = [
        Hit(
            _("Campaigns"),
            campaign.name,
            page_url(member, "campaign", ids.public_id(ids.CAMPAIGN, campaign.id)),
            str(campaign.get_state_display()),
        )
        for campaign in Campaign.objects.filter(**mine).order_by("-id")[:AT_MOST]
    ]
    named = Contact.objects.filter(**mine)[:AT_MOST]
    hits += [_contact_hit(member, contact) for contact in named]
    if may(member.role, Action.SEND):
        hits += [
            Hit(_("Templates"), template.name, page_url(member, "template", template.public_id))
            for template in TextTemplate.objects.filter(**mine).order_by("name")[:AT_MOST]
        ]
    return hits
