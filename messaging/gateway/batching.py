"""Submits of one account gathered into batches: what comes during a commit shares the next one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
AT_MOST: Final = 500
"""Items in one batch."""


class Batcher(Generic[T]):
    """Hands over what was put into it, in order, a batch at a time and one batch after the other.

    `work` must not raise. Nobody waits for a batch to fill: the first item goes at once.
    """

    def __init__(self, work: Callable[[list[T]], Awaitable[None]]) -> None:
        self._work = work
        self._waiting: list[T] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Return whether nothing waits and nothing is under way."""
        return self._task is None

    def put(self, item: T) -> None:
        """Have the item done soon."""
        self._waiting.append(item)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._waiting:
                # What the same read of a connection brings comes along.
                await asyncio.sleep(0)
                batch, self._waiting = self._waiting[:AT_MOST], self._waiting[AT_MOST:]
                await self._work(batch)
        finally:
            self._task = None
