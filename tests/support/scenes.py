"""A running platform between a carrier and a customer's receiver, under load.

Its promises are then checked by independent records: the carrier records every submit, the receiver
every post.
"""

import asyncio
import struct
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any

from imissive.core import ids
from messaging.smpp.constants import Status, Tag
from messaging.smpp.handlers import Handlers, LinkConfig
from messaging.smpp.link import Link, LinkError, connect_esme
from messaging.smpp.pdus import BindTransceiver, DeliverSm, Request, SubmitSm, SubmitSmResp
from messaging.smpp.receipt import parse_receipt
from tests.support import transitions
from tests.support.running_platform import Site
from tests.support.simulators import RunningSimulator
from tests.support.webhook_receivers import Receiver

WINDOW, BINDS = 50, 2
IN_DOUBT = WINDOW * BINDS
EVENTS = ["message.sent", "message.delivered", "message.failed", "message.expired"]


@dataclass
class Scene:
    """The running platform, its carrier and its customer's receiver."""

    site: Site
    carrier: RunningSimulator
    customer: Receiver
    sent: set[str]
    first_number: int = 0

    def send(self, count: int) -> None:
        """Send that many messages in bulk, each to a different number."""
        while count > 0:
            size = min(count, 1000)
            numbers = [
                f"+96655{number:07d}"
                for number in range(self.first_number, self.first_number + size)
            ]
            self.first_number += size
            rows = [{"to": number, "message": f"Nothing is lost, {number}"} for number in numbers]
            response = self._until_accepted("/v1/sms/bulk", {"messages": rows})
            assert response["rejected"] == 0
            self.sent.update(row["message_id"] for row in response["messages"])
            count -= size

    def send_one(self) -> uuid.UUID:
        """Send a single message, which is urgent, and return its id."""
        body = {"to": f"+{self.number()}", "message": "Urgent"}
        response = self._until_accepted("/v1/sms/send", body)
        self.sent.add(response["message_id"])
        found = ids.parse_id("msg", response["message_id"])
        assert found is not None
        return found

    def number(self) -> str:
        """Return a number to which nothing was sent."""
        self.first_number += 1
        return f"96655{self.first_number - 1:07d}"

    def _until_accepted(self, path: str, body: Any) -> Any:
        """Repeat a request until it is accepted, like any client, and return the response.

        It has an Idempotency-Key: it may be accepted although the response was lost.
        """
        once = uuid.uuid4().hex
        while True:
            status, response = self.site.post(path, body, once=once)
            if status == 202:
                return response
            assert status in (0, 409, 503), (status, response)
            time.sleep(0.2)

    def everything_is_right(self, *, may_repeat: int) -> None:
        """Check that every accepted message was delivered, charged once, and its events posted."""
        site = self.site
        site.settle(90, lambda: self.carrier.tally)
        statuses = dict(site.sql("SELECT status, count(*) FROM messaging_message GROUP BY 1"))
        assert statuses == {"delivered": len(self.sent)}
        # Processes before and after a kill were held to the table of transitions, and kept to it.
        held = "SELECT tgenabled::text FROM pg_trigger WHERE tgname = %s"
        assert site.sql(held, [transitions.TRIGGER]) == [("O",)]
        assert transitions.REFUSED not in site.text
        self._submits_were(may_repeat)
        assert site.sql(
            "SELECT kind, -sum(amount) FROM accounts_ledgerentry"
            " WHERE kind IN ('charge', 'refund') GROUP BY 1"
        ) == [("charge", len(self.sent) * 1_000_000)]
        checked = site.manage("check_ledger")
        assert checked.returncode == 0, checked.stderr
        self._events_came()

    def _submits_were(self, may_repeat: int) -> None:
        times = Counter(submit.destination for submit in self.carrier.submits)
        assert len(times) == len(self.sent)
        repeated = [count for count in times.values() if count > 1]
        assert all(count == 2 for count in repeated)
        assert len(repeated) <= may_repeat, f"{len(repeated)} submits were repeated"

    def _events_came(self) -> None:
        events = [post.verified(self.secret) for post in list(self.customer.posts)]
        for kind in ("message.sent", "message.delivered"):
            reported = {event["message_id"] for event in events if event["event"] == kind}
            missing = len(self.sent - reported)
            assert reported == self.sent, f"{kind}: {missing} of {len(self.sent)} missing"
        assert not [event for event in events if event["event"] in EVENTS[2:]]

    def __post_init__(self) -> None:
        body = {"url": self.customer.url, "events": EVENTS}
        # A web process without a request since PostgreSQL's restart responds 503 once.
        responses = (self.site.post("/v1/webhooks", body) for _ in range(3))
        self.secret = next(response["secret"] for status, response in responses if status == 201)


class SmppClient:
    """The demo's SMPP account, bound in its own thread; binds again after a lost connection."""

    def __init__(self, site: Site) -> None:
        self._demo = site.demo
        self.receipts: set[str] = set()
        """The public ids of the messages whose receipts arrived."""
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._link = self._run(self._bind(site.demo))

    def submit(self, to: str, reference: int = 0, *, receipt: bool = False) -> SubmitSmResp | None:
        """Submit a message and return the response, or None without one.

        A submit with the same reference is the same submit.
        """
        pdu = SubmitSm("", 5, 0, "MyCompany", 1, 1, to, short_message=b"Over SMPP")
        pdu.registered_delivery = int(receipt)
        if reference:
            pdu.tlvs[Tag.USER_MESSAGE_REFERENCE] = struct.pack(">H", reference)
        try:
            self._bind_again()
            response = self._run(self._link.request(pdu))
        except LinkError:
            return None
        assert isinstance(response, SubmitSmResp)
        return response

    def bound(self) -> bool:
        """Return whether it is bound; bind again where it is not."""
        try:
            self._bind_again()
        except LinkError:
            return False
        return True

    def _bind_again(self) -> None:
        if not self._link.bound:
            self._link = self._run(self._bind(self._demo))

    def close(self) -> None:
        self._run(self._link.unbind())
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _bind(self, demo: dict[str, str]) -> Link:
        bind = BindTransceiver(demo["IMISSIVE_SMPP_SYSTEM_ID"], demo["IMISSIVE_SMPP_PASSWORD"])
        return await connect_esme(
            demo["IMISSIVE_SMPP_HOST"], int(demo["IMISSIVE_SMPP_PORT"]), bind, LinkConfig(),
            handlers=Handlers(on_request=self._received),
        )  # fmt: skip

    def _received(self, link: Link, pdu: Request) -> None:
        if isinstance(pdu, DeliverSm):
            receipt = parse_receipt(pdu.short_message, pdu.tlvs)
            if receipt is not None and receipt.message_id:
                message_id = uuid.UUID(hex=receipt.message_id)
                self.receipts.add(ids.public_id(ids.MESSAGE, message_id))
            link.respond(pdu, Status.ESME_ROK)

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)
