"""Why a message is refused, in the reader's language.

The API speaks English, and its sentences are made where it is judged. Pages show the same sentences
translated: those without holes by the catalogue, the others by the patterns here.
"""

import re
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from imissive.errors import Problem

# Named here so that they are translated: where they are made, nobody knows of languages.
_SENTENCES: Final = (
    _("The recipient has opted out: the number is on your suppression list."),
    _("The message is empty."),
    _("The message holds a NUL character."),
    _("Name a sender_id: this organization has no default one."),
    _("The time has passed."),
    _("The balance does not cover this."),
    _("This organization is suspended. Contact support."),
    # messaging.numbers
    _("A fixed line, which cannot receive SMS."),
    _("A toll-free number, which cannot receive SMS."),
    _("A premium-rate number, which cannot receive SMS."),
    _("A shared-cost number, which cannot receive SMS."),
    _("An internet telephony number, which cannot receive SMS."),
    _("A personal forwarding number, which cannot receive SMS."),
    _("A pager, which cannot receive SMS."),
    _("A company access number, which cannot receive SMS."),
    _("A voicemail access number, which cannot receive SMS."),
    _("Not a phone number."),
    _("Too short for a phone number."),
    _("Too long for a phone number."),
    _("Unknown country calling code."),
    _("Has a wrong number of digits."),
    _("No such number in its country."),
    _("Not in any country: satellite and global numbers are not served."),
    _("Write it in E.164: + and the country code first, as in +966501234567."),
)

_PATTERNS: Final[tuple[tuple[re.Pattern[str], Promise], ...]] = (
    (
        re.compile(r"The message has (?P<parts>\d+) parts; at most (?P<most>\d+) are allowed\."),
        _("The message has %(parts)s parts; at most %(most)s are allowed."),
    ),
    (
        re.compile(r"The sender ID '(?P<name>.*)' is not approved for this organization\.", re.S),
        _("The sender ID %(name)s is not approved for this organization."),
    ),
    (
        re.compile(r"The sender ID '(?P<name>.*)' cannot be sent to this destination\.", re.S),
        _("The sender ID %(name)s cannot be sent to this destination."),
    ),
    (
        re.compile(r"Messages to this destination \((?P<country>[A-Z]{2})\) are not enabled\."),
        _("Messages to this destination (%(country)s) are not enabled."),
    ),
    (
        re.compile(
            r"Messages of this sender go to (?P<country>[A-Z]{2}) from (?P<opens>\d\d:\d\d) to"
            r" (?P<closes>\d\d:\d\d) \((?P<zone>.+)\) only\."
        ),
        _("Messages of this sender go to %(country)s only from %(opens)s to %(closes)s, %(zone)s."),
    ),
    (
        re.compile(r"The time is more than (?P<days>\d+) days ahead\."),
        _("The time is more than %(days)s days ahead."),
    ),
    (
        re.compile(r"[Tt]ext has an unpaired surrogate \(U\+(?P<code>[0-9A-F]+)\) .*"),
        _("The text holds half a character (U+%(code)s)."),
    ),
)
_NUMBER: Final = "The number cannot be used: "


def told(problem: Problem) -> str:
    """The problem's sentence in the language of the page."""
    message = problem.message
    if message.startswith(_NUMBER):  # messaging.suppressions
        reason = message.removeprefix(_NUMBER)
        message = reason[:1].upper() + reason[1:]
    for pattern, words in _PATTERNS:
        found = pattern.fullmatch(message)
        if found:
            return str(words) % found.groupdict()
    return gettext(message)
