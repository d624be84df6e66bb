"""Reasons to refuse a change of contacts or of the suppression list."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Reason


class ContactReason(Reason):
    TOO_MANY = (
        "CONFLICT",
        _("An organization has at most %(most)s contacts. Delete some first."),
        "most",
    )


class SuppressionReason(Reason):
    BAD_NOTE = (
        "INVALID_REQUEST",
        _("The reason has %(most)s characters at most, NUL not among them."),
        "most",
    )
    NOT_LISTED = "NOT_FOUND", _("This number is not on the suppression list.")
