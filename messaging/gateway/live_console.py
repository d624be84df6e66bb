"""The live SMPP console: accounts and their binds, for their owners and for operators."""

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
    """A PDU, or an error, of a bind. `way`: `<` from the customer, `>` to the customer."""

    at: datetime
    way: str
    command: str
    sequence: int
    status: str
    told: str

    @property
    def failed(self) -> bool:
        """Return whether it says that something was refused."""
        return bool(self.status) and self.status != "ESME_ROK"


@dataclass(frozen=True, slots=True)
class Bind:
    """A live bind, with its PDUs and errors, newest first."""

    session: SmppSession
    pdus: list[Line]
    errors: list[Line]

    @property
    def sends(self) -> bool:
        """Return whether its customer may submit on it."""
        return self.session.kind != SmppSession.Kind.RECEIVER

    @property
    def receives(self) -> bool:
        """Return whether receipts go out on it."""
        return self.session.kind != SmppSession.Kind.TRANSMITTER


@dataclass(frozen=True, slots=True)
class Happening:
    """A bind that was let in, refused or ended, as its owner is told of it."""

    row: SmppHappening
    reason: str | Promise

    @property
    def bad(self) -> bool:
        """Return whether somebody should look at it."""
        return self.row.what == _REFUSED


@dataclass(frozen=True, slots=True)
class Standing:
    """An account as it stands: its live binds, oldest first, and what went wrong lately."""

    account: SmppAccount
    binds: list[Bind]
    waiting: int
    errors: list[Line]
    happenings: list[Happening]

    @property
    def pace(self) -> float:
        """Submits a second, over all binds."""
        return round(sum(bind.session.pace for bind in self.binds), 1)

    @property
    def throttled(self) -> int:
        """Submits that were throttled on the live binds."""
        return sum(bind.session.throttled for bind in self.binds)

    @property
    def submits(self) -> int:
        """Submits on the live binds."""
        return sum(bind.session.submits for bind in self.binds)

    @property
    def may_bind(self) -> bool:
        """Return whether a bind would be let in."""
        active = self.account.organization.status == Organization.Status.ACTIVE
        return self.account.enabled and active

    @property
    def previous_works(self) -> bool:
        """Return whether the password before is good beside the new one."""
        return previous_works(self.account)


def previous_works(account: SmppAccount) -> bool:
    """Return whether the account's password before is good beside the current one."""
    return account.previous_until is not None and account.previous_until > clock.now()


def where() -> dict[str, Any]:
    """Return the addresses that every account binds to."""
    return {
        "host": settings.SMPP_PUBLIC_HOST,
        "port": settings.SMPP_PORT,
        "tls_port": settings.SMPP_TLS_PORT if settings.SMPP_TLS_CERT else None,
    }


def standings(accounts: Iterable[SmppAccount]) -> list[Standing]:
    """Those accounts in their order; they come with their organizations."""
    found = list(accounts)
    account_ids = [account.pk for account in found]
    waiting = receipt_queue.waiting(account_ids) if account_ids else {}
    binds = _binds(account_ids)
    happenings = _happenings(account_ids)
    return [
        Standing(
            account,
            binds.get(account.pk, []),
            waiting.get(account.pk, 0),
            _latest_errors(binds.get(account.pk, [])),
            happenings.get(account.pk, []),
        )
        for account in found
    ]


def of_organization(organization: Organization) -> list[Standing]:
    """The organization's accounts, by system_id."""
    mine = SmppAccount.objects.filter(organization=organization).select_related("organization")
    return standings(mine.order_by("-enabled", "system_id"))


def lines(stored: Sequence[Any]) -> list[Line]:
    """Return the PDUs or errors of a bind's report, newest first."""
    return [
        Line(**{**row, "at": datetime.fromtimestamp(row["at"], UTC)}) for row in reversed(stored)
    ]


def _binds(account_ids: list[UUID]) -> dict[UUID, list[Bind]]:
    found: dict[UUID, list[Bind]] = {}
    for session in sessions.live().filter(account_id__in=account_ids).order_by("bound_at", "id"):
        bind = Bind(session, lines(session.pdus), lines(session.errors))
        found.setdefault(session.account_id, []).append(bind)
    return found


def _latest_errors(binds: Sequence[Bind]) -> list[Line]:
    every = [line for bind in binds for line in bind.errors]
    return sorted(every, key=lambda line: line.at, reverse=True)[:ERRORS_SHOWN]


def _happenings(account_ids: list[UUID]) -> dict[UUID, list[Happening]]:
    found: dict[UUID, list[Happening]] = {}
    # A hundred of each account are kept.
    for row in SmppHappening.objects.filter(account_id__in=account_ids).order_by("-id"):
        mine = found.setdefault(row.account_id, [])
        if len(mine) < HAPPENINGS_SHOWN:
            mine.append(Happening(row, history.explained(row.reason)))
    return found
