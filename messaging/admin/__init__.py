"""Messaging's pages in the admin. Importing them registers them with the admin site."""

from accounts.operators.site import site
from messaging.admin import panels
from messaging.admin.carriers import CarrierAdmin, carriers_panel
from messaging.admin.messages import EarlyReceiptAdmin, MessageAdmin
from messaging.admin.routes import PriceAdmin, RouteAdmin
from messaging.admin.rules import NumberRangeAdmin, SendingRuleAdmin, SuppressionAdmin
from messaging.admin.senders import SenderIdAdmin, pending_panel, waiting
from messaging.admin.smpp_accounts import SmppAccountAdmin, SmppSessionAdmin

__all__ = [
    "CarrierAdmin",
    "EarlyReceiptAdmin",
    "MessageAdmin",
    "NumberRangeAdmin",
    "PriceAdmin",
    "RouteAdmin",
    "SenderIdAdmin",
    "SendingRuleAdmin",
    "SmppAccountAdmin",
    "SmppSessionAdmin",
    "SuppressionAdmin",
]

# The queue of pending sender IDs is first, because it needs an operator.
site.panels += [pending_panel, carriers_panel]
site.organization_panels += [panels.traffic, panels.sender_ids, panels.routing]
site.waiting["messaging.senderid"] = waiting
