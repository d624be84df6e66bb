"""Where messages come from, in words: what is stored as a source, and bulk calls apart."""

from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from messaging.models import Message

BULK: Final = "bulk"
"""Not stored: what came by the API as one of many."""

SOURCES: Final[dict[str, str | Promise]] = {
    "api": pgettext_lazy("source", "API, one by one"),
    BULK: pgettext_lazy("source", "API, in bulk"),
    "dashboard": pgettext_lazy("source", "Dashboard"),
    "campaign": pgettext_lazy("source", "Campaign"),
    "otp": pgettext_lazy("source", "One-time password"),
    "smpp": pgettext_lazy("source", "SMPP"),
}

_HOW: Final[dict[str, str | Promise]] = {
    "api": _("By the API"),
    BULK: _("By the API, in a bulk call"),
    "dashboard": _("From the dashboard"),
    "campaign": _("By a campaign"),
    "otp": _("As a one-time password"),
    "smpp": _("Over SMPP"),
}


def source_of(message: Message) -> str:
    """The message's source, a key of SOURCES."""
    return BULK if message.source == "api" and message.batch_id else message.source


def source_name(message: Message) -> str:
    """Where it came from, in a word or two."""
    found = source_of(message)
    return str(SOURCES.get(found, found))


def how_it_came(message: Message) -> str:
    """How it came, as the beginning of a sentence."""
    found = source_of(message)
    return str(_HOW.get(found, found))


def as_stored(source: str) -> tuple[str, bool | None]:
    """A key of SOURCES as the stored source, and whether its messages came as many (None: both)."""
    if source == BULK:
        return "api", True
    return source, False if source == "api" else None
