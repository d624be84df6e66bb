"""Nothing is lost: parts of the running platform are killed under load, and everything is counted.

The platform is started like `make run`. The carrier is a simulator in this process, which records
every submit, and the customer's webhook receiver is a real HTTP server.
"""

import os
import re
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from functools import partial

import psutil
import pytest
import redis
from dotenv import dotenv_values

from messaging.smpp.constants import Status as Smpp
from tests.support.platforms import until
from tests.support.running_platform import Site
from tests.support.scenes import (
    BINDS,
    IN_DOUBT,
    WINDOW,
    Scene,
    SmppClient,
)
from tests.support.simulators import running_simulator
from tests.support.webhook_receivers import Post, receiver

pytestmark = [pytest.mark.platform, pytest.mark.timeout(180)]


@pytest.fixture
def scene(site: Site) -> Iterator[Scene]:
    """Run a carrier and a receiver for one test, on a platform without earlier messages."""
    # Like a real carrier, it sends a refused receipt again for longer than the test runs.
    carriers = running_simulator(receipt_delay=0.05, receipt_attempts=1000)
    with carriers as carrier, receiver() as customer:
        site.reset()
        site.use_simulator(carrier.port, binds=BINDS, window=WINDOW)
        yield Scene(site, carrier, customer, set())
        print(site.text[-8000:])


def test_carrier_worker_is_killed_with_2000_messages_in_flight(scene: Scene) -> None:
    scene.carrier.options.answer_delay = 0.1
    scene.send(2000)
    scene.carrier.wait_for(lambda carrier: len(carrier.submits) > 500, 20)

    scene.site.kill("carrier-simulator")

    in_flight = scene.site.sql("SELECT count(*) FROM messaging_message WHERE final_at IS NULL")
    assert in_flight[0][0] > 1000
    # Its lease would have lasted a minute.
    held = (
        "SELECT count(*) FROM messaging_message m JOIN messaging_carrierworker w ON w.id = m.lease"
        " WHERE w.died_at IS NOT NULL"
    )
    until(lambda: scene.site.sql(held) == [(0,)], 5)
    scene.everything_is_right(may_repeat=IN_DOUBT)


def test_urgent_messages_of_a_killed_worker_do_not_wait_for_the_lease(scene: Scene) -> None:
    """The lease is a minute. A second machine's worker has them within seconds; so has the new
    worker of the same machine, once it has started."""
    site, carrier = scene.site, scene.carrier
    site.start_carriers_elsewhere()
    until(lambda: carrier.bound == 2 * BINDS, 40, lambda: site.text[-3000:])
    try:
        for kill in range(3):
            # Submits of both workers are outstanding when one of them dies.
            carrier.options.answer_delay = 1.0
            sent = [scene.send_one() for _ in range(12)]
            until(partial(_are_sending, site, sent, 12), 10)
            carrier.options.answer_delay = 0.05
            killed = time.monotonic()
            os.kill(site.pid("carrier-simulator") or 0, signal.SIGKILL)
            until(partial(_are_sending, site, sent, 0), 20)
            took = time.monotonic() - killed
            assert took < 5, f"kill {kill}: {took:.1f} s"
            until(lambda: carrier.bound == 2 * BINDS, 40, lambda: site.text[-3000:])
        scene.everything_is_right(may_repeat=3 * 12)
    finally:
        site.close_beside()


def _are_sending(site: Site, sent: list[uuid.UUID], count: int) -> bool:
    return site.sql(_SENDING, [sent]) == [(count,)]


_SENDING = "SELECT count(*) FROM messaging_message WHERE status = 'sending' AND id = ANY(%s)"


def test_webhook_worker_is_killed(scene: Scene) -> None:
    scene.send(1000)
    scene.customer.wait_for(300)

    scene.site.kill("worker")

    assert len(scene.customer.posts) < 2000
    scene.everything_is_right(may_repeat=0)


def test_broker_is_emptied_and_restarted(scene: Scene) -> None:
    url = dotenv_values(scene.site.data_dir / "runtime.env")["REDIS_URL"] or ""
    sender = threading.Thread(target=scene.send, args=[2000])
    sender.start()
    for _ in range(5):
        with redis.Redis.from_url(url) as client:
            client.flushall()
        time.sleep(0.05)
    scene.site.kill("valkey")
    sender.join()

    scene.everything_is_right(may_repeat=0)


def test_postgresql_is_restarted(scene: Scene) -> None:
    scene.carrier.options.answer_delay = 0.05
    sender = threading.Thread(target=scene.send, args=[3000])
    sender.start()
    scene.carrier.wait_for(lambda carrier: len(carrier.submits) > 200, 20)
    before = scene.site.pid("postgres")
    assert before is not None

    os.kill(before, signal.SIGINT)  # PostgreSQL's fast shutdown: every session is cut

    until(lambda: scene.site.pid("postgres") not in (None, before), 30)
    sender.join()
    # Results that could not be written stay in memory, and are written when it is back.
    scene.everything_is_right(may_repeat=IN_DOUBT)


