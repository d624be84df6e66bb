"""Composed messages of the dashboard: recipients, texts, evaluation, and sending exactly once.

Problems and prices come from `messaging.sending.evaluation`, as for the API. Only variables without
a value, which the API does not have, are checked here.
"""

import itertools
import uuid
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.conf import settings
from django.db import transaction

from accounts.api.reasons import CallReason
from accounts.audit import trail
from accounts.credits.ledger import credits_text
from accounts.models import Member, Organization
from imissive.core import clock, ids
from imissive.core.errors import ApiError
from imissive.core.problems import Problem
from messaging.models import Composition, Contact, ContactList, ListEntry
from messaging.numbers import e164
from messaging.numbers.written import written_numbers
from messaging.sending.accept import Accepted, SendRequest, accept, terms_of
from messaging.sending.evaluation import Draft, Opinion, examine
from messaging.sending.limits import spend
from messaging.sending.reasons import SendingReason
from messaging.text import variables

KEPT = timedelta(days=30)
"""A form that is submitted again within this time is recognized."""
MOST: int = settings.BULK_MAX_MESSAGES
"""The most recipients, as in a bulk call."""


class TooMany(Exception):
    """More than MOST recipients."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """The recipient of one message, with the values of variables.

    `number` is as entered or stored; `name` is empty where it is unknown.
    """

    number: str
    name: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Recipients:
    """The distinct recipients; `repeated` is the number of duplicates."""

    all: tuple[Recipient, ...] = ()
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class ComposedMessage:
    """A composed message of a member. `sender` None means the default sender ID."""

    organization: Organization
    text: str
    recipients: Recipients
    sender: str | None = None
    test: bool = False
    scheduled_at: datetime | None = None
    validity: timedelta | None = None

    def send_request(self) -> SendRequest:
        several = len(self.recipients.all) != 1
        return SendRequest(
            self.organization.id,
            source="dashboard",
            test=self.test,
            # As with the API, a single message is urgent, because a person waits for it.
            urgent=not several,
            as_batch=several,
            scheduled_at=self.scheduled_at,
            validity=self.validity,
        )

    def drafts(self) -> list[Draft]:
        return [
            Draft(each.number, variables.fill(self.text, each.values), self.sender)
            for each in self.recipients.all
        ]


def recipients_of(
    organization: Organization,
    written: str,
    lists: Sequence[ContactList],
    defaults: Mapping[str, str],
) -> Recipients:
    """Return the entered numbers, then the contacts of the lists, each number once.

    The values of a contact fill the variables, also for an entered number; `defaults` replace
    missing values. Raises TooMany.
    """
    home = organization.default_country
    entries = written_numbers(written, home, at_most=MOST)
    if len(entries) > MOST:
        raise TooMany
    keys = [_key(entry, home) for entry in entries]
    mine = Contact.objects.filter(organization=organization)
    contacts = {each.number: each for each in mine.filter(number__in=keys)} if keys else {}
    found: dict[str, Recipient] = {}
    for entry, key in zip(entries, keys, strict=True):
        found.setdefault(key, _recipient(entry, contacts.get(key), defaults))
    named = len(entries)
    if lists:
        listed = ListEntry.objects.filter(contact_list__in=lists)
        for contact in mine.filter(id__in=listed.values("contact")).order_by("-id")[: MOST + 1]:
            named += 1
            found.setdefault(contact.number, _recipient(contact.number, contact, defaults))
    if len(found) > MOST:
        raise TooMany
    return Recipients(tuple(found.values()), named - len(found))


def _key(written: str, home: str) -> str:
    """Return the key that two spellings of a number share."""
    try:
        return e164.parse(written, home).e164
    except e164.InvalidNumber:
        return written


def _recipient(number: str, contact: Contact | None, defaults: Mapping[str, str]) -> Recipient:
    if contact is None:
        return Recipient(number, "", {"number": number, **defaults})
    values = {name: str(value) for name, value in values_of(contact).items() if str(value).strip()}
    return Recipient(number, contact.name, {**defaults, **values})


def values_of(contact: Contact) -> dict[str, Any]:
    """Return the contact's values for variables."""
    return {**contact.fields, "name": contact.name, "number": contact.number}


@dataclass(frozen=True)
class Assessment:
    """The evaluation of a composed message for each recipient, in their order."""

    composed: ComposedMessage
    opinions: tuple[Opinion, ...]

    @cached_property
    def accepted(self) -> list[Opinion]:
        return [opinion for opinion in self.opinions if not opinion.problems]

    @cached_property
    def refused(self) -> list[Opinion]:
        return [opinion for opinion in self.opinions if opinion.problems]

    @cached_property
    def price(self) -> int:
        """Micro-credits for all acceptable messages."""
        return sum(opinion.price or 0 for opinion in self.accepted)

    @cached_property
    def parts(self) -> int:
        return sum(opinion.measure.parts for opinion in self.accepted if opinion.measure)

    @cached_property
    def held(self) -> list[tuple[datetime, int]]:
        """Return the numbers of messages that wait for a country's sending hours, by opening."""
        found = Counter(each.held_until for each in self.accepted if each.held_until)
        return sorted((at, count) for at, count in found.items() if at is not None)

    @cached_property
    def problems(self) -> list[tuple[Problem, int]]:
        """Return each kind of problem with its number of recipients, most frequent first."""
        found: dict[Hashable, list[Problem]] = {}
        for opinion in self.refused:
            for problem in opinion.problems:
                found.setdefault(problem.kind, []).append(problem)
        grouped = [(same[0], len(same)) for same in found.values()]
        return sorted(grouped, key=lambda each: -each[1])

    @property
    def fingerprint(self) -> str:
        """Return what the member agrees to: the number of messages and their price."""
        return f"{len(self.accepted)}:{self.price}"


