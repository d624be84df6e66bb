"""Operators' pages of messaging, by subject. Importing them registers them with the admin."""

from accounts.operators.site import site
from messaging.admin import panels
from messaging.admin.carriers import CarrierAdmin, carriers_panel
from messaging.admin.messages import EarlyReceiptAdmin, MessageAdmin
from messaging.admin.routes import PriceAdmin, RouteAdmin
from messaging.admin.rules import SendingRuleAdmin, SuppressionAdmin
from messaging.admin.senders import SenderIdAdmin, pending_panel, waiting
from messaging.admin.smpp_accounts import SmppAccountAdmin, SmppSessionAdmin

__all__ = [
    "CarrierAdmin",
    "EarlyReceiptAdmin",
    "MessageAdmin",
    "PriceAdmin",
    "RouteAdmin",
    "SenderIdAdmin",
    "SendingRuleAdmin",
    "SmppAccountAdmin",
    "SmppSessionAdmin",
    "SuppressionAdmin",
]

# What waits for an operator first.
site.panels += [pending_panel, carriers_panel]
site.organization_panels += [panels.traffic, panels.sender_ids, panels.routing]
site.waiting["messaging.senderid"] = waiting
