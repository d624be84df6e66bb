"""The history of an account's latest binds, for its owner: accepted, refused, ended.

It is never revealed to a peer, because a peer with a wrong password is not the owner.
"""

from typing import Final
from uuid import UUID

import structlog
from django.db import DatabaseError, InterfaceError
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from imissive.core import clock
from imissive.core.sql import server_cursor
from messaging.gateway.console import short_status
from messaging.gateway.sessions import BindInfo
from messaging.models.smpp_accounts import SmppHappening
from messaging.smpp.events import CloseReason

log = structlog.get_logger(__name__)

KEPT: Final = 100
"""The number of entries of each account."""
_LONGEST: Final = 120

OFF: Final = "the account or its organization is off"
ADDRESS: Final = "the address is not among the account's"
TLS: Final = "the account needs TLS"
TAKEN: Final = "all binds are taken"
PASSWORD: Final = "wrong password"  # noqa: S105 - a reason for display
OPERATOR: Final = "ended by an operator"

REASONS: Final[dict[str, str | Promise]] = {
    OFF: _("The account or the organization is switched off."),
    ADDRESS: _("This address is not among those that the account may bind from."),
    TLS: _("The account may only bind on the port with TLS."),
    TAKEN: _("All binds of the account were taken."),
    PASSWORD: _("Wrong password."),
    CloseReason.PEER_UNBOUND.value: _("You unbound."),
    CloseReason.UNBOUND.value: _("We unbound."),
    CloseReason.CONNECTION_LOST.value: _("The connection was lost."),
    CloseReason.ENQUIRE_LINK_TIMEOUT.value: _("No answer to our enquire_link."),
    CloseReason.UNBIND_TIMEOUT.value: _("No answer to our unbind."),
    CloseReason.FRAME_ERROR.value: _("What came was no SMPP; the connection was closed."),
    CloseReason.LOCAL.value: _("Closed by us."),
    OPERATOR: _("Ended by an operator."),
}


def bound(account_id: UUID, info: BindInfo) -> None:
    """Record an accepted bind."""
    _write(account_id, info, SmppHappening.What.BOUND, 0, "")


def refused(account_id: UUID, info: BindInfo, status: int, reason: str) -> None:
    """Record a refused bind of that account."""
    _write(account_id, info, SmppHappening.What.REFUSED, status, reason)


def ended(account_id: UUID, info: BindInfo, reason: str) -> None:
    """Record the end of a bind."""
    _write(account_id, info, SmppHappening.What.ENDED, 0, reason)


def explained(reason: str) -> str | Promise:
    """Return a reason as text for the account's owner."""
    head, _colon, detail = reason.partition(": ")
    return REASONS.get(detail) or REASONS.get(head) or reason


def _write(account_id: UUID, info: BindInfo, what: str, status: int, reason: str) -> None:
    """Write an entry; failing to do so must not affect the bind."""
    try:
        row = SmppHappening.objects.create(
            account_id=account_id,
            at=clock.now(),
            what=what,
            kind=info.kind,
            address=info.address,
            status=short_status(status) if status else "",
            reason=reason[:_LONGEST],
        )
        _forget(row)
    except (DatabaseError, InterfaceError) as error:
        log.warning("smpp_history_not_written", error=str(error).strip())


def _forget(row: SmppHappening) -> None:
    with server_cursor() as cursor:
        cursor.execute(
            "DELETE FROM messaging_smpphappening WHERE account_id = %(account)s AND id <= ("
            " SELECT id FROM messaging_smpphappening WHERE account_id = %(account)s"
            " ORDER BY id DESC OFFSET %(kept)s LIMIT 1)",
            {"account": row.account_id, "kept": KEPT},
        )