def assess(composed: ComposedMessage) -> Assessment:
    """Evaluate each message as the API does, and check that its variables have values."""
    drafts = composed.drafts()
    terms = terms_of(composed.send_request(), drafts)
    problems = _organization_problems(composed.organization)
    opinions = (
        examine(draft, terms).after([*problems, *_without_value(composed.text, recipient)])
        for draft, recipient in zip(drafts, composed.recipients.all, strict=True)
    )
    return Assessment(composed, tuple(opinions))


def _organization_problems(organization: Organization) -> list[Problem]:
    """Return the problems that keep the organization from sending anything."""
    if organization.status == Organization.Status.ACTIVE:
        return []
    return [CallReason.ORGANIZATION_SUSPENDED.problem()]


def _without_value(text: str, recipient: Recipient) -> list[Problem]:
    return [
        SendingReason.NO_VALUE.problem(name=name)
        for name in variables.missing(text, recipient.values)
    ]


@dataclass(frozen=True, slots=True)
class Sent:
    """The message or batch that was sent. `first`: by this call, not by an earlier one."""

    message_id: uuid.UUID | None
    batch_id: uuid.UUID | None
    first: bool


class NothingAccepted(Exception):
    """Nothing is acceptable any more, or the price has changed since the review."""


def was_sent(member: Member, form_id: uuid.UUID) -> bool:
    """Return whether `send` has already sent the form with that id."""
    return Composition.objects.filter(id=form_id, organization=member.organization).exists()


def send(member: Member, composed: ComposedMessage, form_id: uuid.UUID, address: str) -> Sent:
    """Accept the acceptable messages, exactly once for each `form_id`.

    Raises InsufficientCredits, NothingAccepted, and ApiError: FORBIDDEN for a suspended
    organization, RATE_LIMITED and PAYLOAD_TOO_LARGE. Nothing is sent then.
    """
    organization = composed.organization
    done = Composition.objects.filter(id=form_id, organization=organization).first()
    if done is not None:
        return Sent(done.message_id, done.batch_id, first=False)
    problems = _organization_problems(organization)
    if problems:
        raise ApiError.of(problems[0])
    spend(composed.organization, len(composed.recipients.all))
    drafts = [
        draft
        for draft, recipient in zip(composed.drafts(), composed.recipients.all, strict=True)
        if not variables.missing(composed.text, recipient.values)
    ]
    with transaction.atomic():
        # A concurrent second call waits here until the first one commits.
        composition, first = Composition.objects.get_or_create(
            id=form_id, defaults={"organization": organization}
        )
        if not first:
            return Sent(composition.message_id, composition.batch_id, first=False)
        acceptance = accept(composed.send_request(), drafts)
        accepted = [each for each in acceptance.outcomes if isinstance(each, Accepted)]
        if not accepted:
            raise NothingAccepted
        if acceptance.batch_id is None:
            composition.message_id = accepted[0].id
        composition.batch_id = acceptance.batch_id
        composition.save(update_fields=["message_id", "batch_id"])
        _record(member, composition, len(accepted), acceptance.price, address, test=composed.test)
    return Sent(composition.message_id, composition.batch_id, first=True)


def delete_old() -> int:
    """Delete records of forms older than KEPT; return their number."""
    old = Composition.objects.filter(created_at__lt=clock.now() - KEPT)
    return old.delete()[0]


def _record(
    member: Member,
    composition: Composition,
    count: int,
    price: int,
    address: str,
    *,
    test: bool,
) -> None:
    """Record the sender in the audit log, because the messages have no member."""
    target = (
        ids.public_id(ids.BATCH, composition.batch_id)
        if composition.batch_id
        else ids.public_id(ids.MESSAGE, composition.message_id or composition.id)
    )
    trail.record(
        "messages.sent",
        actor=member.user,
        organization=member.organization,
        target=target,
        detail={"messages": count, "credits": credits_text(price), "test": test},
        address=address,
    )


def first_texts(assessment: Assessment, most: int) -> list[tuple[Recipient, str]]:
    """Return the first recipients with acceptable messages, each with its text."""
    pairs = zip(assessment.composed.recipients.all, assessment.opinions, strict=True)
    accepted = ((recipient, each.draft.text) for recipient, each in pairs if not each.problems)
    return list(itertools.islice(accepted, most))
