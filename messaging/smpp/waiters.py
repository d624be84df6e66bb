"""Tasks that wait for a change of a link."""

from __future__ import annotations

import asyncio


class Waiters:
    """Any number of waiting tasks; `wake` lets all of them check again."""

    __slots__ = ("_futures",)

    def __init__(self) -> None:
        self._futures: set[asyncio.Future[None]] = set()

    async def wait(self) -> None:
        """Wait for the next `wake`, and raise its error, if any."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._futures.add(future)
        try:
            await future
        finally:
            self._futures.discard(future)

    def wake(self, error: Exception | None = None) -> None:
        """Wake all, with an error if the link has ended."""
        for future in self._futures:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
        self._futures.clear()
