"""The requests of one side that wait for their answers, and the clock that they wait on."""

from __future__ import annotations

from typing import Any, Final

from messaging.smpp.constants import MAX_SEQUENCE, RESPONSE_BIT, CommandId

MISSING: Final = object()
_GENERIC_NACK: Final = int(CommandId.GENERIC_NACK)


class Outstanding:
    """Contexts by sequence number, each with its deadline.

    The clock stands still while we do not read, for the answers may lie there unread. All
    requests wait equally long, so the dict's order is also the order of their deadlines.
    """

    __slots__ = ("_entries", "_paused_since", "_paused_total", "_sequence", "_timeout")

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout  # seconds
        # command_id of the response, context, deadline on the clock that stands still
        self._entries: dict[int, tuple[int, Any, float]] = {}
        self._sequence = 0
        self._paused_since: float | None = None
        self._paused_total = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def next_sequence(self) -> int:
        """The next free sequence number, 1 to 0x7FFFFFFF (SMPP 3.4, 5.1.4); `add` takes it."""
        sequence = self._sequence
        while True:
            sequence = sequence + 1 if sequence < MAX_SEQUENCE else 1
            if sequence not in self._entries:
                return sequence

    def skip(self, sequence: int) -> None:
        """Use a number up for a request that has no answer."""
        self._sequence = sequence

    def add(self, sequence: int, command_id: int, context: Any, now: float) -> None:
        """A request of this command_id has been sent."""
        if self._paused_since is not None:
            now = self._paused_since
        deadline = now - self._paused_total + self._timeout
        self._sequence = sequence
        self._entries[sequence] = (command_id | RESPONSE_BIT, context, deadline)

    def take(self, sequence: int, command_id: int) -> Any:
        """The context that a response of this command_id answers, or MISSING."""
        entry = self._entries.get(sequence)
        if entry is None or (entry[0] != command_id and command_id != _GENERIC_NACK):
            return MISSING
        del self._entries[sequence]
        return entry[1]

    def take_expired(self, now: float) -> list[Any]:
        """The contexts that have waited for too long."""
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
        """All contexts, oldest first."""
        contexts = [entry[1] for entry in self._entries.values()]
        self._entries.clear()
        return contexts

    def first_deadline(self) -> float | None:
        """Return when the oldest expires, on the caller's clock; None if nothing can expire now."""
        if self._paused_since is not None or not self._entries:
            return None
        return next(iter(self._entries.values()))[2] + self._paused_total

    @property
    def paused(self) -> bool:
        """Return whether the clock stands still."""
        return self._paused_since is not None

    def pause(self, now: float) -> None:
        """Reading has stopped."""
        self._paused_since = now

    def resume(self, now: float) -> None:
        """Reading goes on."""
        if self._paused_since is not None:
            self._paused_total += now - self._paused_since
            self._paused_since = None
