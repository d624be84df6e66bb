"""What machines ask: does the process live, can the platform do its work, and how is it doing."""

import hmac
import ipaddress
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import connection
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import resolve
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from imissive import clock
from imissive.celery import app
from imissive.ids import first_id_at
from imissive.sql import Fault, fault_of, forget_broken_connections
from messaging import bind_status
from messaging.models import Carrier, Message
from webhooks.models import Delivery

log = structlog.get_logger(__name__)

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
BROKER_SECONDS = 2
_FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP")


class ProbeMiddleware:
    """Answers probes before anything else does.

    Orchestrators ask by address and over plain HTTP, so neither ALLOWED_HOSTS nor a redirect to
    HTTPS may stand between; and a probe needs no session.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info not in PROBES:
            return self.get_response(request)
        match = resolve(request.path_info)
        response: HttpResponse = match.func(request, *match.args, **match.kwargs)
        response["Cache-Control"] = "no-store"
        return response


@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """The process lives. Nothing else is asked, so that a lost database restarts no process."""
    return JsonResponse({"status": "ok"})


class Readiness:
    """Looks again and again whether what the platform needs is there, while somebody asks.

    Each check has a thread of its own, so that one that hangs holds up neither the others nor who
    asks: a check that has not ended for STALE_SECONDS says that something is missing.
    """

    EVERY_SECONDS, MISSING_SECONDS, STALE_SECONDS = 1.0, 0.25, 4.0
    """How often it looks: at what is there, and at what is missing; and how long that is good."""
    FIRST_SECONDS = 1.0
    """How long the first who asks waits for the checks to end for the first time."""
    ASKED_SECONDS = 60.0
    """How long after somebody has asked it goes on looking."""

    def __init__(self, checks: Mapping[str, Callable[[], bool]]) -> None:
        self._checks = checks
        self._found: dict[str, tuple[bool, float]] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._asked_at = float("-inf")
        self._changed = threading.Condition()

    def missing(self) -> list[str]:
        """Return what is missing, by what is known now."""
        with self._changed:
            idle = self._asked_at < time.monotonic() - self.ASKED_SECONDS
            self._asked_at = time.monotonic()
            for name in self._checks.keys() - self._threads.keys():
                made = threading.Thread(target=self._look_on, args=[name], name="probe")
                made.daemon = True
                self._threads[name] = made
                made.start()
            if idle:
                self._changed.notify_all()
                self._changed.wait_for(self._all_fresh, self.FIRST_SECONDS)
            return [name for name in self._checks if not self._is_there(name)]

    def _all_fresh(self) -> bool:
        return all(self._is_fresh(name) for name in self._checks)

    def _is_fresh(self, name: str) -> bool:
        return self._found.get(name, (False, float("-inf")))[1] > (
            time.monotonic() - self.STALE_SECONDS
        )

    def _is_there(self, name: str) -> bool:
        return self._is_fresh(name) and self._found[name][0]

    def look(self, name: str) -> bool:
        """Do one check."""
        try:
            return self._checks[name]()
        except Exception as error:  # whatever it is, it is no answer
            log.warning("not_ready", what=name, error=type(error).__name__)
            if fault_of(error) is Fault.DATABASE:
                forget_broken_connections(error)
            return False

    def _look_on(self, name: str) -> None:
        while True:
            there = self.look(name)
            connection.close()
            with self._changed:
                self._found[name] = (there, time.monotonic())
                self._changed.notify_all()
            time.sleep(self.EVERY_SECONDS if there else self.MISSING_SECONDS)
            with self._changed:
                while self._asked_at < time.monotonic() - self.ASKED_SECONDS:
                    self._changed.wait()


@require_safe
def readyz(_request: HttpRequest) -> HttpResponse:
    """Database, broker and a carrier bind are there, or which of them is not."""
    missing = readiness.missing()
    body = {"status": "not ready" if missing else "ready", "missing": missing}
    response = JsonResponse(body, status=503 if missing else 200)
    # Django would write an error for each probe. What is missing is in the log already.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def has_database() -> bool:
    """Return whether the database answers and can be written to."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('transaction_read_only') = 'off'")
        writable: bool = cursor.fetchone()[0]
    if not writable:
        log.warning("not_ready", what="database", error="it is read-only")
    return writable


def has_broker() -> bool:
    """Return whether Celery's broker takes a connection."""
    waits = {"socket_timeout": BROKER_SECONDS, "socket_connect_timeout": BROKER_SECONDS}
    options = settings.CELERY_BROKER_TRANSPORT_OPTIONS | waits | {"retry_on_timeout": False}
    if settings.BROKER.is_amqp:
        options = {}
    with app.connection_for_write(
        connect_timeout=BROKER_SECONDS, transport_options=options
    ) as broker:
        broker.ensure_connection(max_retries=1, interval_start=0, timeout=BROKER_SECONDS)
    return True


def has_bind() -> bool:
    """Return whether at least one carrier bind is up and was so a moment ago."""
    return bind_status.bound().exists()


readiness = Readiness({"database": has_database, "broker": has_broker, "carrier": has_bind})


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format, for those who may read it; for others there is no such page."""
    if not may_read_metrics(request):
        return HttpResponse(status=404)
    registry = CollectorRegistry()
    registry.register(DatabaseCollector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def may_read_metrics(request: HttpRequest) -> bool:
    """With METRICS_TOKEN set: who bears it. Without: loopback, but not through a proxy on it."""
    if settings.METRICS_TOKEN is not None:
        given = request.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {settings.METRICS_TOKEN}".encode())
    if any(name in request.META for name in _FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


class DatabaseCollector(Collector):
    """Gauges read from the database at each scrape: right whichever web process is asked."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield _gauge(
            "imissive_messages_last_hour",
            "Messages accepted within the last hour, by their status now.",
            "status",
            Message.objects.filter(id__gte=first_id_at(timezone.now() - timedelta(hours=1)))
            .values_list("status")
            .annotate(Count("id"))
            .order_by(),
        )
        slugs = dict(Carrier.objects.values_list("id", "slug"))
        queued = dict(
            Message.objects.filter(status="queued")
            .values_list("carrier_id")
            .annotate(Count("id"))
            .order_by()
        )
        yield _gauge(
            "imissive_queued_messages",
            "Messages that wait to be submitted, by carrier.",
            "carrier",
            [(slug, queued.get(key, 0)) for key, slug in slugs.items()],
        )
        bound = dict(bind_status.bound().values_list("carrier_id").annotate(Count("id")).order_by())
        yield _gauge(
            "imissive_carrier_binds_bound",
            "Binds that are up, by carrier.",
            "carrier",
            [(slug, bound.get(key, 0)) for key, slug in slugs.items()],
        )
        pending = Delivery.objects.filter(status__in=["pending", "sending"]).count()
        yield GaugeMetricFamily(
            "imissive_clock_offset_seconds",
            "How far the clock of the web process that answers is behind the database's.",
            value=clock.offset(),
        )
        yield GaugeMetricFamily(
            "imissive_webhook_deliveries_pending",
            "Webhook deliveries that are not done, the ones under way included.",
            value=pending,
        )


def _gauge(
    name: str, help_text: str, label: str, rows: Iterable[tuple[str, int]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_text, labels=[label])
    for value, count in rows:
        family.add_metric([value], count)
    return family
