"""Round robin over the links that one kind of request may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from messaging.smpp.link import Link


class Turns:
    """A round robin that skips links with a full window and links that may not send."""

    __slots__ = ("_turn",)

    def __init__(self) -> None:
        self._turn = 0

    def next(self, links: Sequence[Link], window: int, command_id: int) -> Link | None:
        """Return the next link with fewer than `window` pending requests, or None."""
        for _ in links:
            self._turn = turn = (self._turn + 1) % len(links)
            link = links[turn]
            if link.outstanding < window and link.may_send(command_id):
                return link
        return None
