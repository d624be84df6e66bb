"""What was killed serves again soon, and takes nobody with it."""

import os
import signal
import time
from functools import partial

import psutil
import pytest

from messaging.smpp.constants import Status as Smpp
from tests.platforms import until
from tests.running import Site
from tests.scenes import SmppClient

pytestmark = [pytest.mark.platform, pytest.mark.timeout(180)]

WEB_BACK, SMPP_BACK = 2.0, 3.0
"""Seconds, on two cores of one's own. Here they are shared with the tests: see `SHARED`."""
SHARED = 2.0


def workers(site: Site) -> dict[int, float]:
    """The processes that serve HTTP, with the times of their start."""
    web = site.pid("web")
    assert web is not None
    return {child.pid: child.create_time() for child in psutil.Process(web).children()}


def answers(site: Site) -> bool:
    return site.request("GET", "/v1/balance")[0] == 200


def _are_two_without(site: Site, gone: int) -> bool:
    return len(set(workers(site)) - {gone}) == 2


def test_a_web_worker_that_dies_again_and_again_dies_alone(site: Site) -> None:
    """Granian's own supervision ends all of them at the second death within some seconds."""
    until(lambda: len(workers(site)) == 2, 20)
    web = site.pid("web")
    healthy, *victims = sorted(workers(site))
    for _ in range(4):
        [victim] = victims
        os.kill(victim, signal.SIGKILL)
        until(lambda: answers(site), 5)
        until(partial(_are_two_without, site, victim), 30)
        assert healthy in workers(site)
        victims = [pid for pid in workers(site) if pid != healthy]
    assert site.pid("web") == web


def test_a_web_worker_serves_again_soon(site: Site) -> None:
    """All at once, so that none is left to answer for the other."""
    until(lambda: len(workers(site)) == 2, 20)
    time.sleep(11)  # they have been well for a while: no growing pause
    for pid in workers(site):
        os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    until(lambda: answers(site), 30, lambda: site.text[-3000:])
    took = time.monotonic() - killed
    print(f"web workers: {took:.1f} s")
    assert took < WEB_BACK * SHARED


def test_web_serves_again_soon(site: Site) -> None:
    pid = site.pid("web")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    until(lambda: site.pid("web") not in (None, pid) and answers(site), 30)
    took = time.monotonic() - killed
    print(f"web: {took:.1f} s")
    assert took < WEB_BACK * SHARED


def test_the_smpp_server_serves_again_soon(site: Site) -> None:
    customer = SmppClient(site)
    pid = site.pid("smpp")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()

    def accepts() -> bool:
        answer = customer.submit("966550000000")
        return answer is not None and answer.status == Smpp.ESME_ROK

    until(accepts, 30, lambda: site.text[-3000:])
    took = time.monotonic() - killed
    print(f"smpp: {took:.1f} s")
    assert took < SMPP_BACK * SHARED
    customer.close()
