"""Fixtures that several test files share."""

import gc
import os
import signal
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import pytest
import structlog
from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.db import connection
from django.utils import translation

from accounts.api import rate_limits
from imissive.core import wakeups
from imissive.run.unprivileged import die_with_parent
from messaging.models import Carrier
from messaging.numbers import e164
from messaging.routing import cache, numbering
from tests.support import transitions
from tests.support.factories import Api, Customer, World
from tests.support.redis_away import cache_without_redis
from tests.support.running_platform import Site
from tests.support.webhook_dispatch import Start, dispatchers
from tests.support.webhook_receivers import Receiver, receiver
from tests.support.xdist_scheduling import LONGEST_FIRST, SITE_FILES, BySite

__all__ = ["cache_without_redis"]

# The two cores are shared with servers and other test processes, so a deadline proves nothing.
hypothesis.settings.register_profile("imissive", deadline=None)
hypothesis.settings.load_profile("imissive")

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
if "PYTEST_XDIST_WORKER" in os.environ:
    # A worker dies with a killed test run, and the processes that its tests started die with it.
    die_with_parent(signal.SIGKILL, parent=os.getppid())()

# Each process that runs tests has a Redis database of its own, because tests flush it.
_redis = urlsplit(settings.REDIS_URL)._replace(path=f"/{WORKER.removeprefix('gw')}").geturl()
os.environ["REDIS_URL"] = settings.REDIS_URL = settings.CACHES["default"]["LOCATION"] = _redis

# Argon2 with its cheapest parameters: the usual ones are meant to be slow, and would slow down each
# test that signs in.
Argon2PasswordHasher.time_cost, Argon2PasswordHasher.memory_cost = 1, 8
Argon2PasswordHasher.parallelism = 1

