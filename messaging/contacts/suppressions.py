"""The suppression list: numbers that an organization must not write to, mostly after an opt-out.

`test`: the mode. An entry of a test key stops test messages only.
"""

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from django.db import transaction

from accounts.audit import trail
from accounts.models import Organization, User
from imissive.core import ids
from imissive.core.errors import ApiError
from imissive.core.logs import redact_text
from imissive.core.problems import Problem
from imissive.core.sql import server_cursor
from messaging.contacts.reasons import SuppressionReason
from messaging.models import Suppression
from messaging.numbers import e164
from messaging.sending import cancel

MOST = 1000
"""The limit of numbers in one call."""
MAX_REASON = 200
_E164 = re.compile(r"\+[1-9][0-9]{1,14}")


class Source(StrEnum):
    """The source of an entry of the suppression list."""

    API = "api"
    DASHBOARD = "dashboard"


@dataclass(frozen=True, slots=True)
class Added:
    """The result of an addition.

    It counts the numbers that were new and known already, and the pending messages canceled;
    `rejected` has the invalid numbers as given, each with its problem.
    """

    added: int
    known: int
    canceled: int
    rejected: list[tuple[str, Problem]]


_INSERT = """
INSERT INTO messaging_suppression (id, organization_id, test, number, reason, source)
SELECT new.id, %(organization)s, %(test)s, new.number, %(reason)s, %(source)s
  FROM unnest(%(ids)b::uuid[], %(numbers)b::text[]) AS new(id, number)
    ON CONFLICT (organization_id, number, test) DO NOTHING
RETURNING number
"""


def add(
    organization_id: uuid.UUID,
    written: Iterable[str],
    reason: str = "",
    *,
    source: Source,
    home: str,
    test: bool,
) -> Added:
    """Add numbers to the list, and cancel and refund the pending messages to them.

    A number that is on the list already keeps its reason; invalid numbers are skipped and returned.
    Raises ApiError: INVALID_REQUEST for an invalid reason, INVALID_PHONE if no number is valid.
    """
    if len(reason) > MAX_REASON or "\0" in reason:
        raise ApiError(SuppressionReason.BAD_NOTE, "reason", most=MAX_REASON)
    good, rejected = _parsed(written, home)
    if rejected and not good:
        problems = [problem for _, problem in rejected]
        raise ApiError.of(problems[0], problems[1:])
    with server_cursor() as cursor:
        cursor.execute(
            _INSERT,
            {
                "organization": organization_id,
                "test": test,
                "reason": reason,
                "source": source.value,
                "ids": [ids.new_uuid() for _ in good],
                "numbers": good,
            },
        )
        added = len(cursor.fetchall())
    # Also for known numbers: a call may repeat one that failed before the cancellation.
    canceled = cancel.cancel_to(organization_id, good, test=test)
    return Added(added, len(good) - added, canceled.count, rejected)


def _parsed(written: Iterable[str], home: str) -> tuple[list[str], list[tuple[str, Problem]]]:
    """Return the valid numbers, each once, and the invalid ones with their problems."""
    good: dict[str, None] = {}
    rejected: list[tuple[str, Problem]] = []
    for position, text in enumerate(written):
        try:
            good[e164.parse(text, home).e164] = None
        except e164.InvalidNumber as error:
            rejected.append((text, error.problem(f"numbers[{position}]")))
    return list(good), rejected


def find(organization_id: uuid.UUID, written: str, *, home: str, test: bool) -> Suppression:
    """Return the organization's entry of that number in that mode; see `number_of`.

    Raises ApiError NOT_FOUND too.
    """
    entries = Suppression.objects.filter(organization=organization_id, test=test)
    entry = entries.filter(number=number_of(written, home)).first()
    if entry is None:
        raise ApiError(SuppressionReason.NOT_LISTED)
    return entry


def number_of(written: str, home: str) -> str:
    """Return a number of a path or a query in E.164. Raise ApiError INVALID_PHONE.

    The plus may be missing, as in URLs where it was not encoded. Any number in the form of E.164 is
    accepted, even if its country's rules have changed since it was added to the list.
    """
    text = written.replace(" ", "")
    try:
        return e164.parse(text, home).e164
    except e164.InvalidNumber as error:
        if text.isascii() and text.isdigit():
            text = f"+{text}"
        if _E164.fullmatch(text):
            return text
        raise ApiError.of(error.problem("number")) from None


@transaction.atomic
def remove(
    suppression: Suppression,
    *,
    actor: User | None = None,
    address: str | None = None,
    api_key_id: uuid.UUID | None = None,
) -> None:
    """Allow messages to the number again. Raise ApiError NOT_FOUND.

    It is audited with a redacted number, because the audit log is kept forever.
    """
    removed, _ = Suppression.objects.filter(pk=suppression.pk).delete()
    if not removed:
        raise ApiError(SuppressionReason.NOT_LISTED)
    trail.record(
        "suppression.removed",
        actor=actor,
        organization=Organization.objects.get(pk=suppression.organization_id),
        target=redact_text(suppression.number),
        detail=({"api_key": ids.public_id(ids.KEY, api_key_id)} if api_key_id else {})
        | ({"test": True} if suppression.test else {}),
        address=address,
    )
