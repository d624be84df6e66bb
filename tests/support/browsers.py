"""A real Chromium, a live server, and logged-in pages, for screenshots and browser tests."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.db import connection
from django.test import Client, override_settings
from django.test.testcases import LiveServerThread
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from accounts.models import Organization, User
from accounts.operators import impersonation
from tests.support.people import PLAIN_STATIC

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def has_chromium() -> bool:
    return os.access(CHROMIUM, os.X_OK)


@contextmanager
def chromium() -> Iterator[Browser]:
    # Playwright's loop in this thread would make Django refuse its ordinary database calls.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()
            del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@contextmanager
def live_server() -> Iterator[str]:
    """Serve the site from a thread, on the process's database; yield its URL."""
    thread = LiveServerThread("127.0.0.1", StaticFilesHandler)
    thread.daemon = True
    with override_settings(STORAGES=PLAIN_STATIC, ALLOWED_HOSTS=["127.0.0.1", "localhost"]):
        thread.start()
        thread.is_ready.wait()
        if thread.error:
            raise thread.error
        try:
            yield f"http://127.0.0.1:{thread.port}"
        finally:
            thread.terminate()
            _end_other_sessions()


def _end_other_sessions() -> None:
    """Terminate sessions that aborted requests left open: they block dropping the test database."""
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
    # The new pool may have opened more connections than this one; these are terminated too.
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]


def log_in(
    context: BrowserContext, url: str, user: User, acting_as: Organization | None = None
) -> None:
    """Log the browser in as the user, by a session cookie.

    `acting_as`: the user is an operator who impersonates that organization.
    """
    client = Client()
    client.force_login(user)
    if acting_as is not None:
        held = client.session
        impersonation.start(held, user, acting_as, "Ticket 118: wants help with a sender ID")
        held.save()
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": url}])
