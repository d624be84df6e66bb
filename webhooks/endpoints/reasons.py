"""Why an endpoint cannot be made or used."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Reason


class EndpointReason(Reason):
    NO_SUCH_ENDPOINT = "NOT_FOUND", _("There is no such webhook endpoint.")
    TOO_MANY = "CONFLICT", _("An organization has at most %(most)s webhook endpoints."), "most"
    DISABLED = "CONFLICT", _("The endpoint is disabled. Enable it first.")


class DisabledReason(Reason):
    """Of an endpoint that the platform disabled. No call was refused, so there is no code."""

    GONE = "", _("The receiver responded with 410 Gone.")
    FAILED_TOO_LONG = "", _("Every post to the receiver failed for five days.")
