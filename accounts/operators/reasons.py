"""Reasons of refusals of operators' actions on an organization."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Reason


class OperatorReason(Reason):
    """Reasons why an impersonation or a suspension is refused."""

    OWN_ORGANIZATION = (
        "CONFLICT",
        _("You are a member of this organization: open its dashboard."),
    )
    STATUS_CHANGED = (
        "CONFLICT",
        _("The status of the organization has changed to: %(status)s."),
        "status",
    )
