"""Hears in the moment of their commit that receipts are owed: PostgreSQL's NOTIFY."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from uuid import UUID

import psycopg
import structlog

from imissive.core.sql import own_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger(__name__)

CHANNEL: Final = "smpp_receipts"
PAUSE_SECONDS: Final = 2.0


class Notifications:
    """Calls `rung` with the account's id for each; with None after a time without hearing."""

    def __init__(self, rung: Callable[[UUID | None], None]) -> None:
        self._notified = rung

    async def run(self) -> None:
        """Listen for ever. While the database is away, the server's own looking has to do."""
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                log.warning("smpp_bells_lost", error=str(error).strip())
            await asyncio.sleep(PAUSE_SECONDS)

    async def _listen(self) -> None:
        async with await psycopg.AsyncConnection.connect(
            **own_parameters(), autocommit=True
        ) as heard:
            await heard.execute(f"LISTEN {CHANNEL}")
            self._notified(None)
            async for notify in heard.notifies():
                self._notified(UUID(notify.payload))
