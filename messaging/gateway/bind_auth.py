"""Bind authentication: system_id, password, address, TLS, number of binds; and lock-outs."""

from contextlib import suppress
from typing import Final
from uuid import UUID

import structlog
from django.core.cache import cache

from accounts.keys import ip_allow_list
from accounts.models import Organization
from messaging.gateway import history, sessions
from messaging.gateway.accounts import Verifier
from messaging.gateway.sessions import BindInfo
from messaging.models.smpp_accounts import SmppAccount
from messaging.smpp.constants import Status, status_name

log = structlog.get_logger(__name__)

LOCKOUT_SECONDS: Final = 60
FAILURES_OF_ADDRESS: Final = 20
"""Failed binds from one address within LOCKOUT_SECONDS that lock it out."""
FAILURES_OF_ACCOUNT: Final = 5
"""The same for one address and one system_id: other accounts may still bind from there."""


class Denied(Exception):
    """A refused bind. `reason` is for the log, `status` for the peer.

    `account`: the account of the bind's system_id, if there is one.
    """

    def __init__(self, status: int, reason: str, account: SmppAccount | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.account = account


class Gate:
    """Authentication of binds on one server process. It blocks, so call it in a thread."""

    def __init__(self, server_id: UUID) -> None:
        self.server_id = server_id
        self._verifier = Verifier()

    def admit(self, system_id: str, password: str, info: BindInfo) -> tuple[SmppAccount, UUID]:
        """Return the account and the id of its new session. Raise Denied after logging it."""
        try:
            return self._admit(system_id, password, info)
        except Denied as denied:
            log.warning(
                "smpp_bind_refused",
                address=info.address,
                system_id=system_id,
                kind=info.kind,
                reason=denied.reason,
                status=status_name(denied.status),
            )
            if denied.account is not None:
                history.refused(denied.account.id, info, denied.status, denied.reason)
            raise

    def _admit(self, system_id: str, password: str, info: BindInfo) -> tuple[SmppAccount, UUID]:
        keys = _keys(info.address, system_id)
        if _locked(keys):
            raise Denied(Status.ESME_RBINDFAIL, "locked out after failed binds")
        accounts = SmppAccount.objects.select_related("organization")
        account = accounts.filter(system_id=system_id).first()
        if not self._verifier.verify(account, password) or account is None:
            _count_failure(keys)
            # Both get the same status, which does not reveal the existing system_ids.
            reason = history.PASSWORD if account else "no such system_id"
            raise Denied(Status.ESME_RINVPASWD, reason, account)
        if not ip_allow_list.allowed(info.address, account.networks):
            # As for a wrong password, so that the response does not reveal a correct one.
            _count_failure(keys)
            raise Denied(Status.ESME_RINVPASWD, history.ADDRESS, account)
        _check(account, info)
        session_id = sessions.register(self.server_id, account, info)
        if session_id is None:
            raise Denied(Status.ESME_RALYBND, history.TAKEN, account)
        history.bound(account.id, info)
        return account, session_id


def _check(account: SmppAccount, info: BindInfo) -> None:
    if not is_open(account):
        raise Denied(Status.ESME_RBINDFAIL, history.OFF, account)
    if account.tls_only and not info.tls:
        raise Denied(Status.ESME_RBINDFAIL, history.TLS, account)


def is_open(account: SmppAccount) -> bool:
    """Return whether the account may have binds at all."""
    return account.enabled and account.organization.status == Organization.Status.ACTIVE


def _keys(address: str, system_id: str) -> dict[str, int]:
    """Return the cache keys that count failures, each with its limit."""
    return {
        f"smpp-bind:{address}": FAILURES_OF_ADDRESS,
        # In hex, because cache keys must not contain spaces.
        f"smpp-bind:{address}:{system_id.encode('latin-1', 'replace').hex()}": FAILURES_OF_ACCOUNT,
    }


def _locked(keys: dict[str, int]) -> bool:
    # Without Redis, this process counts alone: an unavailable cache never locks peers out.
    failures = cache.get_many(keys)
    return any(failures.get(key, 0) >= limit for key, limit in keys.items())


def _count_failure(keys: dict[str, int]) -> None:
    for key in keys:
        if not cache.add(key, 1, LOCKOUT_SECONDS):
            # The lockout may end between the two.
            with suppress(ValueError):
                cache.incr(key)
