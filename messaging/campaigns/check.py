"""The check of a campaign before anything is sent: every row is evaluated, counted and stored."""

import itertools
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from django.db import transaction

from imissive.core import clock
from messaging.campaigns.chunks import CHUNK, Bad, Good, pack
from messaging.campaigns.transitions import move
from messaging.importing.problems import Kind, of_refusal
from messaging.importing.recipients import MOST_ROWS, Recipient, recipients
from messaging.models import Campaign, CampaignChunk
from messaging.models.campaign_states import State
from messaging.sending.accept import SendRequest, terms_of
from messaging.sending.evaluation import (
    Draft,
    Opinion,
    examine,
)
from messaging.text import variables

SOURCE: Final = "campaign"
LEASE: Final = timedelta(seconds=60)
"""After this time without a sign of life, another worker starts the check again."""


def send_request_of(campaign: Campaign) -> SendRequest:
    """Return the SendRequest that all messages of the campaign share."""
    return SendRequest(
        campaign.organization_id,
        source=SOURCE,
        validity=timedelta(seconds=campaign.validity) if campaign.validity else None,
    )


@dataclass(slots=True)
class _Findings:
    """The findings of a check so far."""

    rows: int = 0
    good: int = 0
    parts: int = 0
    price: int = 0
    held: int = 0
    too_many: bool = False
    problems: Counter[str] = field(default_factory=Counter)
    encodings: Counter[str] = field(default_factory=Counter)
    encoding_parts: Counter[str] = field(default_factory=Counter)
    countries: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)

    def count(self, opinion: Opinion) -> None:
        """Count a valid row."""
        assert opinion.measure is not None and opinion.number is not None  # noqa: S101, PT018
        self.good += 1
        self.parts += opinion.measure.parts
        self.price += opinion.price or 0
        self.held += opinion.held_until is not None
        self.encodings[opinion.measure.encoding] += 1
        self.encoding_parts[opinion.measure.encoding] += opinion.measure.parts
        self.countries[opinion.number.country] += 1
        self.sizes[str(opinion.measure.parts)] += 1

    def as_json(self) -> dict[str, Any]:
        return {
            "problems": dict(self.problems.most_common()),
            "encodings": dict(self.encodings),
            "encoding_parts": dict(self.encoding_parts),
            "countries": dict(self.countries.most_common(20)),
            "sizes": dict(self.sizes),
            "held": self.held,
            "too_many": self.too_many,
        }


def check(campaign_id: uuid.UUID) -> bool:
    """Evaluate all rows of a campaign that waits for its check, and store the findings.

    Everything is written in one transaction at the end, by the check that started last: one that
    was killed, or overtaken because the text was changed, leaves nothing. Returns False if there
    was nothing to do.
    """
    started = _start(campaign_id)
    if started is None:
        return False
    campaign, check_id = started
    findings, chunks = _Findings(), list[tuple[int, bytes, bytes]]()
    for good, bad in _evaluated(
        campaign, findings, lambda: _renew(campaign_id, check_id, findings.rows)
    ):
        chunks.append((len(chunks), pack(good), pack(bad)))
    with transaction.atomic():
        if move(
            campaign_id,
            State.READY,
            check_id=None,
            due_at=None,
            rows=findings.rows,
            good=findings.good,
            parts=findings.parts,
            price=findings.price,
            findings=findings.as_json(),
            checked_at=clock.now(),
            where={"check_id": check_id},
        ):
            CampaignChunk.objects.filter(campaign=campaign).delete()
            CampaignChunk.objects.bulk_create(
                [
                    CampaignChunk(campaign=campaign, number=number, rows=rows, problems=problems)
                    for number, rows, problems in chunks
                ],
                batch_size=20,
            )
    return True


def _start(campaign_id: uuid.UUID) -> tuple[Campaign, uuid.UUID] | None:
    """Claim the check under a lease, after whose end another worker may take over."""
    now, check_id = clock.now(), uuid.uuid4()
    waiting = Campaign.objects.filter(pk=campaign_id, state=State.CHECKING, due_at__lte=now)
    if not waiting.update(check_id=check_id, due_at=now + LEASE, rows=0):
        return None
    return Campaign.objects.select_related("file", "organization").get(pk=campaign_id), check_id


def _renew(campaign_id: uuid.UUID, check_id: uuid.UUID, rows: int) -> bool:
    """Record the progress and renew the lease; return False if another check has started."""
    own = Campaign.objects.filter(pk=campaign_id, state=State.CHECKING, check_id=check_id)
    return own.update(rows=rows, due_at=clock.now() + LEASE) == 1


def _evaluated(
    campaign: Campaign, findings: _Findings, renew: Callable[[], bool]
) -> Iterator[tuple[list[Good], list[Bad]]]:
    """Yield the rows in chunks: CHUNK good ones, fewer in the last chunk, and the bad ones.

    It stops when `renew`, called after each step, returns False.
    """
    good: list[Good] = []
    bad: list[Bad] = []
    seen: dict[str, int] = {}
    for some in _batched(recipients(campaign), CHUNK):
        if findings.rows + len(some) > MOST_ROWS:
            some, findings.too_many = some[: MOST_ROWS - findings.rows], True
        findings.rows += len(some)
        for evaluated in _evaluate(campaign, some, seen, findings):
            if isinstance(evaluated, Bad):
                bad.append(evaluated)
                findings.problems[evaluated.kind] += 1
                continue
            good.append(evaluated)
            if len(good) == CHUNK:
                yield good, bad
                good, bad = [], []
        if findings.too_many or not renew():
            break
    yield good, bad


def _evaluate(
    campaign: Campaign, some: Sequence[Recipient], seen: dict[str, int], findings: _Findings
) -> Iterable[Good | Bad]:
    drafts = [_draft(campaign, each) for each in some]
    terms = terms_of(send_request_of(campaign), [draft for draft in drafts if draft.to])
    for recipient, draft in zip(some, drafts, strict=True):
        problem = _problem(campaign, recipient, seen)
        if problem is None:
            opinion = examine(draft, terms)
            problem = _refused(recipient, opinion)
            if problem is None:
                findings.count(opinion)
                seen[recipient.number] = recipient.line
                yield Good(recipient.line, recipient.number, draft.text, recipient.reference)
                continue
        yield problem


def _draft(campaign: Campaign, recipient: Recipient) -> Draft:
    return Draft(
        recipient.number,
        variables.fill(campaign.text, recipient.values),
        campaign.sender,
        recipient.reference,
    )


def _problem(campaign: Campaign, recipient: Recipient, seen: dict[str, int]) -> Bad | None:
    """Return the problem of a row that is known before its message is evaluated, or None."""
    if recipient.kind is not None:
        return Bad(recipient.line, recipient.written, recipient.kind, recipient.detail)
    first = seen.get(recipient.number)
    if first is not None:
        return Bad(recipient.line, recipient.written, Kind.DUPLICATE, str(first))
    missing = variables.missing(campaign.text, recipient.values)
    if missing:
        return Bad(recipient.line, recipient.written, Kind.VARIABLE, missing[0])
    return None


def _refused(recipient: Recipient, opinion: Opinion) -> Bad | None:
    if not opinion.problems:
        return None
    return Bad(recipient.line, recipient.written, *of_refusal(opinion.problems[0]))


def _batched(items: Iterator[Recipient], size: int) -> Iterator[list[Recipient]]:
    while some := list(itertools.islice(items, size)):
        yield some
