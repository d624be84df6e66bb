"""What a process remembers of a server that failed a moment ago, so as not to wait for it again."""

import threading
import time

import structlog

log = structlog.get_logger(__name__)

REST_SECONDS = 1.0
"""How long a server is left alone after it failed, so that not every request waits for it."""
ALERT_SECONDS = 30.0


class Breaker:
    """Remembers that a server failed a moment ago, and says so in the log now and then.

    After the rest one caller asks the server again; the others go on without it until it has
    answered, so that a server that hangs costs one request of a second its patience, not every one.
    `name` is what is then unavailable: the log says `<name>_unavailable` with the effect that
    `lost` names, and `<name>_available` with `restored` when the server answers again.
    """

    def __init__(self, name: str, *, lost: str, restored: str) -> None:
        self._name, self._lost, self._restored = name, lost, restored
        self._guard = threading.Lock()
        self._failing = False
        self._resting_until = 0.0
        self._alert_at = 0.0

    def lets_pass(self) -> bool:
        """Return whether this caller may ask the server."""
        if not self._failing:
            return True
        with self._guard:
            now = time.monotonic()
            if now < self._resting_until:
                return False
            self._resting_until = now + REST_SECONDS
            return True

    def failed(self, error: Exception) -> None:
        with self._guard:
            now = time.monotonic()
            self._failing, self._resting_until = True, now + REST_SECONDS
            alert = now >= self._alert_at
            if alert:
                self._alert_at = now + ALERT_SECONDS
        if alert:
            log.error(f"{self._name}_unavailable", error=str(error), effect=self._lost)

    def succeeded(self) -> None:
        if self._failing:
            self._failing = False
            log.warning(f"{self._name}_available", effect=self._restored)
