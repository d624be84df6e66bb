"""Health checks and metrics."""

import itertools
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from imissive.pages import health
from messaging.models import Carrier, CarrierBind, EarlyReceipt
from tests.support.platforms import until

# The host of a probe is the address by which the orchestrator calls the process.
client = Client(headers={"host": "10.1.2.3"})


@pytest.fixture(autouse=True)
def _looks_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check in the test's own transaction; the threads have tests of their own."""
    checks = ("database", "broker", "carrier")
    monkeypatch.setattr(
        health.readiness,
        "missing",
        lambda: [name for name in checks if not health.readiness.look(name)],
    )


@pytest.fixture
def carrier(db: None) -> Carrier:
    return Carrier.objects.create(slug="alpha", name="Alpha", host="smsc.example.com")


def bind(carrier: Carrier, state: str = "bound", *, age: float = 0, number: int = 0) -> CarrierBind:
    now = timezone.now()
    return CarrierBind.objects.create(
        carrier=carrier,
        worker="worker",
        number=number,
        mode="trx",
        state=state,
        since=now,
        updated_at=now - timedelta(seconds=age),
    )


def test_healthz_checks_nothing_else() -> None:
    """No `db` fixture: pytest-django fails a test that touches the database without it."""
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_only_read(path: str) -> None:
    assert client.post(path).status_code == 405


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_are_not_sent_to_https(path: str, carrier: Carrier, settings) -> None:
    settings.SECURE_SSL_REDIRECT = True
    bind(carrier)
    assert client.get(path).status_code == 200


def test_ready_with_database_broker_and_bind(carrier: Carrier) -> None:
    bind(carrier, "waiting", number=0)
    bind(carrier, "bound", number=1)
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ready", "missing": []})


@pytest.mark.parametrize(
    ("state", "age", "enabled"),
    [("waiting", 0, True), ("connecting", 0, True), ("bound", 20, True), ("bound", 0, False)],
)
def test_not_ready_without_a_fresh_bind(
    carrier: Carrier, state: str, age: float, enabled: bool
) -> None:
    bind(carrier, state, age=age)
    Carrier.objects.update(enabled=enabled)
    response = client.get("/readyz")
    assert (response.status_code, response.json()["missing"]) == (503, ["carrier"])


def test_not_ready_without_broker(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    bind(carrier)

    class Broken:
        def connection_for_write(self, **_: object) -> None:
            raise ConnectionRefusedError("amqp://user:hidden@host")

    monkeypatch.setattr(health, "app", Broken())
    response = client.get("/readyz")
    assert (response.status_code, response.json()["missing"]) == (503, ["broker"])
    assert "hidden" not in response.text


def test_not_ready_without_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise ConnectionError("password=hidden")

    monkeypatch.setattr(connection, "cursor", refuse)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["missing"] == ["database", "carrier"]
    assert "hidden" not in response.text


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"REMOTE_ADDR": "127.0.0.1"}, 200),
        ({"REMOTE_ADDR": "::1"}, 200),
        ({"REMOTE_ADDR": "10.0.0.9"}, 404),
        ({"REMOTE_ADDR": ""}, 404),
        # A proxy on this machine forwards requests from elsewhere.
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "203.0.113.7"}, 404),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_FORWARDED": "for=203.0.113.7"}, 404),
    ],
)
def test_metrics_without_token_are_for_loopback(
    db: None, given: dict[str, Any], status: int
) -> None:
    assert client.get("/metrics", **given).status_code == status


@pytest.mark.parametrize(
    ("authorization", "status"),
    [("Bearer right", 200), ("Bearer wrong", 404), ("right", 404), ("Bearer é", 404), ("", 404)],
)
def test_metrics_with_token_are_for_its_bearer(
    db: None, settings, authorization: str, status: int
) -> None:
    settings.METRICS_TOKEN = "right"
    response = client.get(
        "/metrics", REMOTE_ADDR="127.0.0.1", headers={"authorization": authorization}
    )
    assert response.status_code == status


def test_metrics_count_what_the_database_has(carrier: Carrier) -> None:
    bind(carrier, number=0)
    bind(carrier, number=1)
    bind(carrier, "waiting", number=2)
    response = client.get("/metrics", REMOTE_ADDR="127.0.0.1")
    assert response["Content-Type"].startswith("text/plain")
    lines = response.text.splitlines()
    assert 'imissive_carrier_binds_bound{carrier="alpha"} 2.0' in lines
    assert 'imissive_queued_messages{carrier="alpha"} 0.0' in lines
    assert "imissive_webhook_deliveries_pending 0.0" in lines


def test_metrics_count_receipts_that_are_not_used_by_reason(carrier: Carrier) -> None:
    def kept(reason: str, minutes: float) -> None:
        row = EarlyReceipt.objects.create(carrier=carrier, reason=reason)
        at = timezone.now() - timedelta(minutes=minutes)
        EarlyReceipt.objects.filter(pk=row.pk).update(received_at=at)

    for reason, minutes in (
        ("unknown_word", 0),
        ("unknown_word", 59),
        ("unknown_word", 61),
        ("unmatched", 1),
        ("unmatched", 0),  # its submit response may not be stored yet
    ):
        kept(reason, minutes)
    lines = client.get("/metrics", REMOTE_ADDR="127.0.0.1").text.splitlines()
    name = 'imissive_unused_receipts_last_hour{carrier="alpha",reason="%s"} %s'
    assert name % ("unknown_word", "2.0") in lines
    assert name % ("unmatched", "1.0") in lines
    assert name % ("data_sm", "0.0") in lines


# ---------------------------------------------------------------- the threads that check


class Quick(health.Readiness):
    EVERY_SECONDS, MISSING_SECONDS, STALE_SECONDS = 0.02, 0.02, 0.3
    FIRST_SECONDS, ASKED_SECONDS = 0.5, 0.4


def test_only_the_first_probe_waits_for_the_checks() -> None:
    looked = Quick({"good": lambda: True, "bad": lambda: False})
    assert looked.missing() == ["bad"]
    began = time.monotonic()
    assert looked.missing() == ["bad"]
    assert time.monotonic() - began < 0.1


def test_a_check_that_hangs_is_missing_and_delays_nobody() -> None:
    hanging, going_on = threading.Event(), threading.Event()
    going_on.set()

    def hangs() -> bool:
        hanging.set()
        return going_on.wait(30)

    looked = Quick({"database": hangs, "broker": lambda: True})
    assert looked.missing() == []
    going_on.clear()
    hanging.clear()
    assert hanging.wait(5)
    until(lambda: looked.missing() == ["database"], 5)
    began = time.monotonic()
    assert looked.missing() == ["database"]
    assert time.monotonic() - began < 0.2
    going_on.set()
    until(lambda: looked.missing() == [], 5)


def test_a_check_that_breaks_is_tried_again() -> None:
    results = iter([RuntimeError("broken"), False])

    def check() -> bool:
        result = next(results, True)
        if isinstance(result, Exception):
            raise result
        return bool(result)

    looked = Quick({"it": check})
    until(lambda: looked.missing() == [], 5)


def test_nobody_looks_while_nobody_asks() -> None:
    count = itertools.count()
    looked = Quick({"it": lambda: next(count) >= 0})
    looked.missing()
    time.sleep(Quick.ASKED_SECONDS + 0.3)
    before = next(count)
    time.sleep(0.3)
    assert next(count) == before + 1
    assert looked.missing() == []
    assert next(count) > before + 2
