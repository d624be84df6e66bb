"""An operator's numbering range is known to every process of the running platform in seconds."""

import asyncio

import pytest

from messaging.smpp.constants import Status
from messaging.smpp.handlers import Handlers, LinkConfig
from messaging.smpp.link import Link, connect_esme
from messaging.smpp.pdus import BindTransceiver, Request, SubmitSm
from tests.support.platforms import until
from tests.support.running_platform import Site

pytestmark = [pytest.mark.platform, pytest.mark.timeout(120)]

ENTER = (
    "INSERT INTO messaging_numberrange (country, prefix, shortest, longest, reachable, note,"
    " enabled) VALUES ('SA', '96652', 12, 12, true, 'test', true)"
)


def _by_api(site: Site, to: str) -> int:
    return site.post("/v1/sms/send", {"to": to, "message": "Hi"})[0]


def _answered(link: Link, pdu: Request) -> None:
    link.respond(pdu)


async def _by_smpp(site: Site, ton: int, to: str) -> int:
    demo = site.demo
    link = await connect_esme(
        demo["IMISSIVE_SMPP_HOST"],
        int(demo["IMISSIVE_SMPP_PORT"]),
        BindTransceiver(demo["IMISSIVE_SMPP_SYSTEM_ID"], demo["IMISSIVE_SMPP_PASSWORD"]),
        LinkConfig(response_timeout=30),
        handlers=Handlers(on_request=_answered),
    )
    response = await link.request(SubmitSm("", 5, 0, "MyCompany", ton, 1, to, short_message=b"Hi"))
    await link.unbind(5)
    return response.status


def test_a_range_is_known_without_a_restart(site: Site) -> None:
    smpp = ((0, "0520001234"), (1, "966520001234"), (2, "520001234"))
    assert _by_api(site, "+966520001234") == 400
    for ton, to in smpp:
        assert asyncio.run(_by_smpp(site, ton, to)) == Status.ESME_RINVDSTADR
    site.sql(ENTER)
    until(lambda: _by_api(site, "+966520001234") == 202, 10)
    for ton, to in smpp:
        until(lambda: asyncio.run(_by_smpp(site, ton, to)) == Status.ESME_ROK, 10)  # noqa: B023
    stored = site.sql("SELECT count(*) FROM messaging_message WHERE \"to\" = '+966520001234'")
    assert stored == [(4,)]
