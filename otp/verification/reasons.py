"""Reasons of refusals to send, verify or cancel a code."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Reason


class VerificationReason(Reason):
    """Reasons why a verification's request is refused."""

    NO_SUCH_VERIFICATION = "NOT_FOUND", _("There is no such verification.")
    VERIFIED = "ALREADY_VERIFIED", _("This code was verified already.")
    OVER = "NOT_CANCELABLE", _("The verification has ended already.")
    CODE_OVER = "CONFLICT", _("This code is not valid any more. Send a new one.")
    NO_PLACE_FOR_CODE = (
        "INVALID_TEMPLATE",
        _("The template has no {code}. Put it where the code belongs, exactly once."),
    )
    SEVERAL_PLACES_FOR_CODE = (
        "INVALID_TEMPLATE",
        _("The template has {code} %(count)s times. It must have it exactly once."),
        "count",
    )
    TEMPLATE_WITH_NUL = "INVALID_TEMPLATE", _("The template has a NUL character. Remove it.")
    TWO_LAST_LINES = (
        "INVALID_REQUEST",
        _("Give app_hash or origin, not both: each of them has to be the last line."),
    )
    TOO_LONG_FOR_RETRIEVER = (
        "MESSAGE_TOO_LONG",
        _(
            "With app_hash the whole text has at most %(most)s bytes in one part, else Android does"
            " not read it. This one has %(octets)s bytes, and %(parts)s parts."
        ),
        "most",
        "octets",
        "parts",
    )
