"""A running platform between a carrier of the test's and a customer's receiver, under load.

What was promised is then counted by independent records: the carrier remembers every submit, the
receiver every post.
"""

import asyncio
import struct
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any

from imissive import ids
from messaging.smpp.constants import Tag
from messaging.smpp.handlers import Handlers, LinkConfig
from messaging.smpp.link import Link, LinkError, connect_esme
from messaging.smpp.pdus import BindTransceiver, SubmitSm, SubmitSmResp
from tests.receivers import Receiver
from tests.running import Site
from tests.simulators import RunningSimulator

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
        """Bulk sends of that many messages, each to a number of its own."""
        while count > 0:
            size = min(count, 1000)
            numbers = [
                f"+96655{number:07d}"
                for number in range(self.first_number, self.first_number + size)
            ]
            self.first_number += size
            rows = [{"to": number, "message": f"Nothing is lost, {number}"} for number in numbers]
            answer = self._until_accepted("/v1/sms/bulk", {"messages": rows})
            assert answer["rejected"] == 0
            self.sent.update(row["message_id"] for row in answer["messages"])
            count -= size

    def send_one(self) -> uuid.UUID:
        """A single send, which is urgent; the message's id."""
        body = {"to": f"+{self.number()}", "message": "Urgent"}
        answer = self._until_accepted("/v1/sms/send", body)
        self.sent.add(answer["message_id"])
        found = ids.parse_id("msg", answer["message_id"])
        assert found is not None
        return found

    def number(self) -> str:
        """A number that nothing was sent to."""
        self.first_number += 1
        return f"96655{self.first_number - 1:07d}"

    def _until_accepted(self, path: str, body: Any) -> Any:
        """Its answer. What was not accepted is not promised: as any client, try again, and by an
        Idempotency-Key, since it may have been accepted before the answer got lost."""
        once = uuid.uuid4().hex
        while True:
            status, answer = self.site.post(path, body, once=once)
            if status == 202:
                return answer
            assert status in (0, 409, 503), (status, answer)
            time.sleep(0.2)

    def everything_is_right(self, *, may_repeat: int) -> None:
        """Every accepted message ended well, was charged once, and its events were posted."""
        site = self.site
        site.settle(90)
        statuses = dict(site.sql("SELECT status, count(*) FROM messaging_message GROUP BY 1"))
        assert statuses == {"delivered": len(self.sent)}
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
            told = {event["message_id"] for event in events if event["event"] == kind}
            assert told == self.sent, f"{kind}: {len(self.sent - told)} of {len(self.sent)} missing"
        assert not [event for event in events if event["event"] in EVENTS[2:]]

    def __post_init__(self) -> None:
        body = {"url": self.customer.url, "events": EVENTS}
        # A web process that has not asked since PostgreSQL was restarted says "try again" once.
        answers = (self.site.post("/v1/webhooks", body) for _ in range(3))
        self.secret = next(answer["secret"] for status, answer in answers if status == 201)


class SmppClient:
    """The demo's SMPP account, bound in a thread of its own; it binds again when it is cut off."""

    def __init__(self, site: Site) -> None:
        self._demo = site.demo
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._link = self._run(self._bind(site.demo))

    def submit(self, to: str, reference: int = 0) -> SubmitSmResp | None:
        """The answer to a submit, or None where there is none. With the same reference it is the
        same submit."""
        pdu = SubmitSm("", 5, 0, "MyCompany", 1, 1, to, short_message=b"Over SMPP")
        if reference:
            pdu.tlvs[Tag.USER_MESSAGE_REFERENCE] = struct.pack(">H", reference)
        try:
            if not self._link.bound:
                self._link = self._run(self._bind(self._demo))
            answer = self._run(self._link.request(pdu))
        except LinkError:
            return None
        assert isinstance(answer, SubmitSmResp)
        return answer

    def close(self) -> None:
        self._run(self._link.unbind())
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _bind(self, demo: dict[str, str]) -> Link:
        bind = BindTransceiver(demo["IMISSIVE_SMPP_SYSTEM_ID"], demo["IMISSIVE_SMPP_PASSWORD"])
        return await connect_esme(
            demo["IMISSIVE_SMPP_HOST"], int(demo["IMISSIVE_SMPP_PORT"]), bind, LinkConfig(),
            handlers=Handlers(on_request=lambda link, pdu: None),
        )  # fmt: skip

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)
