"""Fixtures that several test files share."""

import gc
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import pytest
import structlog
from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.db import connection

from accounts import limits
from imissive import bell
from messaging import tables
from messaging.models import Carrier
from tests.dispatching import Start, dispatchers
from tests.receivers import Receiver, receiver
from tests.running import Site
from tests.scheduling import LONGEST_FIRST, SITE_FILES, BySite
from tests.world import Api, Customer, World

# The two cores are shared with servers and other test processes: time says nothing here.
hypothesis.settings.register_profile("imissive", deadline=None)
hypothesis.settings.load_profile("imissive")

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")

# Each of the processes that run tests counts in a Redis database of its own: tests empty it.
_redis = urlsplit(settings.REDIS_URL)._replace(path=f"/{WORKER.removeprefix('gw')}").geturl()
os.environ["REDIS_URL"] = settings.REDIS_URL = settings.CACHES["default"]["LOCATION"] = _redis

# Argon2 as it is, but quick: what makes it dear to who guesses makes each test that signs in dear.
Argon2PasswordHasher.time_cost, Argon2PasswordHasher.memory_cost = 1, 8
Argon2PasswordHasher.parallelism = 1

REAL_DATABASE = str(settings.DATABASES["default"]["NAME"])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest goes first (`--no-loadscope-reorder`): nobody waits for it at the end."""
    places = {file: place for place, file in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.location[0], len(places)))
    for item in items:
        if (
            "site_of_all" in getattr(item, "fixturenames", [])
            and item.location[0] not in SITE_FILES
        ):
            raise pytest.UsageError(f"{item.location[0]} belongs into tests.scheduling.SITE_FILES")


def pytest_collection_finish() -> None:
    """What was imported and collected stays: the garbage collector need not look at it again, nor
    every 700 objects at what is new. A twelfth of the suite's CPU."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> BySite | None:
    return BySite(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def site_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The one platform of the tests that look at it from outside: a start takes 25 s of CPU."""
    site = Site(tmp_path_factory.mktemp("site"), WEBHOOK_TIMEOUT="2", WEB_WORKERS="2")
    try:
        site.start()
        site.remember()
        yield site
    finally:
        site.close()


@pytest.fixture(scope="module")
def site(site_of_all: Site) -> Iterator[Site]:
    """The running platform, as if it had just been started for this file."""
    site_of_all.reset()
    yield site_of_all
    print(site_of_all.text[-8000:])


@pytest.fixture(autouse=True)
def _fresh_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees another's routes and prices, which a process keeps for a second."""
    monkeypatch.setattr(tables, "_cached", None)


@pytest.fixture(scope="session", autouse=True)
def _patient_limits() -> None:
    """A request waits a quarter of a second for Redis. Two cores that run all this may need more,
    and a limit that is not known limits nothing: the client that is kept waits longer."""
    patience, limits.SOCKET_SECONDS = limits.SOCKET_SECONDS, 10.0
    limits._script(settings.REDIS_URL)
    limits.SOCKET_SECONDS = patience


@pytest.fixture(scope="session", autouse=True)
def _loggers_are_found_anew() -> None:
    """A logger that was used once would be kept, and nothing that captures logs would see it."""
    structlog.configure(cache_logger_on_first_use=False)


@pytest.fixture
def rings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, tuple[str, ...]]]:
    """The bells rung, as (task, queue, arguments), instead of ringing them."""
    rung: list[tuple[str, str, tuple[str, ...]]] = []
    monkeypatch.setattr(
        bell, "ring", lambda task, *, queue, arguments=(): rung.append((task, queue, arguments))
    )
    return rung


@pytest.fixture(scope="session")
def test_database(django_db_setup: None, django_db_blocker) -> Iterator[None]:
    """The test database, for tests that ask for no fixture of pytest-django's own.

    That makes it only where one of the collected tests has `db`; without, a run of nothing but
    committing tests would commit to the real one.
    """
    if connection.settings_dict["NAME"] != REAL_DATABASE:
        yield
        return
    with django_db_blocker.unblock():
        connection.creation.create_test_db(verbosity=0, autoclobber=True)
        yield
        connection.creation.destroy_test_db(REAL_DATABASE, verbosity=0)


@pytest.fixture
def committed_db(test_database: None, django_db_blocker) -> Iterator[None]:
    """The database without a transaction around the test, for threads: what it commits stays.

    pytest-django's `transaction=True` would truncate all tables, which the ledger refuses.
    """
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def world(db: None, rings: list[Any]) -> World:
    """Makes customers and carriers that are rolled back after the test."""
    return World()


@pytest.fixture
def committed_world(committed_db: None, rings: list[Any]) -> Iterator[World]:
    """Makes customers and carriers that other threads see."""
    made = World()
    yield made
    made.forget()


@pytest.fixture
def there(settings: Any) -> Iterator[Receiver]:
    """A webhook receiver on loopback, to which the platform may post."""
    settings.WEBHOOK_ALLOW_LOOPBACK = True
    with receiver() as made:
        yield made


@pytest.fixture
def start(committed_db: None) -> Iterator[Start]:
    """Starts webhook dispatchers, which see what is committed and are stopped after the test."""
    with dispatchers() as run:
        yield run


@pytest.fixture
def carrier(world: World) -> Carrier:
    """Serves Saudi Arabia, at one credit a part."""
    return world.serve()


@pytest.fixture
def customer(world: World, carrier: Carrier) -> Customer:
    """Has 100 credits and the approved sender MyCompany."""
    return world.customer()


@pytest.fixture
def outsider(world: World) -> Customer:
    """Another organization, with a sender of its own."""
    return world.customer(sender="Outsider")


@pytest.fixture
def api(customer: Customer) -> Api:
    """The customer's live key."""
    return customer.api


@pytest.fixture
def test_api(customer: Customer) -> Api:
    """The customer's test key."""
    return customer.test_api
