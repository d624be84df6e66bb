"""A primary is killed under load, its standby promoted, and no process needs a restart."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from uuid import UUID

import pytest

from imissive.core import ids
from messaging.smpp.constants import Status as Smpp
from tests.support.clusters import Cluster, cluster
from tests.support.platforms import until
from tests.support.running_platform import Site
from tests.support.scenes import (
    BINDS,
    WINDOW,
    Scene,
    SmppClient,
)
from tests.support.simulators import running_simulator
from tests.support.webhook_receivers import receiver

pytestmark = [pytest.mark.platform, pytest.mark.timeout(300)]

BACK_WITHIN = 10.0


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture(scope="module")
def scene(servers: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    site = Site(
        tmp_path_factory.mktemp("site"),
        WEBHOOK_TIMEOUT="2",
        SEED_DEMO="1",
        DATABASE_URL=servers.url,
    )
    with (
        running_simulator(receipt_delay=0.05, receipt_attempts=100) as carrier,
        receiver() as customer,
    ):
        try:
            site.start()
            site.use_simulator(carrier.port, binds=BINDS, window=WINDOW)
            yield Scene(site, carrier, customer, set())
            print(site.text[-20_000:])
        finally:
            site.close()


def test_nothing_is_lost_and_service_returns_soon(scene: Scene, servers: Cluster) -> None:
    site, carrier = scene.site, scene.carrier
    carrier.options.answer_delay = 0.05
    customer = SmppClient(site)
    before = {name: site.pid(name) for name in ("web", "smpp", "worker", "beat", "carriers")}
    sender = threading.Thread(target=scene.send, args=[4000])
    sender.start()
    carrier.wait_for(lambda carrier: len(carrier.submits) > 300, 30)

    servers.kill_primary()
    time.sleep(2)  # until a person or a program notices
    servers.promote()
    promoted = time.monotonic()

    posts = len(scene.customer.posts)
    [(promoted_at,)] = site.sql("SELECT now()")
    to = scene.number()
    waits: dict[str, Callable[[], object]] = {
        "web": lambda: scene.send_one(),
        "smpp": lambda: _submit(customer, scene, to),
        "carriers": lambda: site.sql(_SENT, [promoted_at]) != [(0,)],
        "worker": lambda: len(scene.customer.posts) > posts,
        "/readyz": lambda: site.get("/readyz")[0] == 200,
    }
    took = {}
    for what, works in waits.items():
        until(works, 60, partial(str, what))
        took[what] = time.monotonic() - promoted
    print(took)
    assert max(took.values()) < BACK_WITHIN, took

    sender.join()
    customer.close()
    scene.everything_is_right(may_repeat=0)
    # None of them was restarted.
    assert {name: site.pid(name) for name in before} == before


_SENT = "SELECT count(*) FROM messaging_message WHERE sent_at > %s"


def _submit(customer: SmppClient, scene: Scene, to: str) -> bool:
    response = customer.submit(to, reference=4711)
    if response is None or response.status == Smpp.ESME_RMSGQFUL:
        return False
    assert response.status == Smpp.ESME_ROK
    scene.sent.add(ids.public_id("msg", UUID(hex=response.message_id)))
    return True
