"""Who calls the API: the bearer of an API key, and what the key may do."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.api.rate_limits import Limits
from accounts.api.reasons import CallReason
from accounts.keys import ip_allow_list
from accounts.keys.api_keys import digest
from accounts.models import Organization
from imissive.core.api.requests import client_address
from imissive.core.errors import ApiError
from imissive.core.sql import server_cursor

LAST_USE_RESOLUTION = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Caller:
    """The API key of a request and its organization, as read for this request alone."""

    key_id: uuid.UUID
    organization_id: uuid.UUID
    suspended: bool
    test: bool
    scopes: frozenset[str]
    limits: Limits
    address: str
    networks: tuple[str, ...]
    extra: Any = None

    # What REST framework asks of a user.
    is_authenticated = True

    def may(self, scope: str) -> bool:
        """Whether the key has that scope; a key without any listed scope has all."""
        return not self.scopes or scope in self.scopes

    @property
    def address_allowed(self) -> bool:
        """Whether the key may be used from where the caller is; a key without networks may be
        used from everywhere."""
        return ip_allow_list.allowed(self.address, self.networks)


def caller_of(request: Request) -> Caller:
    """Who made an authenticated request."""
    caller: Any = request.auth
    assert isinstance(caller, Caller)  # noqa: S101 - a view without a key is a bug of ours
    return caller


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer imk_live_…`. Sets request.user and request.auth to a Caller.

    `extra` is an SQL expression over the organization, `o`, that is read with the key and becomes
    the caller's `extra`: one round trip instead of two where a view needs it anyway.
    """

    extra: ClassVar[str] = "NULL"

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        scheme, _, secret = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret.startswith("imk_") or not secret.isascii():
            raise AuthenticationFailed
        caller = find_caller(secret, client_address(request._request), self.extra)
        if caller is None:
            raise AuthenticationFailed
        return caller, caller

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


# One plain statement: this runs for every request of the API.
_FIND = """
SELECT k.id, k.organization_id, o.status, k.test, k.scopes, k.last_used_at, k.networks,
       o.send_per_minute, o.bulk_per_minute, o.calls_per_minute, {extra}
  FROM accounts_apikey k JOIN accounts_organization o ON o.id = k.organization_id
 WHERE k.digest = %s AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
"""


def find_caller(secret: str, address: str, extra: str = "NULL") -> Caller | None:
    """The caller whose key this is, or None if it is unknown, revoked or expired.

    `extra`: see ApiKeyAuthentication. It is SQL of ours, never of a caller's.
    """
    with server_cursor() as cursor:
        cursor.execute(_FIND.format(extra=extra), [digest(secret)])
        row = cursor.fetchone()
        if row is None:
            return None
        key_id, organization_id, status, test, scopes, last_used_at, networks, *rest = row
        if _is_stale(last_used_at):
            cursor.execute(
                "UPDATE accounts_apikey SET last_used_at = now(), last_used_address = %s"
                " WHERE id = %s",
                [address or None, key_id],
            )
    return Caller(
        key_id,
        organization_id,
        status != Organization.Status.ACTIVE,
        test,
        frozenset(scopes),
        Limits(*rest[:3]),
        address,
        tuple(networks),
        rest[3],
    )


def read_extra(extra: str, organization_id: uuid.UUID) -> Any:
    """Return an `extra` of that organization for whoever has no key: a page, a task, a bind."""
    with server_cursor() as cursor:
        cursor.execute(
            f"SELECT {extra} FROM accounts_organization o WHERE o.id = %s",  # noqa: S608
            [organization_id],
        )
        return cursor.fetchone()[0]


def _is_stale(last_used_at: datetime | None) -> bool:
    return last_used_at is None or last_used_at < timezone.now() - LAST_USE_RESOLUTION


class HasScope(BasePermission):
    """The key has the view's `required_scope` and may be used from where the caller is, and its
    organization is not suspended."""

    def has_permission(self, request: Request, view: Any) -> bool:
        caller = request.auth
        if not isinstance(caller, Caller):
            raise AuthenticationFailed
        if not caller.address_allowed:
            if caller.address:
                raise ApiError(CallReason.ADDRESS_NOT_ALLOWED, address=caller.address)
            raise ApiError(CallReason.ADDRESS_UNKNOWN)
        if caller.suspended:
            raise ApiError(CallReason.ORGANIZATION_SUSPENDED)
        scope = view.required_scope
        if isinstance(scope, dict):
            # A method that is not listed has no handler, which answers 405.
            scope = scope.get("GET" if request.method == "HEAD" else request.method)
            if scope is None:
                return True
        if not caller.may(scope):
            raise ApiError(CallReason.NO_SCOPE, scope=str(scope))
        return True
