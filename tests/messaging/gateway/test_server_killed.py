"""The SMPP server is killed under load, on the running platform: nothing is lost.

Submits with a response are stored once; those without one may be sent again. Receipts continue on
the next bind, and only outstanding ones may arrive twice.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from messaging.smpp.constants import Status, Tag
from messaging.smpp.handlers import Handlers, LinkConfig
from messaging.smpp.link import LinkError, connect_esme
from messaging.smpp.pdus import BindTransceiver, DeliverSm, SubmitSm
from messaging.smpp.receipt import parse_receipt
from tests.support.platforms import until

if TYPE_CHECKING:
    from messaging.smpp.link import Link
    from messaging.smpp.pdus import Request, Response
    from tests.support.running_platform import Site

pytestmark = [pytest.mark.platform, pytest.mark.timeout(180)]

WINDOW, BINDS = 50, 4
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _without_earlier_messages(site: Site) -> None:
    """Each test counts all messages and charges, in whatever order the tests run."""
    site.reset()


class Load:
    """Clients that bind, submit in a window, and reconnect whenever they are cut off."""

    def __init__(self, site: Site) -> None:
        self.demo = site.demo
        self.answered: list[str] = []
        self.refused: list[int] = []
        self.unanswered = 0
        self.receipts: Counter[str] = Counter()
        self.stop = threading.Event()
        self.binds = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._sending = True

    def start(self) -> None:
        self._thread.start()

    def gets_more_responses(self, site: Site) -> None:
        """Wait for several hundred more submit responses."""
        wanted = len(self.answered) + 300
        until(lambda: len(self.answered) > wanted, 40, lambda: site.text[-3000:])

    def stop_sending(self) -> None:
        self._sending = False

    def end(self) -> None:
        self.stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(BINDS)))

    async def _client(self) -> None:
        while not self.stop.is_set():
            try:
                link = await connect_esme(
                    self.demo["IMISSIVE_SMPP_HOST"],
                    int(self.demo["IMISSIVE_SMPP_PORT"]),
                    BindTransceiver(
                        self.demo["IMISSIVE_SMPP_SYSTEM_ID"], self.demo["IMISSIVE_SMPP_PASSWORD"]
                    ),
                    LinkConfig(response_timeout=60),
                    handlers=Handlers(on_request=self._received),
                )
            except LinkError:
                await asyncio.sleep(0.2)
                continue
            self.binds += 1
            await self._use(link)

    async def _use(self, link: Link) -> None:
        while link.bound and not self.stop.is_set():
            while self._sending and link.bound and link.outstanding < WINDOW:
                try:
                    link.send(self._message(), self._answered)
                except LinkError:
                    break
            await asyncio.sleep(0.002)
        if link.bound:
            await link.unbind(5)

    def _message(self) -> SubmitSm:
        number = next(_numbers)
        return SubmitSm(
            "", 5, 0, "MyCompany", 1, 1, f"96655{number % 10_000_000:07d}",
            registered_delivery=1, short_message=b"Nothing is lost, %d" % number,
        )  # fmt: skip

    def _answered(self, _: Any, outcome: Response | LinkError) -> None:
        if isinstance(outcome, LinkError):
            self.unanswered += 1
        elif outcome.status:
            self.refused.append(outcome.status)
        else:
            self.answered.append(outcome.message_id)  # type: ignore[attr-defined]

    def _received(self, link: Link, pdu: Request) -> None:
        assert isinstance(pdu, DeliverSm)
        self.receipts[pdu.tlv_text(Tag.RECEIPTED_MESSAGE_ID) or ""] += 1
        link.respond(pdu)


def test_magic_numbers_of_a_test_account(site: Site) -> None:
    """They go to the simulator and back, free of charge."""
    site.sql("UPDATE messaging_smppaccount SET test = true")
    demo, reported = site.demo, {}
    before = site.sql("SELECT micro FROM accounts_balance")
    fates = {
        "966500000001": "DELIVRD",
        "966500000002": "UNDELIV",
        "966500000003": "REJECTD",
        "966500000004": "DELIVRD",
        "966500000006": "DELIVRD",
        "966500000007": "DELIVRD",
    }

    async def run() -> None:
        done = asyncio.Event()

        def received(link: Link, pdu: Request) -> None:
            assert isinstance(pdu, DeliverSm)
            receipt = parse_receipt(pdu.short_message, pdu.tlvs)
            assert receipt is not None
            assert pdu.source_addr not in reported
            reported[pdu.source_addr] = receipt.raw_state
            link.respond(pdu)
            if len(reported) == len(fates):
                done.set()

        bind = BindTransceiver(demo["IMISSIVE_SMPP_SYSTEM_ID"], demo["IMISSIVE_SMPP_PASSWORD"])
        link = await connect_esme(
            demo["IMISSIVE_SMPP_HOST"], int(demo["IMISSIVE_SMPP_PORT"]), bind, LinkConfig(),
            handlers=Handlers(on_request=received),
        )  # fmt: skip
        for number in fates:
            pdu = SubmitSm(
                "", 5, 0, "MyCompany", 1, 1, number, registered_delivery=1, short_message=b"magic"
            )
            assert (await link.request(pdu)).status == 0
        await asyncio.wait_for(done.wait(), 40)
        await asyncio.sleep(0.5)  # no receipt arrives twice, whatever the carrier does
        await link.unbind()

    asyncio.run(run())
    assert reported == fates
    assert site.sql("SELECT micro FROM accounts_balance") == before


def test_server_killed_under_load_loses_nothing(site: Site) -> None:
    load = Load(site)
    load.start()
    until(lambda: len(load.answered) > 300, 30, lambda: site.text[-3000:])
    for _ in range(2):
        site.kill("smpp")
        load.gets_more_responses(site)
    load.stop_sending()
    site.settle(60)
    pending = "SELECT count(*) FROM messaging_smppreceipt"
    until(lambda: site.sql(pending) == [(0,)], 60, lambda: site.sql(pending))
    time.sleep(0.5)
    load.end()

    stored = {row[0].hex for row in site.sql("SELECT message_id FROM messaging_smppsubmit")}
    assert len(set(load.answered)) == len(load.answered)
    assert set(load.answered) <= stored
    assert not load.refused
    # Some submits without a response are stored, never more than the dead server's windows.
    assert len(stored - set(load.answered)) <= load.unanswered <= 2 * WINDOW * BINDS
    [(messages, charged)] = site.sql(
        "SELECT (SELECT count(*) FROM messaging_message),"
        " (SELECT -sum(amount) / 1000000 FROM accounts_ledgerentry WHERE kind = 'charge')"
    )
    assert messages == charged == len(stored)
    assert set(load.receipts) == stored
    twice = [count for count in load.receipts.values() if count > 1]
    assert all(count <= 3 for count in twice)
    assert len(twice) <= 2 * 50 * BINDS, f"{len(twice)} receipts came twice"
    assert site.manage("check_ledger").returncode == 0


def test_stopped_server_drains(site: Site) -> None:
    """After SIGTERM, every stored submit gets its response, and no receipt arrives twice."""
    load = Load(site)
    load.start()
    until(lambda: len(load.answered) > 200, 30, lambda: site.text[-3000:])

    before = site.pid("smpp")
    assert before is not None
    os.kill(before, signal.SIGTERM)
    until(lambda: site.pid("smpp") not in (None, before), 30)
    load.gets_more_responses(site)
    load.stop_sending()
    site.settle(60)
    pending = "SELECT count(*) FROM messaging_smppreceipt"
    until(lambda: site.sql(pending) == [(0,)], 60, lambda: site.sql(pending))
    load.end()
    assert set(load.answered) <= set(load.receipts)
    assert set(load.receipts.values()) == {1}
    # Submits in transit when the server sent its unbind may be sent again: they are not stored.
    assert set(load.refused) <= {Status.ESME_RMSGQFUL}
