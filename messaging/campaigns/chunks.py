"""A campaign's checked rows, packed into chunks, because there may be 100,000.

Each chunk is written and read as a whole.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from messaging.models import Campaign, CampaignChunk

CHUNK = 1_000
"""The number of good rows in a chunk, and of messages accepted in one step."""


class Good(NamedTuple):
    """A valid row, one for each message: `line` in the file, `to` in E.164."""

    line: int
    to: str
    text: str
    reference: str


class Bad(NamedTuple):
    """A row that is not sent: its number as written, the problems.Kind, and a detail of it."""

    line: int
    written: str
    kind: str
    detail: str


def pack(rows: Sequence[tuple[Any, ...]]) -> bytes:
    return zlib.compress(orjson.dumps([tuple(row) for row in rows]), 1)


def unpack(data: bytes | memoryview) -> list[Any]:
    rows: list[Any] = orjson.loads(zlib.decompress(data))
    return rows


def good_rows(chunk: CampaignChunk) -> list[Good]:
    return [Good(*row) for row in unpack(chunk.rows)]


def bad_rows(chunk: CampaignChunk) -> list[Bad]:
    return [Bad(*row) for row in unpack(chunk.problems)]


def refused_rows(chunk: CampaignChunk) -> list[Bad]:
    return [Bad(*row) for row in chunk.refused]


def chunk_of(campaign: Campaign, number: int) -> CampaignChunk | None:
    return CampaignChunk.objects.filter(campaign=campaign, number=number).first()


def chunks_of(campaign: Campaign) -> Iterator[CampaignChunk]:
    """Yield all chunks in order, each by its own query."""
    number = 0
    while (chunk := chunk_of(campaign, number)) is not None:
        yield chunk
        number += 1
