"""Moved to `imissive.sql`."""

from imissive.sql import server_cursor

__all__ = ["server_cursor"]
