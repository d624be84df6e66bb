"""Operators' pages of messaging, by subject. Importing them registers them with the admin."""

from messaging.admin.carriers import CarrierAdmin, PriceAdmin, RouteAdmin
from messaging.admin.messages import EarlyReceiptAdmin, MessageAdmin
from messaging.admin.senders import SenderIdAdmin, pending_badge

__all__ = [
    "CarrierAdmin",
    "EarlyReceiptAdmin",
    "MessageAdmin",
    "PriceAdmin",
    "RouteAdmin",
    "SenderIdAdmin",
    "pending_badge",
]
