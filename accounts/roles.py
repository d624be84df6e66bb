"""Permissions: roles of members and their actions, and scopes of API keys, each in one table."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Role(models.TextChoices):
    """The role of a member in an organization."""

    OWNER = "owner", _("Owner")
    ADMIN = "admin", _("Admin")
    DEVELOPER = "developer", _("Developer")
    FINANCE = "finance", _("Finance")
    VIEWER = "viewer", _("Viewer")


MEANINGS = {
    Role.OWNER: _("Everything, and closes the organization."),
    Role.ADMIN: _("Everything but owners, and closing the organization."),
    Role.DEVELOPER: _("Sends, makes keys and webhooks, reads messages."),
    Role.FINANCE: _("Reads the balance and messages, sets the low-balance alert."),
    Role.VIEWER: _("Reads messages."),
}
"""Description of each role, for people."""


class Scope(models.TextChoices):
    """A permission of an API key. A key without listed scopes has all of them."""

    SMS_SEND = "sms:send", _("Send messages")
    SMS_READ = "sms:read", _("Read messages")
    OTP = "otp", _("One-time passwords")
    WEBHOOKS = "webhooks", _("Manage webhooks")
    BALANCE = "balance", _("Read the balance")
    SENDER_IDS = "sender_ids", _("Manage sender IDs")


class Action(models.TextChoices):
    """An action in the dashboard that needs a permission."""

    READ_MESSAGES = "read_messages"
    SEND = "send"
    MANAGE_KEYS = "manage_keys"
    MANAGE_WEBHOOKS = "manage_webhooks"
    MANAGE_SENDERS = "manage_senders"
    READ_CREDITS = "read_credits"
    SET_ALERTS = "set_alerts"
    SEE_MEMBERS = "see_members"
    MANAGE_MEMBERS = "manage_members"
    MANAGE_OTP = "manage_otp"
    READ_AUDIT = "read_audit"
    MANAGE_ORGANIZATION = "manage_organization"


_EVERYBODY = frozenset(Role)
_RUNS_IT = frozenset({Role.OWNER, Role.ADMIN})

ALLOWED: dict[Action, frozenset[Role]] = {
    Action.READ_MESSAGES: _EVERYBODY,
    Action.SEND: _RUNS_IT | {Role.DEVELOPER},
    Action.MANAGE_KEYS: _RUNS_IT | {Role.DEVELOPER},
    Action.MANAGE_WEBHOOKS: _RUNS_IT | {Role.DEVELOPER},
    Action.MANAGE_SENDERS: _RUNS_IT,
    Action.READ_CREDITS: _RUNS_IT | {Role.FINANCE},
    Action.SET_ALERTS: _RUNS_IT | {Role.FINANCE},
    Action.SEE_MEMBERS: _EVERYBODY,
    Action.MANAGE_MEMBERS: _RUNS_IT,
    Action.MANAGE_OTP: _RUNS_IT | {Role.DEVELOPER},
    Action.READ_AUDIT: _RUNS_IT,
    Action.MANAGE_ORGANIZATION: frozenset({Role.OWNER}),
}


IMPERSONATOR = "acting"
"""Role of an impersonating operator: an admin's permissions, except the following."""

_NOT_FOR_IMPERSONATORS = frozenset(
    {Action.MANAGE_KEYS, Action.MANAGE_MEMBERS, Action.MANAGE_ORGANIZATION}
)


def may(role: str, action: Action) -> bool:
    """Return whether a member with that role may do the action."""
    if role == IMPERSONATOR:
        return action not in _NOT_FOR_IMPERSONATORS and Role.ADMIN in ALLOWED[action]
    return role in ALLOWED[action]
