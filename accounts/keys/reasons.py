"""Reasons of refusals of changes to API keys and their IP allow-lists."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Reason


class KeyReason(Reason):
    """Reasons why a change of an API key is refused."""

    OVERLAP_TOO_LONG = "INVALID_REQUEST", _("The overlap is %(days)s days at most."), "days"
    KEY_OVER = "CONFLICT", _("This key no longer works. Create a new one.")
    KEY_ROTATED = "CONFLICT", _("This key was rotated already.")
    KEY_REVOKED = "CONFLICT", _("This key was revoked.")
    NOT_A_NETWORK = (
        "INVALID_REQUEST",
        _(
            "%(written)s is not a valid IP address or CIDR range. Write it like 203.0.113.7 or"
            " 203.0.113.0/24."
        ),
        "written",
    )
    TOO_MANY_NETWORKS = "INVALID_REQUEST", _("At most %(most)s addresses can be listed."), "most"
