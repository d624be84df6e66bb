"""Several threads' small pieces of database work as one: who comes first works for all who wait.

Each accept locks its organization's balance until the commit. Many single sends of one organization
would so stand in a line, a commit each; combined, those that came meanwhile share the next commit.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Waiting(Generic[T]):
    item: T
    done: bool = False
    error: Exception | None = None


class GroupCommit(Generic[T]):
    """`work` does a batch of items, all or nothing, and raises for what none of them survived."""

    def __init__(
        self,
        work: Callable[[Sequence[T]], None],
        *,
        at_most: int,
        alone_on: type[Exception] | tuple[type[Exception], ...],
    ) -> None:
        self._work = work
        self._at_most = at_most
        self._alone_on = alone_on
        self._waiting: list[_Waiting[T]] = []
        self._guard = threading.Lock()
        self._leading = threading.Lock()

    def do(self, item: T) -> None:
        """Have the item done, by this thread or by another, before returning.

        Raises what `work` raised. Where that is one of `alone_on`, one of the batch may have
        spoilt it for the others: each is then done by itself.
        """
        mine = _Waiting(item)
        with self._guard:
            self._waiting.append(mine)
        with self._leading:
            # Nobody did it yet: take everybody's who waits, the longest first.
            while not mine.done:
                with self._guard:
                    batch = self._waiting[: self._at_most]
                    del self._waiting[: self._at_most]
                self._do(batch)
        if mine.error is not None:
            raise mine.error

    def _do(self, batch: Sequence[_Waiting[T]]) -> None:
        try:
            self._work([waiting.item for waiting in batch])
        except Exception as error:
            if len(batch) > 1 and isinstance(error, self._alone_on):
                for waiting in batch:
                    self._do([waiting])
                return
            for waiting in batch:
                waiting.error = error
        for waiting in batch:
            waiting.done = True
