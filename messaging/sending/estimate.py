"""What messages would cost and whether they would be accepted, without sending anything."""

from collections.abc import Sequence

from accounts.credits.ledger import credits_text
from accounts.models import Balance
from imissive.core.api.rendering import time_text
from imissive.core.errors import Problem
from messaging.sending.accept import Known, SendRequest, terms_of
from messaging.sending.evaluation import Draft, Opinion, examine
from messaging.sending.schemas import BulkEstimate, Estimate, EstimatedMessage
from messaging.text import encoding


def estimate(
    send_request: SendRequest,
    drafts: Sequence[Draft],
    known: Known | None = None,
    *,
    against: Sequence[Problem] = (),
    tell_balance: bool = True,
) -> Estimate | BulkEstimate:
    """Return the estimate of a call: of its one message, or of a batch the sums and each message.

    By the same verdicts as `sending.accept`; nothing is stored or charged. `known`: as there.
    `against`: why the whole call would be refused.
    """
    terms = terms_of(send_request, drafts, known)
    opinions = [examine(draft, terms).after(against) for draft in drafts]
    acceptable = [opinion for opinion in opinions if not opinion.problems]
    price = sum(opinion.price or 0 for opinion in acceptable)
    balance = Balance.objects.filter(organization_id=send_request.organization_id).first()
    available = balance.micro if balance else 0
    covered = price <= available
    messages = [_message(opinion, send_request, covered=covered) for opinion in opinions]
    balance_text = credits_text(available) if tell_balance else None
    if not send_request.as_batch:
        return {**messages[0], "balance": balance_text, "covered": covered}
    accepted = len(acceptable) if covered else 0
    return {
        "accepted": accepted,
        "rejected": len(messages) - accepted,
        "parts": sum(opinion.measure.parts for opinion in acceptable if opinion.measure),
        "credits": credits_text(price),
        "balance": balance_text,
        "covered": covered,
        "messages": messages,
    }


def _message(opinion: Opinion, send_request: SendRequest, *, covered: bool) -> EstimatedMessage:
    problems = list(opinion.problems)
    if not problems and not covered:
        told = "The balance does not cover this."
        problems.append(Problem("INSUFFICIENT_CREDITS", told))
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
        "scheduled_at": time_text(opinion.held_until or send_request.scheduled_at),
        "problems": [problem.as_json() for problem in problems],
    }
