"""The verdict on a message before it is accepted: what it would cost, or every reason against it.

One function for sending and estimating, over the REST API, the dashboard, campaigns and SMPP.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from imissive.errors import Problem
from messaging import numbers, sender_names, text
from messaging.routing import CarrierChoice, Tables

MAX_REFERENCE = 100
TEST_SENDER = "Test"
"""Whom a test message is from that names nobody, where no sender ID is approved yet."""


@dataclass(frozen=True, slots=True)
class Draft:
    """One message as somebody asks for it. `sender` None stands for the default sender.

    `masked`: what people may see of a text that holds a secret; empty where they may see all.
    `id`: the id that the message shall have, where it is known beforehand.
    """

    to: str
    text: str
    sender: str | None = None
    reference: str = ""
    masked: str = ""
    id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What is known of an organization when its messages are judged.

    `at`: when they shall go (aware). `suppressed`: those of their numbers, in E.164, that it must
    not write to. `hold`: outside of a country's hours a message waits for them; else it is refused.
    """

    organization_id: uuid.UUID
    test: bool
    max_parts: int
    approved_senders: frozenset[str]
    default_sender: str | None
    tables: Tables
    at: datetime
    suppressed: frozenset[str] = frozenset()
    hold: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """An acceptable message: normalized, measured, priced (`price` in micro-credits, all parts).

    `held_until`: when a country's rules let it go, None where that is when it was to go anyway.
    `closes_at`: when they do not let it go any more.
    """

    to: str
    country: str
    sender: str
    text: str
    masked: str
    reference: str
    encoding: str
    parts: int
    price: int
    carrier: CarrierChoice
    held_until: datetime | None = None
    closes_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message is not acceptable: all reasons, the first the one to tell first."""

    to: str
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Opinion:
    """All that can be said of a draft, acceptable or not. None is what cannot be known of it.

    `unit_price`: micro-credits for one part.
    """

    draft: Draft
    number: numbers.Number | None
    measure: text.Measure | None
    sender: str | None
    carriers: tuple[CarrierChoice, ...]
    unit_price: int | None
    held_until: datetime | None
    closes_at: datetime | None
    problems: tuple[Problem, ...]

    @property
    def price(self) -> int | None:
        """Micro-credits for all parts."""
        if self.measure is None or self.unit_price is None:
            return None
        return self.unit_price * self.measure.parts

    def after(self, problems: Sequence[Problem]) -> "Opinion":
        """The same with these problems before its own."""
        return replace(self, problems=(*problems, *self.problems)) if problems else self


def judge(draft: Draft, terms: Terms) -> Verdict | Refusal:
    """The verdict on a draft. Pure: reads nothing but its arguments."""
    opinion = examine(draft, terms)
    number, measure, sender, price = (
        opinion.number,
        opinion.measure,
        opinion.sender,
        opinion.price,
    )
    if opinion.problems or number is None or measure is None or sender is None or price is None:
        return Refusal(draft.to, opinion.problems)
    return Verdict(
        number.e164,
        number.country,
        sender,
        draft.text,
        draft.masked,
        draft.reference,
        measure.encoding,
        measure.parts,
        price,
        opinion.carriers[0],
        opinion.held_until,
        opinion.closes_at,
    )


def examine(draft: Draft, terms: Terms) -> Opinion:
    """All that can be said of a draft, and every reason against it at once. Pure."""
    problems: list[Problem] = []
    number = _number(draft.to, problems)
    measure = _measure(draft.text, terms.max_parts, problems)
    sender = _sender(draft.sender, terms, problems)
    carriers: tuple[CarrierChoice, ...] = ()
    price = held_until = closes_at = None
    if number is not None:
        carriers = terms.tables.carriers_for(number.e164, terms.organization_id, test=terms.test)
        price = terms.tables.price(number.e164, terms.organization_id, test=terms.test)
        if not carriers or price is None:
            problems.append(_not_served(number))
        elif sender is not None:
            carriers = _able(carriers, sender, problems)
        if number.e164 in terms.suppressed:
            told = "The recipient has opted out: the number is on your suppression list."
            problems.append(Problem("DESTINATION_BLOCKED", told, "to"))
        if sender is not None:
            held_until, closes_at = _hours(number.country, sender, terms, problems)
    return Opinion(
        draft, number, measure, sender, carriers, price, held_until, closes_at, tuple(problems)
    )


def _able(
    carriers: tuple[CarrierChoice, ...], sender: str, problems: list[Problem]
) -> tuple[CarrierChoice, ...]:
    """Return the carriers that can write the sender ID; all, with a problem, if none can."""
    able = tuple(carrier for carrier in carriers if carrier.writes(sender))
    if not able:
        message = f"The sender ID {sender[:16]!r} cannot be sent to this destination."
        problems.append(Problem("INVALID_SENDER", message, "sender_id"))
    return able or carriers


def _hours(
    country: str, sender: str, terms: Terms, problems: list[Problem]
) -> tuple[datetime | None, datetime | None]:
    """Until when the country's rules hold the message (None: not at all), and when they close."""
    window = terms.tables.window(country, sender)
    if window is None:
        return None, None
    opening = window.opening(terms.at)
    if opening == terms.at:
        return None, window.closing(terms.at)
    if not terms.hold:
        told = f"Messages of this sender go to {country} from {window.told()} only."
        problems.append(Problem("INVALID_SCHEDULE", told, "scheduled_at"))
    return opening, window.closing(opening)


