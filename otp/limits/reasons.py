"""Reasons of refusals of codes by limits, countries, and holds for SMS pumping."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Reason


class LimitReason(Reason):
    """Reasons why a code must not be sent to a number now."""

    COUNTRY_NOT_ENABLED = (
        "DESTINATION_BLOCKED",
        _("Codes to this country (%(country)s) are not enabled."),
        "country",
    )
    PREFIX_HELD = (
        "DESTINATION_BLOCKED",
        _(
            "Codes to numbers that begin with %(prefix)s are held until %(until)s: too few of them"
            " were verified. Support can lift that."
        ),
        "prefix",
        "until",
    )
    HOLD_OVER = "CONFLICT", _("This hold is over already.")
    TOO_MANY_CODES = (
        "TOO_MANY_ATTEMPTS",
        _("Too many codes were sent to this number. Try again later."),
    )
    COOLDOWN = (
        "OTP_COOLDOWN",
        _("A code was sent to this number less than %(seconds)s seconds ago."),
        "seconds",
    )
