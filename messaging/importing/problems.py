"""Problems of a file's rows, with texts: the problem, and its solution."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from imissive.core.problems import Problem, Reason, sentence
from messaging.importing.csv_reader import Fault
from messaging.numbers.reasons import NumberReason
from messaging.sending.reasons import SendingReason


class Kind(StrEnum):
    NUMBER = "number"
    ROUNDED = "rounded"
    DUPLICATE = "duplicate"
    SUPPRESSED = "suppressed"
    DESTINATION = "destination"
    VARIABLE = "variable"
    TOO_LONG = "too_long"
    EMPTY = "empty"
    SENDER = "sender"
    CELLS = "cells"
    QUOTE = "quote"
    LONG_CELL = "long_cell"
    CHARACTERS = "characters"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Words:
    """The problem (`what`) in two or three words, and its solution (`to_do`)."""

    what: Promise
    to_do: Promise


WORDS: Final[dict[str, Words]] = {
    Kind.NUMBER: Words(
        _("Not a mobile number"),
        _("Write it with its country code, such as +966501234567."),
    ),
    Kind.ROUNDED: Words(
        _("Rounded by a spreadsheet"),
        _("Format the column as text in your spreadsheet, then save the file again."),
    ),
    Kind.DUPLICATE: Words(
        _("The same number again"), _("Each number gets the text once: the first row counts.")
    ),
    Kind.SUPPRESSED: Words(
        _("Opted out"), _("The number is on your suppression list: leave it out.")
    ),
    Kind.DESTINATION: Words(
        _("Country not enabled"), _("Ask support to enable the country of this number.")
    ),
    Kind.VARIABLE: Words(
        _("A value is missing"), _("Fill in the cell, or take the variable out of the text.")
    ),
    Kind.TOO_LONG: Words(
        _("Too long"), _("Shorten the text; Arabic and emoji need more parts for the same length.")
    ),
    Kind.EMPTY: Words(_("Nothing to send"), _("The text is empty for this row.")),
    Kind.SENDER: Words(
        _("Sender ID not approved"), _("Request it under sender IDs, or use one that is approved.")
    ),
    Kind.CELLS: Words(
        _("Too many cells"),
        _("A cell with a comma or another delimiter in it has to stand in quotes."),
    ),
    Kind.QUOTE: Words(
        _("A quote is never closed"), _("Close the quote, or write two of them for one in a text.")
    ),
    Kind.LONG_CELL: Words(_("A cell is too long"), _("No cell has more than 4,000 characters.")),
    Kind.CHARACTERS: Words(
        _("Unreadable characters"), _("Choose another encoding, or save the file as UTF-8.")
    ),
    Kind.OTHER: Words(_("Refused"), _("Tell support what stands beside it.")),
}

_OF_FAULT: Final = {
    Fault.QUOTE: Kind.QUOTE,
    Fault.LONG: Kind.LONG_CELL,
    Fault.MANY_CELLS: Kind.CELLS,
    Fault.ENCODING: Kind.CHARACTERS,
    Fault.NUL: Kind.CHARACTERS,
}
_OF_REASON: Final[dict[Reason, Kind]] = {
    **dict.fromkeys(NumberReason, Kind.NUMBER),
    NumberReason.DAMAGED: Kind.ROUNDED,
    SendingReason.NO_SENDER: Kind.SENDER,
    SendingReason.SENDER_NOT_APPROVED: Kind.SENDER,
    SendingReason.SENDER_SPELLING: Kind.SENDER,
    SendingReason.TOO_MANY_PARTS: Kind.TOO_LONG,
    SendingReason.COUNTRY_NOT_ENABLED: Kind.DESTINATION,
    SendingReason.OPTED_OUT: Kind.SUPPRESSED,
    SendingReason.EMPTY: Kind.EMPTY,
}
# The parameter of a refusal that is stored with its kind.
_DETAILS: Final = {Kind.TOO_LONG: "parts", Kind.DESTINATION: "country"}


def of_fault(fault: Fault) -> Kind:
    """Return the problem of a row with an invalid format."""
    return _OF_FAULT.get(fault, Kind.OTHER)


def of_refusal(problem: Problem) -> tuple[Kind, str]:
    """Return the problem of a row whose message is refused, and its detail."""
    kind = _OF_REASON.get(problem.reason, Kind.OTHER)
    if kind is Kind.NUMBER:
        return kind, problem.reason.name
    return kind, str(problem.parameters.get(_DETAILS.get(kind, ""), ""))


def in_words(kind: str, detail: str = "") -> str:
    """Return the problem of a row as a sentence, with its detail."""
    words = WORDS.get(kind, WORDS[Kind.OTHER])
    if kind == Kind.NUMBER and detail in NumberReason.__members__:
        return sentence(NumberReason[detail].problem())
    if not detail:
        return str(words.what)
    patterns = {
        Kind.DUPLICATE: gettext("The same number as in row %(detail)s"),
        Kind.VARIABLE: gettext("No value for {%(detail)s}"),
        Kind.TOO_LONG: gettext("Too long: %(detail)s parts"),
        Kind.DESTINATION: gettext("Country not enabled: %(detail)s"),
    }
    pattern = patterns.get(Kind(kind)) if kind in WORDS else None
    if pattern is None:
        return str(words.what)
    return pattern % {"detail": detail}
