"""Why a report of usage is refused."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Reason


class UsageReason(Reason):
    OUT_OF_RANGE = "INVALID_REQUEST", _("The period is out of range.")
    EMPTY_PERIOD = "INVALID_REQUEST", _("The period is empty: 'from' must be before 'to'.")
    PERIOD_TOO_LONG = (
        "INVALID_REQUEST",
        _("A period has at most %(days)s days. Ask for a longer one in pieces."),
        "days",
    )
