"""Why a delivery cannot be found or made again."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Reason


class DeliveryReason(Reason):
    NO_SUCH_DELIVERY = "NOT_FOUND", _("There is no such webhook delivery.")
    UNDER_WAY = "CONFLICT", _("The event is still on its way to this endpoint.")
    MESSAGE_ID = "INVALID_REQUEST", _("This is not the id of a message. It begins with msg_.")
    EMPTY_PERIOD = "INVALID_REQUEST", _("'to' must be later than 'from'.")
