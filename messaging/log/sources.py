"""Sources of messages in words: the stored sources, with bulk calls as one of their own."""

from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from messaging.models import Message

BULK: Final = "bulk"
"""Not stored: a message that came by the API in a batch."""

SOURCES: Final[dict[str, str | Promise]] = {
    "api": pgettext_lazy("source", "API, one by one"),
    BULK: pgettext_lazy("source", "API, in bulk"),
    "dashboard": pgettext_lazy("source", "Dashboard"),
    "campaign": pgettext_lazy("source", "Campaign"),
    "otp": pgettext_lazy("source", "One-time password"),
    "smpp": pgettext_lazy("source", "SMPP"),
}

_PHRASES: Final[dict[str, str | Promise]] = {
    "api": _("By the API"),
    BULK: _("By the API, in a bulk call"),
    "dashboard": _("From the dashboard"),
    "campaign": _("By a campaign"),
    "otp": _("As a one-time password"),
    "smpp": _("Over SMPP"),
}


def source_of(message: Message) -> str:
    """Return the message's source, a key of SOURCES."""
    return BULK if message.source == "api" and message.batch_id else message.source


def source_name(message: Message) -> str:
    """Return the name of the message's source, in the reader's language."""
    source = source_of(message)
    return str(SOURCES.get(source, source))


def source_phrase(message: Message) -> str:
    """Return the message's source as the start of a sentence, in the reader's language."""
    source = source_of(message)
    return str(_PHRASES.get(source, source))


def as_stored(source: str) -> tuple[str, bool | None]:
    """Return the stored source of a key of SOURCES, and whether its messages are in batches.

    The second value is None where they may or may not be.
    """
    if source == BULK:
        return "api", True
    return source, False if source == "api" else None
