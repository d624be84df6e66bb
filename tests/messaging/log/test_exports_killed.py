"""An export whose workers are really killed while they write it has each message, and once."""

import csv
import http.cookiejar
import io
import os
import re
import signal
import urllib.parse
import urllib.request

import pytest

from imissive.core import ids
from tests.support.bulk_data import fill
from tests.support.platforms import until
from tests.support.running_platform import Site

pytestmark = [pytest.mark.platform, pytest.mark.timeout(180)]

MESSAGES = 60_000
KILLS = 3


class Visitor:
    """A browser without scripts, signed in as the demo's owner."""

    def __init__(self, site: Site) -> None:
        self.site = site
        jar = http.cookiejar.CookieJar()
        self._open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar)).open
        page, demo = "/accounts/login/", site.demo
        self.send(page, page, login=demo["IMISSIVE_EMAIL"], password=demo["IMISSIVE_PASSWORD"])

    def get(self, path: str) -> str:
        with self._open(self.site.url + path, timeout=30) as response:
            return str(response.read().decode("utf-8-sig"))

    def send(self, page: str, to: str, **fields: str) -> None:
        """Send a form of that page there, with what it hides."""
        hidden = re.findall(r'name="(csrfmiddlewaretoken|once)" value="([^"]+)"', self.get(page))
        body = urllib.parse.urlencode({**dict(hidden), **fields}).encode()
        request = urllib.request.Request(self.site.url + to, body)  # noqa: S310
        with self._open(request, timeout=30) as response:
            assert response.status == 200


def test_workers_are_killed_while_they_write(site: Site) -> None:
    [(organization_id, carrier_id)] = site.sql(
        "SELECT o.id, c.id FROM accounts_organization o, messaging_carrier c"
    )
    fill(organization_id, carrier_id, MESSAGES, run=site.sql)
    home = f"/dashboard/{ids.public_id(ids.ORGANIZATION, organization_id)}/messages/"
    owner = Visitor(site)

    def state() -> tuple[str, int]:
        [(status, written)] = site.sql("SELECT status, written FROM messaging_export")
        return status, written

    owner.send(home, f"{home}exports/new/")
    killed_at = [0]

    def kill() -> None:
        pid = site.pid("worker")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        status, written = state()
        assert (status, written < MESSAGES) == ("running", True)
        killed_at.append(written)
        until(lambda: site.pid("worker") not in (None, pid), 30)

    for _ in range(KILLS):
        until(lambda: state()[1] > killed_at[-1], 60, state)
        kill()
    until(lambda: state()[0] == "done", 120, state)
    assert state() == ("done", MESSAGES)

    [(export_id,)] = site.sql("SELECT id FROM messaging_export")
    text = owner.get(f"{home}exports/{ids.public_id(ids.EXPORT, export_id)}/")
    rows = [row["message_id"] for row in csv.DictReader(io.StringIO(text))]
    stored = site.sql("SELECT id FROM messaging_message ORDER BY id DESC")
    assert rows == [ids.public_id(ids.MESSAGE, message_id) for (message_id,) in stored]
    print("killed after", killed_at)
