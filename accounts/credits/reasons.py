"""Reasons of refusals for insufficient credits."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Reason


class CreditsReason(Reason):
    """Reasons why a balance does not cover a charge or a correction."""

    NOT_COVERED = (
        "INSUFFICIENT_CREDITS",
        _("The balance does not cover this. Nothing was sent or charged."),
    )
    ESTIMATE_NOT_COVERED = "INSUFFICIENT_CREDITS", _("The balance does not cover this.")
    CORRECTION_NOT_COVERED = (
        "INSUFFICIENT_CREDITS",
        _("The balance does not cover that correction."),
    )
