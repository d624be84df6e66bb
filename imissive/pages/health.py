"""Health checks and metrics: liveness `/healthz`, readiness `/readyz`, Prometheus `/metrics`."""

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
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from imissive.celery import app
from imissive.core import clock
from imissive.core.ids import first_id_at
from imissive.core.sql import Fault, fault_of, forget_broken_connections
from messaging.carriers import bind_status, unused_receipts
from messaging.models import Carrier, Message
from webhooks.models import Delivery

log = structlog.get_logger(__name__)

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
BROKER_TIMEOUT_SECONDS = 2
_FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP")


class ProbeMiddleware:
    """Respond to probes before any other middleware.

    Orchestrators call an IP address over plain HTTP, so neither ALLOWED_HOSTS nor the redirect to
    HTTPS may apply, and a probe needs no session.
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
    """Respond 200 while the process is alive.

    Nothing else is checked, so that a lost database does not restart the process.
    """
    return JsonResponse({"status": "ok"})


class Readiness:
    """Checks repeatedly that what the platform needs is available, while somebody asks.

    Each check has a thread of its own, so that one that hangs delays neither the others nor the
    probe. A check without a result for STALE_SECONDS counts as missing.
    """

    EVERY_SECONDS, MISSING_SECONDS, STALE_SECONDS = 1.0, 0.25, 4.0
    """The pause after a check that found it and one that did not; the age of a valid result."""
    FIRST_SECONDS = 1.0
    """How long the first probe waits for the first results."""
    ASKED_SECONDS = 60.0
    """How long the checks go on after the last probe."""

    def __init__(self, checks: Mapping[str, Callable[[], bool]]) -> None:
        self._checks = checks
        self._found: dict[str, tuple[bool, float]] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._asked_at = float("-inf")
        self._changed = threading.Condition()

    def missing(self) -> list[str]:
        """Return the names of what is missing, according to the latest results."""
        with self._changed:
            idle = self._asked_at < time.monotonic() - self.ASKED_SECONDS
            self._asked_at = time.monotonic()
            for name in self._checks.keys() - self._threads.keys():
                thread = threading.Thread(target=self._keep_looking, args=[name], name="probe")
                thread.daemon = True
                self._threads[name] = thread
                thread.start()
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
        """Do one check and return whether it found what it looked for; log an error."""
        try:
            return self._checks[name]()
        except Exception as error:  # any failure means that it is not available
            log.warning("not_ready", what=name, error=type(error).__name__)
            if fault_of(error) is Fault.DATABASE:
                forget_broken_connections(error)
            return False

    def _keep_looking(self, name: str) -> None:
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
    """Respond 200 if the database, the broker and a carrier bind are available, otherwise 503.

    The body lists those that are missing, according to the checks in the background.
    """
    missing = readiness.missing()
    body = {"status": "not ready" if missing else "ready", "missing": missing}
    response = JsonResponse(body, status=503 if missing else 200)
    # Django would log an error for each probe. The log already has what is missing.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def has_database() -> bool:
    """Return whether the database responds and is writable."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('transaction_read_only') = 'off'")
        writable: bool = cursor.fetchone()[0]
    if not writable:
        log.warning("not_ready", what="database", error="it is read-only")
    return writable


def has_broker() -> bool:
    """Return whether Celery's broker accepts a connection in time."""
    timeouts = {
        "socket_timeout": BROKER_TIMEOUT_SECONDS,
        "socket_connect_timeout": BROKER_TIMEOUT_SECONDS,
        "retry_on_timeout": False,
    }
    options = {} if settings.BROKER.is_amqp else settings.CELERY_BROKER_TRANSPORT_OPTIONS | timeouts
    with app.connection_for_write(
        connect_timeout=BROKER_TIMEOUT_SECONDS, transport_options=options
    ) as broker:
        broker.ensure_connection(max_retries=1, interval_start=0, timeout=BROKER_TIMEOUT_SECONDS)
    return True


def has_bind() -> bool:
    """Return whether at least one carrier bind is up, according to its latest heartbeat."""
    return bind_status.bound().exists()


readiness = Readiness({"database": has_database, "broker": has_broker, "carrier": has_bind})


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Respond with metrics in Prometheus' text format, or with 404 where they are not allowed."""
    if not may_read_metrics(request):
        return HttpResponse(status=404)
    registry = CollectorRegistry()
    registry.register(DatabaseCollector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def may_read_metrics(request: HttpRequest) -> bool:
    """Return whether the request may read the metrics.

    With METRICS_TOKEN set it needs that bearer token. Without, it must come from loopback, and not
    through a proxy there.
    """
    if settings.METRICS_TOKEN is not None:
        given = request.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {settings.METRICS_TOKEN}".encode())
    if any(name in request.META for name in (*_FORWARDED, settings.CLIENT_ADDRESS_META)):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


class DatabaseCollector(Collector):
    """Gauges read from the database at each scrape, so that every web process reports the same."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges: messages by status, queues and binds by carrier, webhook deliveries."""
        yield _gauge(
            "imissive_messages_last_hour",
            "Messages accepted within the last hour, by their status now.",
            "status",
            Message.objects.filter(id__gte=first_id_at(clock.now() - timedelta(hours=1)))
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
        unused = GaugeMetricFamily(
            "imissive_unused_receipts_last_hour",
            "Receipts of the last hour that were not used, by carrier and reason.",
            labels=["carrier", "reason"],
        )
        for slug, reason, count in unused_receipts.last_hour():
            unused.add_metric([slug, reason], count)
        yield unused
        pending = Delivery.objects.filter(status__in=["pending", "sending"]).count()
        yield GaugeMetricFamily(
            "imissive_clock_offset_seconds",
            "Seconds by which the clock of the responding web process is behind the database's.",
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
