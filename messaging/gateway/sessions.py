"""Sessions: the rows of live binds, which all server processes share; they live with their process.

Rows are locked in one order, servers before accounts before sessions, and always by locks that
foreign keys need not wait for, because binds and reports are concurrent all the time.
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
"""The part of a command line that identifies a server."""
_started_at = clock.now()
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
class BindInfo:
    """The details of a bind request."""

    kind: str
    address: str
    port: int
    tls: bool
    interface_version: int
    system_type: str


@dataclass(frozen=True, slots=True)
class Report:
    """A bind's current status; see SmppSession."""

    id: UUID
    account_id: UUID
    info: BindInfo
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
    """Return the current binds, without those of dead servers."""
    return SmppSession.objects.filter(server__seen_at__gte=_alive_since())


def own_name() -> str:
    """Return this process's name, by which its successor on this machine recognizes it."""
    return process_name(os.getpid())


def _set_start() -> None:
    """Set the start of a forked process to the fork, not to its parent's import."""
    global _started_at
    _started_at = clock.now()


os.register_at_fork(after_in_child=_set_start)


def open_server() -> UUID:
    """Register this process as a server, and remove dead servers of this machine."""
    now = clock.now()
    dead = [row.pk for row in SmppServer.objects.all() if _died_here(row)]
    SmppServer.objects.filter(pk__in=dead).delete()
    return SmppServer.objects.create(name=own_name(), started_at=now, seen_at=now).id


def _died_here(server: SmppServer) -> bool:
    """Return whether that server was a process of this machine and has ended."""
    if server.name == own_name():
        # A container's first process always has the same process id.
        return server.started_at < _started_at
    pid = server.name.rpartition(":")[2]
    here = pid.isdigit() and server.name == process_name(int(pid))
    return here and COMMAND not in command_line(int(pid))


@transaction.atomic
def register(server_id: UUID, account: SmppAccount, info: BindInfo) -> UUID | None:
    """Register a bind; return its session's id, or None if the account has its maximum."""
    _keep_server(server_id)
    locked = SmppAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
    if live().filter(account=locked).count() >= locked.max_binds:
        return None
    now = clock.now()
    locked.last_bind_at, locked.last_bind_address = now, info.address
    locked.save(update_fields=("last_bind_at", "last_bind_address"))
    session = SmppSession(
        id=ids.new_uuid(),
        account=locked,
        server_id=server_id,
        bound_at=now,
        reported_at=now,
        **_fields(info),
    )
    session.save(force_insert=True)
    return session.id


def _keep_server(server_id: UUID) -> None:
    """Lock the server's row like a foreign key that refers to it."""
    with server_cursor() as cursor:
        cursor.execute("SELECT FROM messaging_smppserver WHERE id = %s FOR KEY SHARE", [server_id])


def _fields(info: BindInfo) -> dict[str, Any]:
    return {name: getattr(info, name) for name in BindInfo.__slots__}


def release(session_ids: Iterable[UUID]) -> None:
    """Remove ended sessions."""
    SmppSession.objects.filter(id__in=list(session_ids)).delete()


@transaction.atomic
def report(server_id: UUID, started_at: datetime, reports: Sequence[Report]) -> bool:
    """Report that this server is alive, with the binds whose status changed.

    Returns True if its row, with those of its binds, had been deleted, as after a long outage of
    the database.
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
                **_fields(row.info),
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
    """Ask the bind's server to end it, which takes up to two seconds."""
    SmppSession.objects.filter(pk=session.pk).update(end_asked_at=clock.now())


def asked_to_end(server_id: UUID) -> set[UUID]:
    """Return the binds of that server that operators asked to end."""
    rows = SmppSession.objects.filter(server_id=server_id, end_asked_at__isnull=False)
    return set(rows.values_list("id", flat=True))


def close_server(server_id: UUID) -> None:
    """Remove this process's row, with the sessions that it still has."""
    SmppServer.objects.filter(id=server_id).delete()


def accounts_of(account_ids: Iterable[UUID]) -> dict[UUID, SmppAccount]:
    """Return the current rows of those accounts, with their organizations."""
    accounts = SmppAccount.objects.select_related("organization").in_bulk(list(account_ids))
    return {key: account for key, account in accounts.items() if isinstance(key, UUID)}
