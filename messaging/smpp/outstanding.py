"""Requests of one side that wait for their responses, and the clock of their timeouts."""

from __future__ import annotations

from typing import Any, Final

from messaging.smpp.constants import MAX_SEQUENCE, RESPONSE_BIT, CommandId

MISSING: Final = object()
_GENERIC_NACK: Final = int(CommandId.GENERIC_NACK)


class Outstanding:
    """Contexts of pending requests by sequence number, each with its deadline.

    The clock stops while we do not read, because the responses may have arrived unread. All
    requests have the same timeout, so the dict's order is also the order of their deadlines.
    """

    __slots__ = ("_entries", "_paused_since", "_paused_total", "_sequence", "_timeout")

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout  # seconds
        # command_id of the response, context, deadline on the clock that can stop
        self._entries: dict[int, tuple[int, Any, float]] = {}
        self._sequence = 0
        self._paused_since: float | None = None
        self._paused_total = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def next_sequence(self) -> int:
        """Return the next free sequence number, 1 to 0x7FFFFFFF (SMPP 3.4, 5.1.4), for `add`."""
        sequence = self._sequence
        while True:
            sequence = sequence + 1 if sequence < MAX_SEQUENCE else 1
            if sequence not in self._entries:
                return sequence

    def skip(self, sequence: int) -> None:
        """Use a number for a request without a response."""
        self._sequence = sequence

    def add(self, sequence: int, command_id: int, context: Any, now: float) -> None:
        """Add a request of this command_id that has been sent."""
        if self._paused_since is not None:
            now = self._paused_since
        deadline = now - self._paused_total + self._timeout
        self._sequence = sequence
        self._entries[sequence] = (command_id | RESPONSE_BIT, context, deadline)

    def take(self, sequence: int, command_id: int) -> Any:
        """Remove and return the context of the request that a response belongs to, or MISSING."""
        entry = self._entries.get(sequence)
        if entry is None or (entry[0] != command_id and command_id != _GENERIC_NACK):
            return MISSING
        del self._entries[sequence]
        return entry[1]

    def take_expired(self, now: float) -> list[Any]:
        """Remove and return the contexts of the requests that have timed out."""
        expired: list[Any] = []
        if self._paused_since is not None:
            return expired
        now -= self._paused_total
        while self._entries:
            sequence, entry = next(iter(self._entries.items()))
            if entry[2] > now:
                break
            del self._entries[sequence]
            expired.append(entry[1])
        return expired

    def take_all(self) -> list[Any]:
        """Remove and return all contexts, oldest first."""
        contexts = [entry[1] for entry in self._entries.values()]
        self._entries.clear()
        return contexts

    def first_deadline(self) -> float | None:
        """Return the oldest deadline on the caller's clock; None if nothing can expire now."""
        if self._paused_since is not None or not self._entries:
            return None
        return next(iter(self._entries.values()))[2] + self._paused_total

    @property
    def paused(self) -> bool:
        """Return whether the clock is stopped."""
        return self._paused_since is not None

    def pause(self, now: float) -> None:
        """Stop the clock: we have stopped reading."""
        self._paused_since = now

    def resume(self, now: float) -> None:
        """Start the clock: we are reading again."""
        if self._paused_since is not None:
            self._paused_total += now - self._paused_since
            self._paused_since = None
