"""Which role may do what, and which scope an API key needs: one table each."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Role(models.TextChoices):
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
"""What each role may do, in a sentence for people."""


class Scope(models.TextChoices):
    """What an API key may be used for. A key without any listed scope may do everything."""

    SMS_SEND = "sms:send", _("Send messages")
    SMS_READ = "sms:read", _("Read messages")
    OTP = "otp", _("One-time passwords")
    WEBHOOKS = "webhooks", _("Manage webhooks")
    BALANCE = "balance", _("Read the balance")
    SENDER_IDS = "sender_ids", _("Manage sender IDs")


class Action(models.TextChoices):
    """What a member may do in the dashboard."""

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


ACTING = "acting"
"""What an operator who acts as a customer has for a role: an admin's, without what follows."""

_NOT_ACTING = frozenset({Action.MANAGE_KEYS, Action.MANAGE_MEMBERS, Action.MANAGE_ORGANIZATION})


def may(role: str, action: Action) -> bool:
    """Whether a member with that role may do that."""
    if role == ACTING:
        return action not in _NOT_ACTING and Role.ADMIN in ALLOWED[action]
    return role in ALLOWED[action]