def _number(raw: str, problems: list[Problem]) -> numbers.Number | None:
    try:
        return numbers.parse(raw)
    except numbers.InvalidNumber as error:
        problems.append(bad_number(error))
        return None


def bad_number(error: numbers.InvalidNumber) -> Problem:
    """What is told of a number that cannot be sent to."""
    return Problem("INVALID_PHONE", _sentence(error.reason), "to")


def _measure(body: str, max_parts: int, problems: list[Problem]) -> text.Measure | None:
    if not body.strip():
        problems.append(Problem("INVALID_REQUEST", "The message is empty.", "message"))
        return None
    if "\0" in body:
        problems.append(Problem("INVALID_REQUEST", "The message holds a NUL character.", "message"))
        return None
    try:
        measure = text.measure(body)
    except ValueError as error:
        problems.append(Problem("INVALID_REQUEST", _sentence(str(error)), "message"))
        return None
    if measure.parts > max_parts:
        told = f"The message has {measure.parts} parts; at most {max_parts} are allowed."
        problems.append(Problem("MESSAGE_TOO_LONG", told, "message"))
    return measure


def _sender(asked: str | None, terms: Terms, problems: list[Problem]) -> str | None:
    sender = asked if asked is not None else terms.default_sender
    if sender is None and terms.test:
        return TEST_SENDER
    if sender is None:
        told = "Name a sender_id: this organization has no default one."
    elif sender in terms.approved_senders:
        return sender
    elif terms.test:
        wrong = _unusable(sender)
        if wrong is None:
            return sender
        told = wrong
    else:
        told = f"The sender ID {sender[:16]!r} is not approved for this organization."
    problems.append(Problem("INVALID_SENDER", told, "sender_id"))
    return None


def _unusable(sender: str) -> str | None:
    """Why no operator could approve that sender ID as it is written."""
    try:
        written = sender_names.normalize(sender)[0]
    except sender_names.InvalidSenderName as error:
        return str(error)
    return None if written == sender else f"Write the sender ID as it is sent: {written!r}."


def _not_served(number: numbers.Number) -> Problem:
    told = f"Messages to this destination ({number.country}) are not enabled."
    return Problem("DESTINATION_BLOCKED", told, "to")


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:].rstrip('.')}."


def default_sender(approved: Mapping[str, bool]) -> str | None:
    """The sender used where none is named: the one marked as default, or the only one."""
    marked = [name for name, is_default in approved.items() if is_default]
    if marked:
        return marked[0]
    return next(iter(approved)) if len(approved) == 1 else None
