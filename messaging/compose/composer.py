"""Writing to people from a page: who is written to, what each of them gets, and sending it once.

Verdicts and prices are those of `messaging.sending.evaluation`, as for the API: nothing is judged
here but what the API does not know, a variable without a value.
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
"""Recipients at once, as in a bulk call."""


class TooMany(Exception):
    """More than MOST recipients."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """The recipient of one message: the number as written or stored, the name if it is known,
    and the values of variables."""

    number: str
    name: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Recipients:
    """Each one once; `repeated` is how many more times numbers were named."""

    all: tuple[Recipient, ...] = ()
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A member's composition. `sender` None stands for the default one."""

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
            # As with the API: a single message is one that somebody waits for.
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
    """The written numbers, then the contacts of the lists, each number once.

    What is known of a contact fills the variables, also where the number was written; `defaults`
    are for what is not known. Raises TooMany.
    """
    home = organization.default_country
    entries = written_numbers(written, home, at_most=MOST)
    if len(entries) > MOST:
        raise TooMany
    keys = [_key(entry, home) for entry in entries]
    mine = Contact.objects.filter(organization=organization)
    known = {each.number: each for each in mine.filter(number__in=keys)} if keys else {}
    found: dict[str, Recipient] = {}
    for entry, key in zip(entries, keys, strict=True):
        found.setdefault(key, _recipient(entry, known.get(key), defaults))
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
    known = {name: str(value) for name, value in values_of(contact).items() if str(value).strip()}
    return Recipient(number, contact.name, {**defaults, **known})


def values_of(contact: Contact) -> dict[str, Any]:
    """Return the values that variables may take from a contact."""
    return {**contact.fields, "name": contact.name, "number": contact.number}


@dataclass(frozen=True)
class Assessment:
    """The evaluation of a composition, message by message, in the order of the recipients."""

    asked: Asked
    opinions: tuple[Opinion, ...]

    @cached_property
    def accepted(self) -> list[Opinion]:
        return [opinion for opinion in self.opinions if not opinion.problems]

    @cached_property
    def refused(self) -> list[Opinion]:
        return [opinion for opinion in self.opinions if opinion.problems]

    @cached_property
    def price(self) -> int:
        """Micro-credits for all that would be accepted."""
        return sum(opinion.price or 0 for opinion in self.accepted)

    @cached_property
    def parts(self) -> int:
        return sum(opinion.measure.parts for opinion in self.accepted if opinion.measure)

    @cached_property
    def held(self) -> list[tuple[datetime, int]]:
        """Return how many messages wait for a country's hours, and until when."""
        found = Counter(each.held_until for each in self.accepted if each.held_until)
        return sorted((at, count) for at, count in found.items() if at is not None)

    @cached_property
    def problems(self) -> list[tuple[Problem, int]]:
        """Every kind of problem with how many recipients have it, the most frequent first."""
        found: dict[Hashable, list[Problem]] = {}
        for opinion in self.refused:
            for problem in opinion.problems:
                found.setdefault(problem.kind, []).append(problem)
        grouped = [(same[0], len(same)) for same in found.values()]
        return sorted(grouped, key=lambda each: -each[1])

    @property
    def fingerprint(self) -> str:
        """Return what a member agreed to: how many messages, at what price."""
        return f"{len(self.accepted)}:{self.price}"


def assess(asked: Asked) -> Assessment:
    """The verdict of the API on each message, with the variables that have no value."""
    drafts = asked.drafts()
    terms = terms_of(asked.send_request(), drafts)
    against = _against(asked.organization)
    opinions = (
        examine(draft, terms).after([*against, *_without_value(asked.text, recipient)])
        for draft, recipient in zip(drafts, asked.recipients.all, strict=True)
    )
    return Assessment(asked, tuple(opinions))


def _against(organization: Organization) -> list[Problem]:
    """Why nothing would be accepted, whatever it is."""
    if organization.status == Organization.Status.ACTIVE:
        return []
    return [CallReason.ORGANIZATION_SUSPENDED.problem()]


def _without_value(text: str, recipient: Recipient) -> list[Problem]:
    return [
        SendingReason.NO_VALUE.problem(name=name)
        for name in variables.missing(text, recipient.values)
    ]


def usual(asked: Asked) -> Opinion:
    """Return what can be said of the text alone, before there is a recipient."""
    draft = Draft("", asked.text, asked.sender)
    return examine(draft, terms_of(asked.send_request(), []))


@dataclass(frozen=True, slots=True)
class Sent:
    """The result of sending: a message, or a batch. `first`: this call sent it, no earlier one."""

    message_id: uuid.UUID | None
    batch_id: uuid.UUID | None
    first: bool


class NothingAccepted(Exception):
    """Something that was acceptable at the review no longer is."""


def was_sent(member: Member, once: uuid.UUID) -> bool:
    """Return whether `send` has done that already."""
    return Composition.objects.filter(id=once, organization=member.organization).exists()


def send(member: Member, asked: Asked, once: uuid.UUID, address: str) -> Sent:
    """Accept what is acceptable of it, once for each `once`, however often it is called.

    Raises InsufficientCredits, NothingAccepted, and ApiError: FORBIDDEN for an organization that is
    suspended, RATE_LIMITED and PAYLOAD_TOO_LARGE. Then nothing was sent.
    """
    organization = asked.organization
    done = Composition.objects.filter(id=once, organization=organization).first()
    if done is not None:
        return Sent(done.message_id, done.batch_id, first=False)
    against = _against(organization)
    if against:
        raise ApiError.of(against[0])
    spend(asked.organization, len(asked.recipients.all))
    drafts = [
        draft
        for draft, recipient in zip(asked.drafts(), asked.recipients.all, strict=True)
        if not variables.missing(asked.text, recipient.values)
    ]
    with transaction.atomic():
        # Whoever comes second waits here until the first one is committed.
        composition, first = Composition.objects.get_or_create(
            id=once, defaults={"organization": organization}
        )
        if not first:
            return Sent(composition.message_id, composition.batch_id, first=False)
        acceptance = accept(asked.send_request(), drafts)
        accepted = [each for each in acceptance.outcomes if isinstance(each, Accepted)]
        if not accepted:
            raise NothingAccepted
        if acceptance.batch_id is None:
            composition.message_id = accepted[0].id
        composition.batch_id = acceptance.batch_id
        composition.save(update_fields=["message_id", "batch_id"])
        _record(member, composition, len(accepted), acceptance.price, address, test=asked.test)
    return Sent(composition.message_id, composition.batch_id, first=True)


def forget() -> int:
    """Delete what was noted longer than KEPT ago; how many."""
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
    """Record who sent it, because the messages themselves do not say."""
    what = (
        ids.public_id(ids.BATCH, composition.batch_id)
        if composition.batch_id
        else ids.public_id(ids.MESSAGE, composition.message_id or composition.id)
    )
    trail.record(
        "messages.sent",
        actor=member.user,
        organization=member.organization,
        target=what,
        detail={"messages": count, "credits": credits_text(price), "test": test},
        address=address,
    )


def first_texts(assessment: Assessment, most: int) -> list[tuple[Recipient, str]]:
    """The first of who would get it, with the text that each of them gets."""
    pairs = zip(assessment.asked.recipients.all, assessment.opinions, strict=True)
    accepted = ((recipient, each.draft.text) for recipient, each in pairs if not each.problems)
    return list(itertools.islice(accepted, most))
