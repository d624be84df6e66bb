"""Texts of the audit log: a sentence for each action, and a label for each detail.

A sentence names the action; the page shows the actor before it. `%(target)s` is the person or thing
that the action concerned. A test checks that every action has a sentence.
"""

import re
from collections.abc import Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

AREAS: dict[str, tuple[str | Promise, dict[str, str | Promise]]] = {
    "organization": (
        gettext_lazy("Organization"),
        {
            "organization.opened": gettext_lazy("Opened the organization"),
            "organization.renamed": gettext_lazy("Renamed the organization"),
            "organization.country_changed": gettext_lazy("Changed the default country"),
            "organization.alert_changed": gettext_lazy("Changed the low-balance alert"),
            "organization.defaults_changed": gettext_lazy("Changed language and time zone"),
            "organization.changed": gettext_lazy("Changed the organization's limits or state"),
            "organization.added": gettext_lazy("Opened the organization"),
            "organization.suspended": gettext_lazy("Suspended the organization"),
            "organization.reinstated": gettext_lazy("Reinstated the organization"),
            "organization.closed": gettext_lazy("Closed the organization"),
        },
    ),
    "team": (
        gettext_lazy("Team"),
        {
            "member.invited": gettext_lazy("Invited %(target)s"),
            "invitation.sent_again": gettext_lazy("Sent the invitation of %(target)s again"),
            "invitation.revoked": gettext_lazy("Revoked the invitation of %(target)s"),
            "member.joined": gettext_lazy("Joined the organization"),
            "member.added": gettext_lazy("Added %(target)s to the team"),
            "member.changed": gettext_lazy("Changed the role of %(target)s"),
            "member.role_changed": gettext_lazy("Changed the role of %(target)s"),
            "member.removed": gettext_lazy("Removed %(target)s from the team"),
            "member.deleted": gettext_lazy("Removed %(target)s from the team"),
            "member.left": gettext_lazy("Left the organization"),
        },
    ),
    "keys": (
        gettext_lazy("API keys"),
        {
            "apikey.added": gettext_lazy("Made the API key %(target)s"),
            "apikey.rotated": gettext_lazy("Rotated the API key %(target)s"),
            "apikey.restricted": gettext_lazy("Changed from where the API key %(target)s works"),
            "apikey.changed": gettext_lazy("Changed the API key %(target)s"),
            "apikey.revoked": gettext_lazy("Revoked the API key %(target)s"),
        },
    ),
    "webhooks": (
        gettext_lazy("Webhooks"),
        {
            "webhook.added": gettext_lazy("Made a webhook endpoint at %(target)s"),
            "webhook.changed": gettext_lazy("Changed the webhook endpoint at %(target)s"),
            "webhook.enabled": gettext_lazy("Enabled the webhook endpoint at %(target)s"),
            "webhook.disabled": gettext_lazy("Disabled the webhook endpoint at %(target)s"),
            "webhook.secret_rotated": gettext_lazy("Rotated the signing secret of %(target)s"),
            "webhook.deleted": gettext_lazy("Deleted the webhook endpoint at %(target)s"),
            "webhook.replayed": gettext_lazy("Replayed an event to %(target)s"),
            "webhook.span_replayed": gettext_lazy("Replayed a span of events to %(target)s"),
        },
    ),
    "senders": (
        gettext_lazy("Sender IDs"),
        {
            "sender_id.requested": gettext_lazy("Requested the sender ID %(target)s"),
            "sender_id.approved": gettext_lazy("Approved the sender ID %(target)s"),
            "sender_id.rejected": gettext_lazy("Rejected the sender ID %(target)s"),
            "sender_id.revoked": gettext_lazy("Revoked the sender ID %(target)s"),
            "sender_id.made_default": gettext_lazy("Made %(target)s the default sender ID"),
            "sender_id.document_opened": gettext_lazy("Opened a document of %(target)s"),
            "sender_id.withdrawn": gettext_lazy("Withdrew the request for %(target)s"),
            "senderid.added": gettext_lazy("Added the sender ID %(target)s"),
            "senderid.changed": gettext_lazy("Changed the sender ID %(target)s"),
            "senderid.deleted": gettext_lazy("Deleted the sender ID %(target)s"),
        },
    ),
    "messages": (
        gettext_lazy("Messages"),
        {
            "messages.sent": gettext_lazy("Sent messages from the dashboard"),
            "message.resent": gettext_lazy("Sent a message again"),
            "message.canceled": gettext_lazy("Canceled a message"),
            "batch.canceled": gettext_lazy("Canceled a batch"),
            "message.text_read": gettext_lazy("Read the text of a message"),
            "messages.exported": gettext_lazy("Exported messages"),
            "messages.export_canceled": gettext_lazy("Canceled an export of messages"),
            "messages.export_fetched": gettext_lazy("Downloaded an export of messages"),
            "template.added": gettext_lazy("Added the template %(target)s"),
            "template.changed": gettext_lazy("Changed the template %(target)s"),
            "template.removed": gettext_lazy("Removed the template %(target)s"),
        },
    ),
    "campaigns": (
        gettext_lazy("Campaigns"),
        {
            "campaign.started": gettext_lazy("Started the campaign %(target)s"),
            "campaign.unscheduled": gettext_lazy("Took back the time of the campaign %(target)s"),
            "campaign.paused": gettext_lazy("Paused the campaign %(target)s"),
            "campaign.resumed": gettext_lazy("Resumed the campaign %(target)s"),
            "campaign.canceled": gettext_lazy("Canceled the campaign %(target)s"),
            "campaign.deleted": gettext_lazy("Deleted the campaign %(target)s"),
        },
    ),
    "contacts": (
        gettext_lazy("Contacts"),
        {
            "contacts.imported": gettext_lazy("Imported contacts"),
            "contacts.exported": gettext_lazy("Exported contacts"),
            "contact.removed": gettext_lazy("Removed the contact %(target)s"),
            "contact_list.removed": gettext_lazy("Removed the list %(target)s"),
            "suppressions.added": gettext_lazy("Suppressed numbers"),
            "suppression.added": gettext_lazy("Suppressed %(target)s"),
            "suppression.changed": gettext_lazy("Changed the suppression of %(target)s"),
            "suppression.removed": gettext_lazy("Removed the suppression of %(target)s"),
            "suppression.deleted": gettext_lazy("Removed the suppression of %(target)s"),
        },
    ),
    "support": (
        gettext_lazy("Support acting for you"),
        {
            "acting.began": gettext_lazy("Began to act in this dashboard"),
            "acting.wrote": gettext_lazy("Changed something while acting in this dashboard"),
            "acting.ended": gettext_lazy("Ended acting in this dashboard"),
        },
    ),
    "otp": (
        gettext_lazy("One-time passwords"),
        {
            "otp.countries_changed": gettext_lazy("Changed the countries that codes may go to"),
            "otp.prefix_held": gettext_lazy("Held codes to numbers beginning with %(target)s"),
            "otp.prefix_suspected": gettext_lazy("Noticed few right codes from %(target)s"),
            "otp.prefix_lifted": gettext_lazy("Let codes go to %(target)s again"),
            "otpsettings.added": gettext_lazy("Set rules for codes"),
            "otpsettings.changed": gettext_lazy("Changed the rules for codes"),
            "otpsettings.deleted": gettext_lazy("Removed the rules for codes"),
        },
    ),
    "smpp": (
        "SMPP",
        {
            "smppaccount.added": gettext_lazy("Added the SMPP account %(target)s"),
            "smppaccount.changed": gettext_lazy("Changed the SMPP account %(target)s"),
            "smppaccount.deleted": gettext_lazy("Deleted the SMPP account %(target)s"),
            "smpp_account.password_rotated": gettext_lazy(
                "Rotated the password of the SMPP account %(target)s"
            ),
            "smpp_bind.ended": gettext_lazy("Ended a bind of the SMPP account %(target)s"),
        },
    ),
    "credits": (
        gettext_lazy("Credits"),
        {
            "credits.adjusted": gettext_lazy("Topped up or corrected the balance"),
            "credits.requested": gettext_lazy("Requested a change of the balance"),
            "credits.declined": gettext_lazy("Declined a change of the balance"),
            "price.added": gettext_lazy("Set a price for %(target)s"),
            "price.changed": gettext_lazy("Changed the price for %(target)s"),
            "price.deleted": gettext_lazy("Removed the price for %(target)s"),
            "route.added": gettext_lazy("Set a route for %(target)s"),
            "route.changed": gettext_lazy("Changed the route for %(target)s"),
            "route.deleted": gettext_lazy("Removed the route for %(target)s"),
        },
    ),
}
"""Name of each area, and the sentence of each of its actions."""

