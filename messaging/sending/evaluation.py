"""The verdict on a message before it is accepted: what it would cost, or every reason against it.

One function for sending and estimating, over the REST API, the dashboard, campaigns and SMPP.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from imissive.core.problems import Problem
from messaging.numbers import e164
from messaging.routing.tables import CarrierChoice, Tables
from messaging.sending import sender_names
from messaging.sending.reasons import SendingReason
from messaging.text import encoding as text

MAX_REFERENCE = 100
TEST_SENDER = "Test"
"""The sender of a test message without one, where no sender ID is approved yet."""


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
    """The terms of an organization, by which its messages are evaluated.

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
    home: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
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
    number: e164.Number | None
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


def evaluate(draft: Draft, terms: Terms) -> Evaluation | Refusal:
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
    return Evaluation(
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
    number = _number(draft.to, terms.home, problems)
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
            problems.append(SendingReason.OPTED_OUT.problem("to"))
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
        problems.append(SendingReason.SENDER_NOT_SENT_THERE.problem("sender_id", name=sender[:16]))
    return able or carriers


def _hours(
    country: str, sender: str, terms: Terms, problems: list[Problem]
) -> tuple[datetime | None, datetime | None]:
    """Until when the country's rules hold the message (None: not at all), and when they close."""
    hours = terms.tables.sending_hours(country, sender)
    if hours is None:
        return None, None
    opening = hours.opening(terms.at)
    if opening == terms.at:
        return None, hours.closing(terms.at)
    if not terms.hold:
        problems.append(
            SendingReason.OUTSIDE_HOURS.problem(
                "scheduled_at", country=country, **hours.parameters()
            )
        )
    return opening, hours.closing(opening)


def _number(raw: str, home: str, problems: list[Problem]) -> e164.Number | None:
    try:
        return e164.parse(raw, home)
    except e164.InvalidNumber as error:
        problems.append(error.problem("to"))
        return None


def _measure(body: str, max_parts: int, problems: list[Problem]) -> text.Measure | None:
    if not body.strip():
        problems.append(SendingReason.EMPTY.problem("message"))
        return None
    if "\0" in body:
        problems.append(SendingReason.NUL.problem("message"))
        return None
    try:
        measure = text.measure(body)
    except text.UnpairedSurrogate as error:
        problems.append(
            SendingReason.HALF_CHARACTER.problem(
                "message", code_point=error.code_point, position=error.position
            )
        )
        return None
    if measure.parts > max_parts:
        parts = measure.parts
        problems.append(
            SendingReason.TOO_MANY_PARTS.problem("message", parts=parts, most=max_parts)
        )
    return measure


def _sender(asked: str | None, terms: Terms, problems: list[Problem]) -> str | None:
    sender = asked if asked is not None else terms.default_sender
    if sender is None and terms.test:
        return TEST_SENDER
    if sender is None:
        problem = SendingReason.NO_SENDER.problem("sender_id")
    elif sender in terms.approved_senders:
        return sender
    elif terms.test:
        wrong = _unusable(sender)
        if wrong is None:
            return sender
        problem = wrong
    else:
        problem = SendingReason.SENDER_NOT_APPROVED.problem("sender_id", name=sender[:16])
    problems.append(problem)
    return None


def _unusable(sender: str) -> Problem | None:
    """Why no operator could approve that sender ID as it is written."""
    try:
        written = sender_names.normalize(sender)[0]
    except sender_names.InvalidSenderName as error:
        return error.problem.at("sender_id", code="INVALID_SENDER")
    if written == sender:
        return None
    return SendingReason.SENDER_SPELLING.problem("sender_id", name=written)


def _not_served(number: e164.Number) -> Problem:
    return SendingReason.COUNTRY_NOT_ENABLED.problem("to", country=number.country)


def default_sender(approved: Mapping[str, bool]) -> str | None:
    """The sender used where none is named: the one marked as default, or the only one."""
    marked = [name for name, is_default in approved.items() if is_default]
    if marked:
        return marked[0]
    return next(iter(approved)) if len(approved) == 1 else None
