"""Reasons of refusals of webhook endpoints, and of their automatic disabling."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Reason


class EndpointReason(Reason):
    """Reasons why an endpoint is not found, created or used."""

    NO_SUCH_ENDPOINT = "NOT_FOUND", _("There is no such webhook endpoint.")
    TOO_MANY = (
        "CONFLICT",
        _("An organization has at most %(most)s webhook endpoints in a mode."),
        "most",
    )
    DISABLED = "CONFLICT", _("The endpoint is disabled. Enable it first.")


class DisabledReason(Reason):
    """Reasons why the platform disabled an endpoint. No request is refused, so there is no code."""

    GONE = "", _("The receiver responded with 410 Gone.")
    FAILED_TOO_LONG = "", _("Every post to the receiver failed for five days.")
