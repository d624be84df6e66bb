"""Notifications of new pending receipts, sent at commit by PostgreSQL's NOTIFY."""

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
    """A listener that calls `on_receipts` with the account's id, or with None after a reconnect."""

    def __init__(self, on_receipts: Callable[[UUID | None], None]) -> None:
        self._on_receipts = on_receipts

    async def run(self) -> None:
        """Listen until canceled. While it is not connected, the server's polling finds receipts."""
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                log.warning("smpp_bells_lost", error=str(error).strip())
            await asyncio.sleep(PAUSE_SECONDS)

    async def _listen(self) -> None:
        async with await psycopg.AsyncConnection.connect(
            **own_parameters(), autocommit=True
        ) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            self._on_receipts(None)
            async for notify in connection.notifies():
                self._on_receipts(UUID(notify.payload))
