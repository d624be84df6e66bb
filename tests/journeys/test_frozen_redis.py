"""A Redis that is stopped by SIGSTOP: it accepts connections and never responds.

Sends do not become slow, probes get responses, and calls that need it get 503.
"""

import os
import signal
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.support.platforms import until
from tests.support.running_platform import Site
from tests.support.scenes import BINDS, WINDOW, Scene
from tests.support.simulators import running_simulator
from tests.support.webhook_receivers import receiver

pytestmark = [pytest.mark.platform, pytest.mark.timeout(180)]

SENDS, AT_ONCE = 1500, 4
SECONDS = 0.1
"""The p99 of a send; on a machine that is slower than that anyway, twice the p99 before."""


@contextmanager
def stopped(site: Site) -> Iterator[None]:
    pid = site.pid("valkey")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def timed_send(scene: Scene) -> float:
    started = time.monotonic()
    scene.send_one()
    return time.monotonic() - started


def p99(scene: Scene, count: int) -> float:
    with ThreadPoolExecutor(AT_ONCE) as callers:
        took = list(callers.map(lambda _: timed_send(scene), range(count)))
    return statistics.quantiles(took, n=100)[98]


def test_sends_and_probes_are_not_delayed(site: Site) -> None:
    with running_simulator(receipt_delay=0.05) as carrier, receiver() as customer:
        site.use_simulator(carrier.port, binds=BINDS, window=WINDOW)
        scene = Scene(site, carrier, customer, set())
        until(lambda: site.get("/readyz")[0] == 200, 20)
        before = p99(scene, 500)
        with stopped(site):
            during = p99(scene, SENDS)
            print(f"p99 {before * 1000:.0f} ms, while it is stopped {during * 1000:.0f} ms")
            assert during < max(SECONDS, 2 * before)

            probed = []
            for _ in range(20):
                started = time.monotonic()
                assert site.get("/healthz")[0] == 200
                status, body = site.get("/readyz")
                probed.append(time.monotonic() - started)
                assert status == 503
                assert "broker" in body
            # The first probe of one of the two web processes waits a second for the first results.
            *others, first = sorted(probed)
            assert first < 2.0
            assert max(others) < 1.0
            # Workers also poll without wake-ups: accepted messages are sent.
            sent = "SELECT count(*) FROM messaging_message WHERE sent_at IS NULL"
            until(lambda: site.sql(sent) == [(0,)], 20, lambda: site.sql(sent))
            # Calls that need Redis are refused soon.
            started = time.monotonic()
            check = {"otp_id": "otp_00000000000000000000000000", "code": "123456"}
            assert site.post("/v1/otp/verify", check)[0] == 503
            assert time.monotonic() - started < 1.0
        until(lambda: site.get("/readyz")[0] == 200, 20, lambda: site.text[-3000:])
        scene.everything_is_right(may_repeat=0)
