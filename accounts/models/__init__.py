"""Models of accounts, one module for each subject."""

from accounts.models.api_keys import ApiKey, IdempotencyRecord
from accounts.models.audit import AuditEntry
from accounts.models.credits import MICRO, Balance, CreditChange, LedgerEntry
from accounts.models.organizations import (
    DEFAULT_COUNTRY,
    Impersonation,
    Invitation,
    Member,
    Organization,
    member_organizations,
    organization_of,
)
from accounts.models.stored_files import FileChunk, StoredFile
from accounts.models.users import User, UserManager

__all__ = [
    "DEFAULT_COUNTRY",
    "MICRO",
    "ApiKey",
    "AuditEntry",
    "Balance",
    "CreditChange",
    "FileChunk",
    "IdempotencyRecord",
    "Impersonation",
    "Invitation",
    "LedgerEntry",
    "Member",
    "Organization",
    "StoredFile",
    "User",
    "UserManager",
    "member_organizations",
    "organization_of",
]