SENTENCES: dict[str, str | Promise] = {
    action: sentence for _area, actions in AREAS.values() for action, sentence in actions.items()
}

_NAMES: dict[str, str | Promise] = {
    "role": gettext_lazy("role"),
    "name": gettext_lazy("name"),
    "credits": gettext_lazy("credits"),
    "reason": gettext_lazy("reason"),
    "acting_because": gettext_lazy("reason for acting"),
    "networks": gettext_lazy("addresses"),
    "scopes": gettext_lazy("may be used to"),
    "expires_at": gettext_lazy("ends"),
    "old_expires_at": gettext_lazy("the old one ends"),
    "low_balance_threshold": gettext_lazy("threshold"),
    "default_country": gettext_lazy("default country"),
    "countries": gettext_lazy("countries"),
    "events": gettext_lazy("events"),
    "description": gettext_lazy("description"),
    "url": gettext_lazy("URL"),
    "overlap_hours": gettext_lazy("hours of overlap"),
    "sent": gettext_lazy("sent"),
    "verified": gettext_lazy("verified"),
    "until": gettext_lazy("until"),
    "test": gettext_lazy("test"),
    "language": gettext_lazy("language"),
    "time_zone": gettext_lazy("time zone"),
    "from": gettext_lazy("from"),
    "to": gettext_lazy("to"),
}
_HIDDEN = frozenset({"id", "what", "new", "delivery"})
"""Details that only the CSV export contains."""
_LONGEST = 120
_PUBLIC_ID = re.compile(r"^[a-z]{3}_[0-9a-z]{26} (?=.)")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|\+00:00)")