def test_postgresql_is_read_only_for_a_while(scene: Scene) -> None:
    """On a standby before its promotion, callers get 503 or ESME_RMSGQFUL, and nothing is lost."""
    site, carrier = scene.site, scene.carrier
    carrier.options.answer_delay, carrier.options.receipt_delay = 0.05, 0.5
    customer = SmppClient(site)
    sender = threading.Thread(target=scene.send, args=[3000])
    sender.start()
    carrier.wait_for(lambda carrier: len(carrier.submits) > 200, 20)

    with site.read_only():
        body = {"to": "+966550000000", "message": "Not now"}
        responses = [site.post("/v1/sms/send", body) for _ in range(20)]
        assert {(status, response["error"]["code"]) for status, response in responses} == {
            (503, "UNAVAILABLE")
        }
        refused = customer.submit("966550000000")
        assert refused is not None
        assert refused.status == Smpp.ESME_RMSGQFUL
        assert site.get("/readyz")[0] == 503
        before = carrier.tally.receipts_answered
        carrier.wait_for(lambda carrier: carrier.tally.receipts_refused > 0, 30)
        # Writes that were in progress when it became read-only may have been committed.
        assert carrier.tally.receipts_answered - before < IN_DOUBT

    sender.join()
    customer.close()
    scene.everything_is_right(may_repeat=0)
    assert carrier.tally.receipts_lost == 0


def test_simulator_drops_every_connection(scene: Scene) -> None:
    scene.carrier.options.answer_delay = 0.1
    scene.send(1500)
    scene.carrier.wait_for(lambda carrier: len(carrier.submits) > 300, 20)

    scene.carrier.drop_all()

    scene.everything_is_right(may_repeat=IN_DOUBT)


def test_web_process_is_killed_between_acceptance_and_response(scene: Scene) -> None:
    """Messages with a response are stored; those without a response are charged once as well."""
    stop = threading.Event()

    def send_singles() -> None:
        while not stop.is_set():
            body = {"to": f"+96656{len(answered):07d}", "message": "One of many"}
            status, response = scene.site.post("/v1/sms/send", body)
            if status == 202:
                answered.append(response["message_id"])

    answered: list[str] = []
    clients = [threading.Thread(target=send_singles) for _ in range(4)]
    for client in clients:
        client.start()
    until(lambda: len(answered) > 50, 20)
    web = scene.site.pid("web")
    assert web is not None
    for child in psutil.Process(web).children():
        child.kill()
    seen = len(answered)
    until(lambda: len(answered) > seen + 50, 30)
    stop.set()
    for client in clients:
        client.join()
    scene.site.settle(60)

    [(stored, charged)] = scene.site.sql(
        "SELECT (SELECT count(*) FROM messaging_message),"
        " (SELECT -sum(amount) / 1000000 FROM accounts_ledgerentry WHERE kind = 'charge')"
    )
    assert stored == charged
    assert stored - len(answered) <= len(clients)
    events = [post.verified(scene.secret) for post in list(scene.customer.posts)]
    delivered = {event["message_id"] for event in events if event["event"] == "message.delivered"}
    assert set(answered) <= delivered
    assert scene.site.manage("check_ledger").returncode == 0


def test_a_one_time_password_reaches_only_the_handset(scene: Scene) -> None:
    """It is sent, verified and reported; an unchecked one expires. No process logs the codes."""
    site = scene.site
    hook = {"url": scene.customer.url, "events": ["otp.verified", "otp.failed"]}
    secret = site.post("/v1/webhooks", hook)[1]["secret"]
    body = {"length": 8, "origin": "example.com"}
    sent = [site.post("/v1/otp/send", body | {"phone": f"+96657123456{n}"})[1] for n in range(2)]
    scene.carrier.wait_for(lambda carrier: len(carrier.accepted) == 2, 20)
    texts = {submit.destination: submit.text for submit in scene.carrier.accepted}
    codes = [texts[response["phone"].lstrip("+")].rpartition("#")[2] for response in sent]
    assert all(re.fullmatch(r"\d{8}", code) for code in codes)

    check = {"otp_id": sent[0]["otp_id"], "code": codes[0]}
    status, response = site.post("/v1/otp/verify", check)
    assert (status, response["verified"], response["status"]) == (200, True, "verified")
    site.sql("UPDATE otp_verification SET expires_at = now() WHERE status = 'pending'")

    def reported() -> dict[str, str]:
        events = [post.verified(secret) for post in list(scene.customer.posts) if _about_otp(post)]
        return {event["data"]["otp_id"]: event["event"] for event in events}

    expected = {sent[0]["otp_id"]: "otp.verified", sent[1]["otp_id"]: "otp.failed"}
    until(lambda: reported() == expected, 20, reported)
    site.settle(60)
    stored = site.sql(
        "SELECT text FROM messaging_message UNION ALL SELECT body FROM webhooks_event"
    )
    assert len(stored) >= 6
    for code in codes:
        assert code not in str(stored)
        assert code not in site.text


def _about_otp(post: Post) -> bool:
    return b'"otp.' in post.body
