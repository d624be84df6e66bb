"""Recording of audit log entries. The log is append-only: a trigger refuses changes and deletes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from accounts.models import AuditEntry, Organization, User

_TARGET_LENGTH = 120
_impersonation_reason: ContextVar[str] = ContextVar("impersonation_reason", default="")


@contextmanager
def impersonating(reason: str) -> Iterator[None]:
    """Add the operator's reason for the impersonation to every entry recorded inside the block."""
    token = _impersonation_reason.set(reason)
    try:
        yield
    finally:
        _impersonation_reason.reset(token)


def record(
    action: str,
    *,
    actor: User | None,
    organization: Organization | None = None,
    target: str = "",
    detail: Mapping[str, Any] | None = None,
    address: str | None = None,
) -> AuditEntry:
    """Record that `actor` (None: the platform itself) did `action`, such as `sender_id.approved`.

    Call it in the transaction of the action itself, so that neither is ever stored without the
    other. `detail` is kept forever and shown to people: it must hold no secret and no message text.
    `address` is the actor's IP address.
    """
    because = {"acting_because": reason} if (reason := _impersonation_reason.get()) else {}
    return AuditEntry.objects.create(
        action=action,
        actor=actor,
        organization=organization,
        target=target[:_TARGET_LENGTH],
        detail={**(detail or {}), **because},
        address=address or None,
    )
