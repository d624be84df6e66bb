"""Estimates: what messages would cost and whether they would be accepted; nothing is sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accounts.credits.ledger import TEST_BALANCE, credits_text
from accounts.credits.reasons import CreditsReason
from accounts.models import Balance
from imissive.core.api.rendering import time_text
from imissive.core.errors import problem_json
from imissive.core.problems import Problem
from messaging.sending import schemas
from messaging.sending.accept import SendRequest, terms_of
from messaging.sending.evaluation import Draft, Opinion, examine
from messaging.text import encoding


@dataclass(frozen=True, slots=True)
class Estimate:
    """A call as it would be evaluated now: its messages in order, and the micro-credits that the
    organization has."""

    send_request: SendRequest
    opinions: tuple[Opinion, ...]
    available: int

    @property
    def acceptable(self) -> list[Opinion]:
        return [opinion for opinion in self.opinions if not opinion.problems]

    @property
    def price(self) -> int:
        """Micro-credits for all that would be accepted."""
        return sum(opinion.price or 0 for opinion in self.acceptable)

    @property
    def covered(self) -> bool:
        return self.price <= self.available

    def problems_of(self, opinion: Opinion) -> list[Problem]:
        """Return all that is against a message of the call, the balance included."""
        if opinion.problems or self.covered:
            return list(opinion.problems)
        return [CreditsReason.ESTIMATE_NOT_COVERED.problem()]


def estimate(
    send_request: SendRequest,
    drafts: Sequence[Draft],
    known: Sequence[Any] | None = None,
    *,
    against: Sequence[Problem] = (),
) -> Estimate:
    """Evaluate a call as `sending.accept` would; nothing is stored or charged.

    `known`: as there. `against`: why the whole call would be refused.
    """
    terms = terms_of(send_request, drafts, known)
    opinions = tuple(examine(draft, terms).after(against) for draft in drafts)
    return Estimate(send_request, opinions, _available(send_request))


def _available(send_request: SendRequest) -> int:
    """Return the balance of the request's mode, in micro-credits."""
    if send_request.test:
        return TEST_BALANCE
    balance = Balance.objects.filter(organization_id=send_request.organization_id).first()
    return balance.micro if balance else 0


def estimate_json(
    found: Estimate, *, tell_balance: bool
) -> schemas.Estimate | schemas.BulkEstimate:
    """Return that of its one message, or for a batch the sums and each message."""
    available, covered = found.available, found.covered
    messages = [_message_json(found, opinion) for opinion in found.opinions]
    balance = credits_text(available) if tell_balance else None
    if not found.send_request.as_batch:
        return {**messages[0], "balance": balance, "covered": covered}
    acceptable = found.acceptable
    accepted = len(acceptable) if covered else 0
    return {
        "accepted": accepted,
        "rejected": len(messages) - accepted,
        "parts": sum(opinion.measure.parts for opinion in acceptable if opinion.measure),
        "credits": credits_text(found.price),
        "balance": balance,
        "covered": covered,
        "messages": messages,
    }


def _message_json(found: Estimate, opinion: Opinion) -> schemas.EstimatedMessage:
    problems = found.problems_of(opinion)
    measure, price = opinion.measure, opinion.price
    return {
        "to": opinion.number.e164 if opinion.number else opinion.draft.to,
        "country": opinion.number.country if opinion.number else None,
        "sender_id": opinion.sender,
        "accepted": not problems,
        "parts": measure.parts if measure else None,
        "encoding": measure.encoding if measure else None,
        "units": measure.units if measure else None,
        "ucs2_characters": encoding.forcing_ucs2(opinion.draft.text)
        if measure and measure.encoding == "ucs2"
        else [],
        "credits": None if price is None else credits_text(price),
        "route": [carrier.slug for carrier in opinion.carriers],
        "scheduled_at": time_text(opinion.held_until or found.send_request.scheduled_at),
        "problems": [problem_json(problem) for problem in problems],
    }
