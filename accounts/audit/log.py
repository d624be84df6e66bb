"""Query of an organization's audit log: filtered, newest first, in pages."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from accounts.audit.texts import AREAS
from accounts.models import AuditEntry, Organization, User

PEOPLE_AMONG = 5_000
"""Number of newest entries whose actors the filter offers."""
SUPPORT, PLATFORM = "support", "platform"
"""Actors that are not members: operators of the platform, and the platform itself."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Filter of the audit log; an empty field does not filter.

    `who`: a user's id, SUPPORT or PLATFORM. `what`: an area of AREAS, or an action. `since` is
    included, `until` is excluded; both are aware.
    """

    who: str = ""
    what: str = ""
    since: datetime | None = None
    until: datetime | None = None


def entries(organization: Organization, narrowed: Filter) -> QuerySet[AuditEntry]:
    """Return the organization's entries that match the filter, newest first."""
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
    """Return the operators, former ones too, who are not members.

    Customers see them as "Support", without a name.
    """
    operators = User.objects.filter(Q(is_staff=True) | Q(was_operator=True))
    return operators.exclude(memberships__organization=organization)


def operator_ids(organization: Organization) -> frozenset[int]:
    """Return the ids of the users who are shown as support."""
    return frozenset(_operators(organization).values_list("pk", flat=True))


def people(organization: Organization) -> list[User]:
    """Return the members, and the former members among the actors of the newest entries."""
    newest = AuditEntry.objects.filter(organization=organization).order_by("-id")
    actors = newest.values("actor")[:PEOPLE_AMONG]
    operators = _operators(organization)
    known = User.objects.filter(Q(pk__in=actors) | Q(memberships__organization=organization))
    return list(known.exclude(pk__in=operators).distinct().order_by("email"))


def walk(found: QuerySet[AuditEntry], step: int = 1000) -> Iterator[AuditEntry]:
    """Yield all entries, newest first; each query reads `step` of them."""
    last: int | None = None
    while True:
        rows = list((found if last is None else found.filter(id__lt=last))[:step])
        yield from rows
        if len(rows) < step:
            return
        last = rows[-1].pk
