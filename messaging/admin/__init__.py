"""Operators' pages of messaging, by subject. Importing them registers them with the admin."""

from accounts.admin_site import site
from messaging.admin.carriers import CarrierAdmin, PriceAdmin, RouteAdmin, carriers_panel
from messaging.admin.messages import EarlyReceiptAdmin, MessageAdmin
from messaging.admin.senders import SenderIdAdmin, pending_badge, pending_panel

__all__ = [
    "CarrierAdmin",
    "EarlyReceiptAdmin",
    "MessageAdmin",
    "PriceAdmin",
    "RouteAdmin",
    "SenderIdAdmin",
    "pending_badge",
]

# What waits for an operator first.
site.panels += [pending_panel, carriers_panel]