REAL_DATABASE = str(settings.DATABASES["default"]["NAME"])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the slowest files first (`--no-loadscope-reorder`): none runs alone at the end."""
    places = {file: place for place, file in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.location[0], len(places)))
    for item in items:
        if (
            "site_of_all" in getattr(item, "fixturenames", [])
            and item.location[0] not in SITE_FILES
        ):
            raise pytest.UsageError(
                f"{item.location[0]} belongs into tests.support.xdist_scheduling.SITE_FILES"
            )


def pytest_collection_finish() -> None:
    """Freeze what was imported and collected, and collect garbage less often.

    It saves a twelfth of the suite's CPU time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> BySite | None:
    return BySite(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def site_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return the platform that the tests from outside share: a start takes 8 s of CPU."""
    site = Site(tmp_path_factory.mktemp("site"), WEBHOOK_TIMEOUT="2", WEB_WORKERS="2")
    try:
        site.start()
        site.remember()
        yield site
    finally:
        site.close()


@pytest.fixture(scope="module")
def site(site_of_all: Site) -> Iterator[Site]:
    """Return the running platform, reset to its state after the start for each file."""
    site_of_all.reset()
    yield site_of_all
    print(site_of_all.text[-8000:])


@pytest.fixture(autouse=True)
def _fresh_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty the routing cache, so that no test sees another's routes and prices."""
    monkeypatch.setattr(cache, "_cached", None)


@pytest.fixture(autouse=True)
def _no_number_ranges() -> Iterator[None]:
    """Read no numbering ranges: tests of pure code have no database, and others count queries."""
    e164.set_ranges_source(tuple)
    yield
    e164.set_ranges_source(tuple)


@pytest.fixture
def number_ranges(db: None, _no_number_ranges: None) -> None:
    """Read numbering ranges from the database, as every process does."""
    e164.set_ranges_source(numbering.ranges)
    numbering.reload()


@pytest.fixture(autouse=True)
def _language_of_nobody() -> Iterator[None]:
    """Deactivate the language that a page in Arabic leaves active in the thread."""
    yield
    translation.deactivate()


@pytest.fixture(autouse=True)
def _fresh_post_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count each test's posts on their own."""
    monkeypatch.setattr(settings, "RATELIMIT_CACHE_PREFIX", f"posts:{uuid.uuid4()}:", raising=False)


@pytest.fixture(scope="session", autouse=True)
def _patient_cache() -> None:
    """Give the cache a longer timeout: a slow Redis would be taken for one that is down."""
    settings.CACHES["default"] |= {"OPTIONS": {"seconds": 10}}  # type: ignore[dict-item]


@pytest.fixture(scope="session", autouse=True)
def _patient_limits() -> None:
    """Create the cached Redis client of the rate limits with a longer timeout.

    A request waits a quarter of a second for Redis and is not limited without a response. On two
    busy cores that may be too short.
    """
    seconds, rate_limits.SOCKET_SECONDS = rate_limits.SOCKET_SECONDS, 10.0
    rate_limits._script(settings.REDIS_URL)
    rate_limits.SOCKET_SECONDS = seconds


@pytest.fixture(scope="session", autouse=True)
def _loggers_are_found_anew() -> None:
    """Disable the cache of loggers, which would hide used loggers from tests that capture logs."""
    structlog.configure(cache_logger_on_first_use=False)


@pytest.fixture
def wakes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return the wake-ups, as (task, queue, arguments), which are recorded instead of sent."""
    sent: list[tuple[str, str, tuple[str, ...]]] = []
    monkeypatch.setattr(
        wakeups, "wake", lambda task, *, queue, arguments=(): sent.append((task, queue, arguments))
    )
    return sent


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker) -> None:
    """Install the trigger of the transition table in a test database that pytest-django created."""
    if connection.settings_dict["NAME"] != REAL_DATABASE:
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            transitions.install(cursor.execute)


@pytest.fixture(scope="session")
def test_database(django_db_setup: None, django_db_blocker) -> Iterator[None]:
    """Create the test database for tests without a fixture of pytest-django.

    pytest-django creates it only where a collected test has `db`; otherwise, a run of committing
    tests alone would commit to the real one.
    """
    if connection.settings_dict["NAME"] != REAL_DATABASE:
        yield
        return
    with django_db_blocker.unblock():
        connection.creation.create_test_db(verbosity=0, autoclobber=True)
        with connection.cursor() as cursor:
            transitions.install(cursor.execute)
        yield
        connection.creation.destroy_test_db(REAL_DATABASE, verbosity=0)


@pytest.fixture
def committed_db(test_database: None, django_db_blocker) -> Iterator[None]:
    """Allow the database without a transaction around the test, for threads; commits stay.

    pytest-django's `transaction=True` would truncate all tables, which the ledger refuses.
    """
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def world(db: None, wakes: list[Any]) -> World:
    """Return a factory of customers and carriers, which are rolled back after the test."""
    return World()


@pytest.fixture
def committed_world(committed_db: None, wakes: list[Any]) -> Iterator[World]:
    """Return a factory of customers and carriers that other threads see."""
    world = World()
    yield world
    world.forget()


@pytest.fixture
def there(settings: Any) -> Iterator[Receiver]:
    """Return a webhook receiver on loopback, to which the platform may post."""
    settings.WEBHOOK_ALLOW_LOOPBACK = True
    with receiver() as running:
        yield running


@pytest.fixture
def start(committed_db: None) -> Iterator[Start]:
    """Return a function that starts webhook dispatchers, which are stopped after the test."""
    with dispatchers() as run:
        yield run


@pytest.fixture
def carrier(world: World) -> Carrier:
    """Return a carrier that serves Saudi Arabia, at one credit per part."""
    return world.serve()


@pytest.fixture
def customer(world: World, carrier: Carrier) -> Customer:
    """Return a customer with 100 credits and the approved sender ID MyCompany."""
    return world.customer()


@pytest.fixture
def outsider(world: World) -> Customer:
    """Return another organization, with a sender ID of its own."""
    return world.customer(sender="Outsider")


@pytest.fixture
def api(customer: Customer) -> Api:
    """Return a client with the customer's live key."""
    return customer.api


@pytest.fixture
def test_api(customer: Customer) -> Api:
    """Return a client with the customer's test key."""
    return customer.test_api
