"""Operators' pages of messaging, by subject. Importing them registers them with the admin."""

from accounts.admin_site import site
from messaging.admin.carriers import CarrierAdmin, PriceAdmin, RouteAdmin, carriers_panel
from messaging.admin.messages import EarlyReceiptAdmin, MessageAdmin
from messaging.admin.senders import SenderIdAdmin, pending_panel, waiting

__all__ = [
    "CarrierAdmin",
    "EarlyReceiptAdmin",
    "MessageAdmin",
    "PriceAdmin",
    "RouteAdmin",
    "SenderIdAdmin",
]

# What waits for an operator first.
site.panels += [pending_panel, carriers_panel]
site.waiting["messaging.senderid"] = waiting
