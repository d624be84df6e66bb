"""Reasons of refusals of the delivery log and of replays."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Reason


class DeliveryReason(Reason):
    """Reasons why a delivery is not found or not replayed."""

    NO_SUCH_DELIVERY = "NOT_FOUND", _("There is no such webhook delivery.")
    UNDER_WAY = "CONFLICT", _("The event is still on its way to this endpoint.")
    EMPTY_PERIOD = "INVALID_REQUEST", _("'to' must be later than 'from'.")
