"""Sessions: rows of live binds that all server processes share, alive while their process is.

Rows are locked in one order, servers before accounts before sessions, and none so that another
row's reference to it would have to wait: a bind and a report meet all the time.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from imissive.core import clock, ids
from imissive.core.sql import server_cursor
from imissive.run.processes import command_line, process_name
from messaging.models.smpp_accounts import SmppAccount, SmppServer, SmppSession

COMMAND: Final = "smpp_server"
"""The part of a command line by which a server is recognized."""
_began = clock.now()
FORGET_AFTER: Final = timedelta(minutes=1)
_REPORTED: Final = (
    "submits",
    "refused",
    "throttled",
    "receipts",
    "pending",
    "outstanding",
    "pace",
    "heard_at",
    "pdus",
    "errors",
    "protocol_errors",
    "reported_at",
)


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A bind that asks to be let in."""

    kind: str
    address: str
    port: int
    tls: bool
    interface_version: int
    system_type: str


@dataclass(frozen=True, slots=True)
class Report:
    """A bind as it stands now; see SmppSession."""

    id: UUID
    account_id: UUID
    newcomer: Newcomer
    bound_at: datetime
    submits: int
    refused: int
    throttled: int
    receipts: int
    pending: int
    outstanding: int
    pace: float
    heard_at: datetime
    pdus: list[dict[str, Any]]
    errors: list[dict[str, Any]]
    protocol_errors: int = 0


def _alive_since() -> datetime:
    return clock.now() - timedelta(seconds=SmppServer.LEASE_SECONDS)


def live() -> QuerySet[SmppSession]:
    """The binds there are, those of dead servers left out."""
    return SmppSession.objects.filter(server__seen_at__gte=_alive_since())


def own_name() -> str:
    """This process as people and its successor on this machine know it."""
    return process_name(os.getpid())


def _begin() -> None:
    """Count as a process of its own from the fork on, not from what its parent imported."""
    global _began
    _began = clock.now()


os.register_at_fork(after_in_child=_begin)


def open_server() -> UUID:
    """Enter this process among the servers, and strike off those of this machine that died."""
    now = clock.now()
    dead = [row.pk for row in SmppServer.objects.all() if _died_here(row)]
    SmppServer.objects.filter(pk__in=dead).delete()
    return SmppServer.objects.create(name=own_name(), started_at=now, seen_at=now).id


def _died_here(server: SmppServer) -> bool:
    """Return whether that server was a process of this machine that is no more."""
    if server.name == own_name():
        # A container's first process has the same number each time.
        return server.started_at < _began
    pid = server.name.rpartition(":")[2]
    here = pid.isdigit() and server.name == process_name(int(pid))
    return here and COMMAND not in command_line(int(pid))


@transaction.atomic
def register(server_id: UUID, account: SmppAccount, newcomer: Newcomer) -> UUID | None:
    """Take one of the account's places; its session's id, or None where all are taken."""
    _keep_server(server_id)
    locked = SmppAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
    if live().filter(account=locked).count() >= locked.max_binds:
        return None
    now = clock.now()
    locked.last_bind_at, locked.last_bind_address = now, newcomer.address
    locked.save(update_fields=("last_bind_at", "last_bind_address"))
    session = SmppSession(
        id=ids.new_uuid(),
        account=locked,
        server_id=server_id,
        bound_at=now,
        reported_at=now,
        **_fields(newcomer),
    )
    session.save(force_insert=True)
    return session.id


def _keep_server(server_id: UUID) -> None:
    """Lock the server's row as a reference to it does."""
    with server_cursor() as cursor:
        cursor.execute("SELECT FROM messaging_smppserver WHERE id = %s FOR KEY SHARE", [server_id])


def _fields(newcomer: Newcomer) -> dict[str, Any]:
    return {name: getattr(newcomer, name) for name in Newcomer.__slots__}


def release(session_ids: Iterable[UUID]) -> None:
    """Give the places back."""
    SmppSession.objects.filter(id__in=list(session_ids)).delete()


@transaction.atomic
def report(server_id: UUID, started_at: datetime, reports: Sequence[Report]) -> bool:
    """Say that this server lives, and how those of its binds stand that have changed.

    True: it had been forgotten, as after a long time without the database, with all its binds.
    """
    now = clock.now()
    # A plain update: one that reads the row first would lock out the sessions that refer to it.
    forgotten = not SmppServer.objects.filter(id=server_id).update(seen_at=now)
    if forgotten:
        SmppServer.objects.create(id=server_id, name=own_name(), started_at=started_at, seen_at=now)
    SmppSession.objects.bulk_create(
        [
            SmppSession(
                id=row.id,
                account_id=row.account_id,
                server_id=server_id,
                bound_at=row.bound_at,
                reported_at=now,
                **_fields(row.newcomer),
                **{name: getattr(row, name) for name in _REPORTED[:-1]},
            )
            for row in reports
        ],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=_REPORTED,
    )
    SmppServer.objects.filter(seen_at__lt=now - FORGET_AFTER).delete()
    return forgotten


def end(session: SmppSession) -> None:
    """Have the bind ended by the server that holds it, within two seconds."""
    SmppSession.objects.filter(pk=session.pk).update(end_asked_at=clock.now())


def asked_to_end(server_id: UUID) -> set[UUID]:
    """The binds of that server that shall end."""
    found = SmppSession.objects.filter(server_id=server_id, end_asked_at__isnull=False)
    return set(found.values_list("id", flat=True))


def close_server(server_id: UUID) -> None:
    """Take this process off the list, with whatever it still holds there."""
    SmppServer.objects.filter(id=server_id).delete()


def accounts_of(account_ids: Iterable[UUID]) -> dict[UUID, SmppAccount]:
    """Those accounts as they are now, with their organizations."""
    found = SmppAccount.objects.select_related("organization").in_bulk(list(account_ids))
    return {key: account for key, account in found.items() if isinstance(key, UUID)}
