"""The live SMPP console: accounts and their binds, for customers and operators."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.utils.functional import Promise

from accounts.models import Organization
from imissive.core import clock
from messaging.gateway import history, receipt_queue, sessions
from messaging.models import SmppAccount, SmppHappening, SmppSession

ERRORS_SHOWN: Final = 10
HAPPENINGS_SHOWN: Final = 10
_REFUSED: Final = SmppHappening.What.REFUSED


@dataclass(frozen=True, slots=True)
class Line:
    """A PDU or an error of a bind. `way`: `<` from the customer, `>` to the customer."""

    at: datetime
    way: str
    command: str
    sequence: int
    status: str
    summary: str

    @property
    def failed(self) -> bool:
        """Return whether its status is an error."""
        return bool(self.status) and self.status != "ESME_ROK"


@dataclass(frozen=True, slots=True)
class Bind:
    """A live bind, with its PDUs and errors, newest first."""

    session: SmppSession
    pdus: list[Line]
    errors: list[Line]

    @property
    def sends(self) -> bool:
        """Return whether the customer may submit over it."""
        return self.session.kind != SmppSession.Kind.RECEIVER

    @property
    def receives(self) -> bool:
        """Return whether it gets receipts."""
        return self.session.kind != SmppSession.Kind.TRANSMITTER


@dataclass(frozen=True, slots=True)
class Happening:
    """A bind that was accepted, refused or ended, with a readable reason."""

    row: SmppHappening
    reason: str | Promise

    @property
    def bad(self) -> bool:
        """Return whether it needs attention."""
        return self.row.what == _REFUSED


@dataclass(frozen=True, slots=True)
class Overview:
    """An account's current state: its live binds, oldest first, and its recent errors."""

    account: SmppAccount
    binds: list[Bind]
    waiting: int
    errors: list[Line]
    happenings: list[Happening]

    @property
    def pace(self) -> float:
        """The submits per second over all binds."""
        return round(sum(bind.session.pace for bind in self.binds), 1)

    @property
    def throttled(self) -> int:
        """The number of throttled submits on the live binds."""
        return sum(bind.session.throttled for bind in self.binds)

    @property
    def submits(self) -> int:
        """The number of submits on the live binds."""
        return sum(bind.session.submits for bind in self.binds)

    @property
    def may_bind(self) -> bool:
        """Return whether binds are accepted."""
        active = self.account.organization.status == Organization.Status.ACTIVE
        return self.account.enabled and active

    @property
    def previous_works(self) -> bool:
        """Return whether the previous password is still valid."""
        return previous_works(self.account)


def previous_works(account: SmppAccount) -> bool:
    """Return whether the account's previous password is still valid."""
    return account.previous_until is not None and account.previous_until > clock.now()


def where() -> dict[str, Any]:
    """Return the host and ports for binds, the same for all accounts."""
    return {
        "host": settings.SMPP_PUBLIC_HOST,
        "port": settings.SMPP_PORT,
        "tls_port": settings.SMPP_TLS_PORT if settings.SMPP_TLS_CERT else None,
    }


def overviews(accounts: Iterable[SmppAccount]) -> list[Overview]:
    """Return the overviews of those accounts, loaded with their organizations, in their order."""
    accounts = list(accounts)
    account_ids = [account.pk for account in accounts]
    waiting = receipt_queue.waiting(account_ids) if account_ids else {}
    binds = _binds(account_ids)
    happenings = _happenings(account_ids)
    return [
        Overview(
            account,
            binds.get(account.pk, []),
            waiting.get(account.pk, 0),
            _latest_errors(binds.get(account.pk, [])),
            happenings.get(account.pk, []),
        )
        for account in accounts
    ]


def of_organization(organization: Organization) -> list[Overview]:
    """Return the overviews of the organization's accounts, enabled ones first, by system_id."""
    accounts = SmppAccount.objects.filter(organization=organization).select_related("organization")
    return overviews(accounts.order_by("-enabled", "system_id"))


def lines(stored: Sequence[Any]) -> list[Line]:
    """Return the PDUs or errors of a bind's report, newest first."""
    return [_line(**row) for row in reversed(stored)]


def _line(at: float, told: str, **fields: Any) -> Line:
    """Return a stored PDU or error, whose summary is stored as `told`."""
    return Line(at=datetime.fromtimestamp(at, UTC), summary=told, **fields)


def _binds(account_ids: list[UUID]) -> dict[UUID, list[Bind]]:
    binds: dict[UUID, list[Bind]] = {}
    for session in sessions.live().filter(account_id__in=account_ids).order_by("bound_at", "id"):
        bind = Bind(session, lines(session.pdus), lines(session.errors))
        binds.setdefault(session.account_id, []).append(bind)
    return binds


def _latest_errors(binds: Sequence[Bind]) -> list[Line]:
    every = [line for bind in binds for line in bind.errors]
    return sorted(every, key=lambda line: line.at, reverse=True)[:ERRORS_SHOWN]


def _happenings(account_ids: list[UUID]) -> dict[UUID, list[Happening]]:
    happenings: dict[UUID, list[Happening]] = {}
    # A hundred of each account are kept.
    for row in SmppHappening.objects.filter(account_id__in=account_ids).order_by("-id"):
        own = happenings.setdefault(row.account_id, [])
        if len(own) < HAPPENINGS_SHOWN:
            own.append(Happening(row, history.explained(row.reason)))
    return happenings
