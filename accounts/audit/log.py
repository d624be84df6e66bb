"""An organization's audit log as its owners read it: filtered, newest first, by pages."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from accounts.audit.texts import AREAS
from accounts.models import AuditEntry, Organization, User

PEOPLE_AMONG = 5_000
"""Of the newest entries: who did one of them can be chosen in the filter."""
SUPPORT, PLATFORM = "support", "platform"
"""Who is no member: an operator of the platform, and the platform itself."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What the log is narrowed to; what is empty narrows nothing.

    `who`: a user's id, SUPPORT or PLATFORM. `what`: an area of AREAS, or an action. From `since` on
    and before `until`.
    """

    who: str = ""
    what: str = ""
    since: datetime | None = None
    until: datetime | None = None


def entries(organization: Organization, narrowed: Filter) -> QuerySet[AuditEntry]:
    """The organization's entries that match, newest first."""
    found = AuditEntry.objects.filter(organization=organization).select_related("actor")
    if narrowed.who == PLATFORM:
        found = found.filter(actor=None)
    elif narrowed.who == SUPPORT:
        found = found.filter(actor__in=_operators(organization))
    elif narrowed.who:
        found = found.filter(actor=int(narrowed.who))
    if narrowed.what in AREAS:
        found = found.filter(action__in=AREAS[narrowed.what][1])
    elif narrowed.what:
        found = found.filter(action=narrowed.what)
    if narrowed.since is not None:
        found = found.filter(created_at__gte=narrowed.since)
    if narrowed.until is not None:
        found = found.filter(created_at__lt=narrowed.until)
    return found.order_by("-id")


def _operators(organization: Organization) -> QuerySet[User]:
    """Operators who are no members: customers know them as support, and by no name."""
    return User.objects.filter(is_staff=True).exclude(memberships__organization=organization)


def operator_ids(organization: Organization) -> frozenset[int]:
    """The users whose acts are told as support's."""
    return frozenset(_operators(organization).values_list("pk", flat=True))


def people(organization: Organization) -> list[User]:
    """Members, and former ones, who are among those that did something lately."""
    newest = AuditEntry.objects.filter(organization=organization).order_by("-id")
    actors = newest.values("actor")[:PEOPLE_AMONG]
    operators = _operators(organization)
    known = User.objects.filter(Q(pk__in=actors) | Q(memberships__organization=organization))
    return list(known.exclude(pk__in=operators).distinct().order_by("email"))


def walk(found: QuerySet[AuditEntry], step: int = 1000) -> Iterator[AuditEntry]:
    """All of them, newest first, some thousand read at once."""
    last: int | None = None
    while True:
        rows = list((found if last is None else found.filter(id__lt=last))[:step])
        yield from rows
        if len(rows) < step:
            return
        last = rows[-1].pk
