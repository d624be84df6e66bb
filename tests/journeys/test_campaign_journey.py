"""A campaign of 5,000, in a real Chromium on the running platform, from the file to the results."""

import contextlib
import os
import select
import socket
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support import browsers
from tests.support.running_platform import Site

pytestmark = pytest.mark.browser

COUNT = 5_000


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    if not browsers.has_chromium():
        missing = f"no Chromium at {browsers.CHROMIUM}: the journey was NOT tried"
        warnings.warn(missing, stacklevel=1)
        pytest.skip(missing)
    refused: list[str] = []
    with browsers.chromium() as browser:
        page = browser.new_context(base_url=site.url).new_page()
        page.on("pageerror", lambda error: refused.append(str(error)))
        yield page
    assert refused == []


def _file(folder: Path) -> Path:
    """Write 5,000 rows as Excel saves them in Arabic Windows, and three invalid ones."""
    lines = ["الجوال;الاسم;ملاحظة"]
    lines += [f"05{10_000_000 + index};عميل {index};=1+1" for index in range(COUNT)]
    lines += ["12345;سارة;", "0510000000;نورة;", "0599999999;;"]
    file = folder / "عملاء.csv"
    file.write_bytes("\r\n".join(lines).encode("windows-1256"))
    return file


def _log_in(site: Site, page: Page) -> None:
    page.goto("/accounts/login/")
    page.get_by_label("Email").fill(site.demo["IMISSIVE_EMAIL"])
    page.get_by_label("Password", exact=True).fill(site.demo["IMISSIVE_PASSWORD"])
    page.get_by_role("main").get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def test_a_campaign_of_5000(site: Site, page: Page, tmp_path: Path) -> None:
    page.set_default_timeout(30_000)
    expect.set_options(timeout=30_000)
    _log_in(site, page)
    page.get_by_role("navigation").get_by_role("link", name="Campaigns").click()
    page.get_by_role("link", name="Begin a campaign").click()
    page.get_by_label("CSV or XLSX file").set_input_files(_file(tmp_path))
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("Windows-1256 (Arabic)").first).to_be_visible()
    expect(page.get_by_role("cell", name="عميل 0")).to_be_visible()
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Text").fill("Hi ")
    # A chip inserts its variable at the cursor.
    page.get_by_role("button", name="{الاسم}").click()
    expect(page.get_by_label("Text")).to_have_value("Hi {الاسم}")
    page.get_by_role("button", name="Check", exact=True).last.click()
    # The check's page updates automatically until the check is complete.
    expect(page.get_by_text("from 5,003 rows")).to_be_visible()
    expect(page.get_by_text("Hi عميل 0", exact=True)).to_be_visible()
    page.go_back()
    expect(page.get_by_label("Text")).to_have_value("Hi {الاسم}")
    page.go_forward()
    with page.expect_download() as download:
        page.get_by_role("link", name="All of them as CSV").click()
    problems = download.value.path().read_text(encoding="utf-8-sig")
    assert len(problems.splitlines()) == 4
    page.get_by_role("link", name="Go on to sending").click()
    started = time.monotonic()
    page.get_by_role("button", name="Send 5000 messages").dblclick()
    # The page updates automatically.
    expect(page.get_by_text("Finished")).to_be_visible(timeout=90_000)
    took = time.monotonic() - started
    expect(page.get_by_role("link", name="Delivered 5,000")).to_be_visible()
    page.go_back()
    expect(page.get_by_text("Finished")).to_be_visible()
    sent = site.sql(
        'SELECT count(*), count(DISTINCT "to"), sum(price) FROM messaging_message'
        " WHERE source = 'campaign'"
    )
    assert [tuple(map(int, row)) for row in sent] == [(COUNT, COUNT, COUNT * 1_000_000)]
    print(f"5,000 rows, from the click to the last receipt: {took:.1f} s")


def test_an_upload_of_100_mb_is_refused_unread(site: Site) -> None:
    """It fills neither the server's memory nor its disk, and the response says why."""
    for _ in range(8):  # memory that a process needs for its first pages is not the upload's
        site.get("/accounts/login/")
    before, spool = _memory(site), _spooled()
    size = 100 * 1024 * 1024
    port = int(site.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        head = (
            "POST /dashboard/org_x/campaigns/new/ HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {size}\r\n\r\n"
        )
        connection.sendall(head.encode())
        sent = 0
        with contextlib.suppress(ConnectionError, TimeoutError):
            while sent < size and not select.select([connection], [], [], 0)[0]:
                sent += connection.send(bytes(65_536))
        response = _read_all(connection)
    assert response.startswith("HTTP/1.1 413")
    assert "too large" in response
    assert sent < size / 4
    assert _memory(site) - before < 20 * 1024 * 1024
    assert _spooled() <= spool
    assert site.get("/healthz")[0] == 200


def _read_all(connection: socket.socket) -> str:
    """Return the data that the other side sends until it closes the connection."""
    response = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        while piece := connection.recv(65_536):
            response += piece
            if b"</html>" in response:
                break
    return response.decode()


def _memory(site: Site) -> int:
    """Return the memory of all of the web server's processes together, in bytes."""
    found = [pid for pid, command in site.processes().items() if "imissive.run.web" in command]
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in found]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


def _spooled() -> int:
    """Return the uploads that Django stores on disk while it reads a form."""
    return len(list(Path(tempfile.gettempdir()).glob("*.upload*")))
