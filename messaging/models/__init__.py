"""The tables of messaging, by subject."""

from messaging.models.audience import (
    Composition,
    Contact,
    ContactList,
    ListEntry,
    TextTemplate,
)
from messaging.models.carriers import Carrier, CarrierBind, Price, Route, RouteCarrier
from messaging.models.messages import Attempt, Batch, EarlyReceipt, Message, MessagePart
from messaging.models.rules import SendingRule, Suppression
from messaging.models.senders import SenderId
from messaging.models.smpp_accounts import SmppAccount, SmppServer, SmppSession
from messaging.models.smpp_submits import SmppAssembly, SmppReceipt, SmppSubmit

__all__ = [
    "Attempt",
    "Batch",
    "Carrier",
    "CarrierBind",
    "Composition",
    "Contact",
    "ContactList",
    "EarlyReceipt",
    "ListEntry",
    "Message",
    "MessagePart",
    "Price",
    "Route",
    "RouteCarrier",
    "SenderId",
    "SendingRule",
    "SmppAccount",
    "SmppAssembly",
    "SmppReceipt",
    "SmppServer",
    "SmppSession",
    "SmppSubmit",
    "Suppression",
    "TextTemplate",
]
