"""Numbers that an organization must not write to: their owners have opted out.

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
"""Numbers in one call."""
MAX_REASON = 200
_E164 = re.compile(r"\+[1-9][0-9]{1,14}")


class Source(StrEnum):
    """The source of an entry of the suppression list."""

    API = "api"
    DASHBOARD = "dashboard"


@dataclass(frozen=True, slots=True)
class Added:
    """What became of an addition: how many numbers were new and how many known already, how many
    messages that waited for them were canceled, and those that are no numbers, as they were given,
    each with the reason."""

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
    """Write to those numbers no more, and cancel what waits for them, with the credits back.

    A number that is on the list already keeps its reason. What is no number is left out and named.
    Raises ApiError: INVALID_REQUEST for an unusable reason; INVALID_PHONE where no number is one.
    """
    if len(reason) > MAX_REASON or "\0" in reason:
        raise ApiError(SuppressionReason.BAD_NOTE, "reason", most=MAX_REASON)
    good, rejected = _sorted(written, home)
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
    # Of the known ones too: who repeats a call that broke off has them canceled now.
    canceled = cancel.cancel_to(organization_id, good, test=test)
    return Added(added, len(good) - added, canceled.count, rejected)


def _sorted(written: Iterable[str], home: str) -> tuple[list[str], list[tuple[str, Problem]]]:
    """The numbers, each once, and what is none."""
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
    mine = Suppression.objects.filter(organization=organization_id, test=test)
    found = mine.filter(number=number_of(written, home)).first()
    if found is None:
        raise ApiError(SuppressionReason.NOT_LISTED)
    return found


def number_of(written: str, home: str) -> str:
    """Return a number of a path or a query in E.164. Raises ApiError INVALID_PHONE.

    The plus may be missing, as it is where somebody did not encode it. What has the form of E.164
    is taken as it is, whatever is known of its country by now: it was once put on the list.
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
    """Let the organization write to the number again. Raises ApiError NOT_FOUND.

    It is audited, with the number's ends only: the audit log is kept for ever.
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
