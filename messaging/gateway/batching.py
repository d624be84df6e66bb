"""Batching of one account's submits: those that arrive during a commit share the next one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
AT_MOST: Final = 500
"""Items in one batch."""


class Batcher(Generic[T]):
    """A queue that passes its items to `work` in order, one batch after the other.

    `work` must not raise. No item waits for a batch to fill: the first one is passed at once.
    """

    def __init__(self, work: Callable[[list[T]], Awaitable[None]]) -> None:
        self._work = work
        self._waiting: list[T] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Return whether no item is waiting or in progress."""
        return self._task is None

    def put(self, item: T) -> None:
        """Add an item to the next batch."""
        self._waiting.append(item)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._waiting:
                # Items from the same read of a connection join this batch.
                await asyncio.sleep(0)
                batch, self._waiting = self._waiting[:AT_MOST], self._waiting[AT_MOST:]
                await self._work(batch)
        finally:
            self._task = None
