"""Reasons of refusals for insufficient credits."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Reason


class CreditsReason(Reason):
    """Reasons to refuse a charge, or a change of a balance."""

    NOT_COVERED = (
        "INSUFFICIENT_CREDITS",
        _("The balance does not cover this. Nothing was sent or charged."),
    )
    ESTIMATE_NOT_COVERED = "INSUFFICIENT_CREDITS", _("The balance does not cover this.")
    CORRECTION_NOT_COVERED = (
        "INSUFFICIENT_CREDITS",
        _("The balance does not cover that correction."),
    )
    CHANGED_ALREADY = (
        "CONFLICT",
        _("This form was sent already, and counts once. Open it again for another change."),
    )
    SECOND_OPERATOR = (
        "FORBIDDEN",
        _("You requested this change: another operator has to approve it."),
    )
    CHANGE_DECIDED = (
        "CONFLICT",
        _("The change was decided already. Its status: %(status)s."),
        "status",
    )
