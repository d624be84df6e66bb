"""Models of messaging: messages, carriers and routes, senders, campaigns, SMPP, usage."""

from messaging.models.audience import (
    Composition,
    Contact,
    ContactList,
    ListEntry,
    TextTemplate,
)
from messaging.models.campaigns import Campaign, CampaignChunk
from messaging.models.carriers import (
    Carrier,
    CarrierBind,
    CarrierTraffic,
    CarrierWorker,
    Price,
    Route,
    RouteCarrier,
    SweepRun,
)
from messaging.models.exports import Export
from messaging.models.messages import Attempt, Batch, EarlyReceipt, Message, MessagePart
from messaging.models.rules import NumberRange, SendingRule, Suppression
from messaging.models.senders import SenderDocument, SenderId, SenderStep
from messaging.models.smpp_accounts import (
    SmppAccount,
    SmppHappening,
    SmppServer,
    SmppSession,
)
from messaging.models.smpp_submits import SmppAssembly, SmppReceipt, SmppSubmit
from messaging.models.usage import UsageMark, UsageOpen, UsageSum

__all__ = [
    "Attempt",
    "Batch",
    "Campaign",
    "CampaignChunk",
    "Carrier",
    "CarrierBind",
    "CarrierTraffic",
    "CarrierWorker",
    "Composition",
    "Contact",
    "ContactList",
    "EarlyReceipt",
    "Export",
    "ListEntry",
    "Message",
    "MessagePart",
    "NumberRange",
    "Price",
    "Route",
    "RouteCarrier",
    "SenderDocument",
    "SenderId",
    "SenderStep",
    "SendingRule",
    "SmppAccount",
    "SmppAssembly",
    "SmppHappening",
    "SmppReceipt",
    "SmppServer",
    "SmppSession",
    "SmppSubmit",
    "Suppression",
    "SweepRun",
    "TextTemplate",
    "UsageMark",
    "UsageOpen",
    "UsageSum",
]
