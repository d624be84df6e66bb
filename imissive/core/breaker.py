"""A circuit breaker: for a second after a server failed, requests do not wait for it."""

import threading
import time

import structlog

log = structlog.get_logger(__name__)

REST_SECONDS = 1.0
"""How long the breaker stays open after a failure."""
ALERT_SECONDS = 30.0


class Breaker:
    """A circuit breaker for a server, which logs failures at most every ALERT_SECONDS.

    After REST_SECONDS, one caller may try the server again; the others do without it until it has
    responded. So a server that hangs delays one request each second instead of all. `name` is what
    fails without the server: the log has `<name>_unavailable` with the effect `lost`, and
    `<name>_available` with the effect `restored` once the server responds again.
    """

    def __init__(self, name: str, *, lost: str, restored: str) -> None:
        self._name, self._lost, self._restored = name, lost, restored
        self._guard = threading.Lock()
        self._failing = False
        self._resting_until = 0.0
        self._alert_at = 0.0

    def lets_pass(self) -> bool:
        """Return whether this caller may try the server."""
        if not self._failing:
            return True
        with self._guard:
            now = time.monotonic()
            if now < self._resting_until:
                return False
            self._resting_until = now + REST_SECONDS
            return True

    def failed(self, error: Exception) -> None:
        """Open the breaker because a try failed."""
        with self._guard:
            now = time.monotonic()
            self._failing, self._resting_until = True, now + REST_SECONDS
            alert = now >= self._alert_at
            if alert:
                self._alert_at = now + ALERT_SECONDS
        if alert:
            log.error(f"{self._name}_unavailable", error=str(error), effect=self._lost)

    def succeeded(self) -> None:
        """Close the breaker because a try succeeded."""
        if self._failing:
            self._failing = False
            log.warning(f"{self._name}_available", effect=self._restored)
