"""`make drill`: kill parts of a platform under load, then check its promises.

A carrier, a webhook receiver and clients over HTTP and SMPP run in this process and record what
they see; the platform is started like `make run`. A killer with a seed ends a random process by
SIGKILL, or drops every connection of the carrier. When all is quiet again, `tests.journeys.count`
compares the records with the database, and the table is printed.
"""

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from messaging.smpp.constants import Status as Smpp
from tests.journeys import count
from tests.support.platforms import until
from tests.support.running_platform import Site
from tests.support.scenes import BINDS, WINDOW, SmppClient
from tests.support.simulators import RunningSimulator, running_simulator
from tests.support.webhook_receivers import Answer, Post, Receiver, receiver

VICTIMS = {
    "web worker": 4,
    "web": 2,
    "smpp": 3,
    "worker": 3,
    "beat": 1,
    "carriers": 2,
    "carrier-simulator": 5,
    "valkey": 2,
    "postgres": 1,
    "carrier connections": 3,
}
"""The processes to kill, with their weights."""
PAUSE_SECONDS = (0.2, 1.2)
BULK = 40
SETTLE_SECONDS = 120.0


@dataclass
class Records:
    """The records of the clients and the killer. No two clients use the same number."""

    accepted: dict[str, str] = field(default_factory=dict)
    """The number of each message that was accepted, by its public id."""
    over_smpp: set[str] = field(default_factory=set)
    events: dict[str, set[str]] = field(
        default_factory=lambda: {kind: set() for kind in count.EVENTS}
    )
    kills: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


class Drill:
    """Clients and a killer for one platform; `run` returns when all of them have ended."""

    def __init__(
        self, site: Site, carrier: RunningSimulator, customer: Receiver, seed: int
    ) -> None:
        self.site, self.carrier, self.customer = site, carrier, customer
        self.records = Records()
        self.secret = count.subscribe(site, customer)
        customer.answer = self._record
        # A submit whose response was lost is repeated with the same reference.
        site.sql("UPDATE messaging_smppaccount SET references_once = true")
        self.esme = SmppClient(site)
        self._random = random.Random(seed)
        self._over = threading.Event()
        self._errors: list[BaseException] = []

    def run(self, seconds: float, kills: int | None = None, *, at_least: int = 0) -> None:
        """Load the platform and kill its parts for that time, or for that many kills.

        The load goes on until that many messages are accepted.
        """
        work: list[Callable[[], None]] = [
            lambda: self._send_singles("50"),
            lambda: self._send_singles("51"),
            lambda: self._send_bulk("53"),
            lambda: self._submit("54"),
        ]
        clients = [threading.Thread(target=self._guarded, args=[client]) for client in work]
        for client in clients:
            client.start()
        try:
            self._kill_until(time.monotonic() + seconds, kills)
            until(lambda: len(self.records.accepted) >= at_least, SETTLE_SECONDS)
        finally:
            self._over.set()
            for client in clients:
                client.join(SETTLE_SECONDS)
        assert not any(client.is_alive() for client in clients), "a client waits forever"
        if self._errors:
            raise self._errors[0]

    def settle(self) -> None:
        """Wait until the platform has no pending work, and every receipt has arrived over SMPP."""
        self.site.settle(SETTLE_SECONDS)
        until(lambda: self.esme.bound() and not self.missing_receipts, SETTLE_SECONDS)
        self.esme.close()

    def _record(self, post: Post) -> Answer:
        # Verified as it comes: a signature that is five minutes old is refused.
        event = post.verified(self.secret)
        self.records.events[event["event"]].add(event["message_id"])
        return Answer()

    @property
    def missing_receipts(self) -> set[str]:
        """The messages over SMPP whose receipts have not come yet."""
        return self.records.over_smpp - self.esme.receipts

    # -- load --------------------------------------------------------------------------------

    def _guarded(self, client: Callable[[], None]) -> None:
        try:
            client()
        except BaseException as error:
            self._errors.append(error)

    def _send_singles(self, prefix: str) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            to = f"+9665{prefix}{number:06d}"
            response = count.until_accepted(
                self.site, "/v1/sms/send", {"to": to, "message": "A drill"}, self.records.refused
            )
            self.records.accepted[response["message_id"]] = to
            time.sleep(0.03)

    def _send_bulk(self, prefix: str) -> None:
        number = 0
        while not self._over.is_set():
            rows = [
                {"to": f"+9665{prefix}{number + row:06d}", "message": "A drill in bulk"}
                for row in range(BULK)
            ]
            number += BULK
            response = count.until_accepted(
                self.site, "/v1/sms/bulk", {"messages": rows}, self.records.refused
            )
            assert response["rejected"] == 0, response
            for row, message in zip(rows, response["messages"], strict=True):
                self.records.accepted[message["message_id"]] = row["to"]
            time.sleep(0.3)

    def _submit(self, prefix: str) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            to = f"9665{prefix}{number:06d}"
            while True:
                # With the same reference, it is the same submit: its response may have been lost.
                response = self.esme.submit(to, reference=1 + number % 65_535, receipt=True)
                if response is not None and response.status == Smpp.ESME_ROK:
                    break
                status = "none" if response is None else Smpp(response.status).name
                assert status in ("none", "ESME_RMSGQFUL", "ESME_RTHROTTLED"), status
                self.records.refused[f"SMPP: {status}"] += 1
                time.sleep(0.2)
            message_id = count.public_id(response.message_id)
            self.records.accepted[message_id] = f"+{to}"
            self.records.over_smpp.add(message_id)
            time.sleep(0.05)

    # -- kills -------------------------------------------------------------------------------

    def _kill_until(self, end: float, kills: int | None) -> None:
        while kills is None or sum(self.records.kills.values()) < kills:
            time.sleep(self._random.uniform(*PAUSE_SECONDS))
            if kills is None and time.monotonic() >= end:
                return
            [victim] = self._random.choices(list(VICTIMS), list(VICTIMS.values()))
            if self._kill(victim):
                self.records.kills[victim] += 1
            assert not self._errors, self._errors[0]

    def _kill(self, victim: str) -> bool:
        """Kill it; return False where it is not running at this moment."""
        if victim == "carrier connections":
            self.carrier.drop_all()
            return True
        pid = self.site.pid("web" if victim == "web worker" else victim)
        try:
            process = psutil.Process(pid or 0) if pid else None
            if process is None:
                return False
            if victim == "web worker":
                process = self._random.choice(process.children())
            process.send_signal(signal.SIGKILL)
        except (psutil.NoSuchProcess, IndexError):
            return False
        return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--kills", type=int, help="kill so often, however long that takes")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"SEED={arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="imissive-drill-") as folder:
        site = Site(Path(folder), WEB_WORKERS="2", WEBHOOK_TIMEOUT="2")
        with (
            running_simulator(receipt_delay=0.2, receipt_attempts=1000) as carrier,
            receiver() as customer,
        ):
            try:
                site.start()
                site.use_simulator(carrier.port, binds=BINDS, window=WINDOW)
                site.top_up(10_000_000)
                drill = Drill(site, carrier, customer, arguments.seed)
                drill.run(arguments.seconds, arguments.kills)
                drill.settle()
                promises = count.promises(drill)
            finally:
                (Path(tempfile.gettempdir()) / "imissive-drill.log").write_text(site.text)
                site.close()
    print(count.table(drill, promises))
    return 0 if all(promise.kept for promise in promises) else 1


if __name__ == "__main__":
    sys.exit(main())
