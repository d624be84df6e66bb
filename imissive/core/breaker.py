"""A circuit breaker: after a server failed, no request waits for it until it responds again."""

import threading
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

REST_SECONDS = 1.0
"""The pause between two pings of a server that failed."""
ALERT_SECONDS = 30.0


class Breaker:
    """A circuit breaker for a server, which logs failures at most every ALERT_SECONDS.

    After a failure, callers do without the server, and a thread pings it until it responds. So a
    server that hangs delays only the requests that were waiting for it when it stopped. `ping`
    raises while the server does not respond. `name` is what fails without the server: the log has
    `<name>_unavailable` with the effect `lost`, and `<name>_available` with the effect `restored`
    once the server responds again.
    """

    def __init__(self, name: str, ping: Callable[[], object], *, lost: str, restored: str) -> None:
        self._name, self._ping, self._lost, self._restored = name, ping, lost, restored
        self._guard = threading.Lock()
        self._failing = False
        self._alert_at = 0.0

    def lets_pass(self) -> bool:
        """Return whether this caller may use the server."""
        return not self._failing

    def failed(self, error: Exception) -> None:
        """Open the breaker because a request to the server failed."""
        with self._guard:
            now = time.monotonic()
            if not self._failing:
                self._failing = True
                threading.Thread(target=self._watch, name=self._name, daemon=True).start()
            alert = now >= self._alert_at
            if alert:
                self._alert_at = now + ALERT_SECONDS
        if alert:
            log.error(f"{self._name}_unavailable", error=str(error), effect=self._lost)

    def _watch(self) -> None:
        """Ping the server until it responds, and close the breaker."""
        while not self._responds():
            pass
        log.warning(f"{self._name}_available", effect=self._restored)
        with self._guard:
            self._failing = False

    def _responds(self) -> bool:
        time.sleep(REST_SECONDS)
        try:
            self._ping()
        except Exception:  # the log has the first error
            return False
        return True
