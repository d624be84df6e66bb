"""The audit log: who did what to whom. A trigger refuses to change or delete its rows."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from accounts.models import AuditEntry, Organization, User

_TARGET_LENGTH = 120
_because: ContextVar[str] = ContextVar("because", default="")


@contextmanager
def because(reason: str) -> Iterator[None]:
    """What is recorded inside of it was done by an operator for a customer, for that reason."""
    token = _because.set(reason)
    try:
        yield
    finally:
        _because.reset(token)


def record(
    action: str,
    *,
    actor: User | None,
    organization: Organization | None = None,
    target: str = "",
    detail: Mapping[str, Any] | None = None,
    address: str | None = None,
) -> AuditEntry:
    """Write that `actor` (None: the platform itself) did `action`, such as `sender_id.approved`.

    Call it in the transaction of the act, so that neither is there without the other. `detail` is
    kept for ever and shown to people: no secret, no message text.
    """
    acting = {"acting_because": reason} if (reason := _because.get()) else {}
    return AuditEntry.objects.create(
        action=action,
        actor=actor,
        organization=organization,
        target=target[:_TARGET_LENGTH],
        detail={**(detail or {}), **acting},
        address=address or None,
    )
