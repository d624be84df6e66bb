"""Why an operator's action on an organization is refused."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Reason


class OperatorReason(Reason):
    OWN_ORGANIZATION = (
        "CONFLICT",
        _("You are a member of this organization: open its dashboard."),
    )
    STATUS_CHANGED = (
        "CONFLICT",
        _("The status of the organization has changed to: %(status)s."),
        "status",
    )