def sentence(action: str, target: str) -> str:
    """Return the action's sentence in the active language; without one, the action's name."""
    text = SENTENCES.get(action)
    if text is None:
        return f"{action} {target}".strip()
    # Some targets begin with their public id, which is of no interest to readers.
    name = _PUBLIC_ID.sub("", target)
    return str(text) % {"target": name or "—"}


def details(detail: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the details to show as (label, value), with `before → after` for changed values."""
    shown = {key: value for key, value in detail.items() if key != "values"}
    # Changes made in the admin are recorded under `values` as pairs of before and after.
    for key, pair in detail.get("values", {}).items():
        is_pair = isinstance(pair, list) and len(pair) == 2
        shown[key] = {"from": pair[0], "to": pair[1]} if is_pair else pair
    if set(shown) == {"from", "to"}:
        return [("", _change(shown["from"], shown["to"]))]
    return [
        (str(_NAMES.get(key, key)), _display(value))
        for key, value in shown.items()
        if key not in _HIDDEN and value not in (None, "", [], {})
    ]


def _display(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"from", "to"}:
        return _change(value["from"], value["to"])
    if isinstance(value, list) and len(value) == 2 and any(isinstance(one, list) for one in value):
        return _change(*value)
    return _plain(value)


def _change(before: Any, after: Any) -> str:
    return f"{_plain(before)} → {_plain(after)}"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, list):
        value = ", ".join(str(one) for one in value)
    text = str(value) if value not in (None, "") else "—"
    text = _TIME.sub(r"\1 \2 UTC", text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
