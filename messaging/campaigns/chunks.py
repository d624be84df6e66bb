"""A campaign's rows as its check left them: packed some hundred together, since there may be
100,000 and they are written and read in one piece each."""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from messaging.models import Campaign, CampaignChunk

CHUNK = 1_000
"""Good rows of a chunk, and messages that are accepted in one step."""


class Good(NamedTuple):
    """A row that became a message, or is to: `line` in the file, `to` in E.164."""

    line: int
    to: str
    text: str
    reference: str


class Bad(NamedTuple):
    """A row that is not sent: the number as it is written there, a problems.Kind, and what it is
    about."""

    line: int
    written: str
    kind: str
    detail: str


def pack(rows: Sequence[tuple[Any, ...]]) -> bytes:
    return zlib.compress(orjson.dumps([tuple(row) for row in rows]), 1)


def unpack(data: bytes | memoryview) -> list[Any]:
    found: list[Any] = orjson.loads(zlib.decompress(data))
    return found


def good_rows(chunk: CampaignChunk) -> list[Good]:
    return [Good(*row) for row in unpack(chunk.rows)]


def bad_rows(chunk: CampaignChunk) -> list[Bad]:
    return [Bad(*row) for row in unpack(chunk.problems)]


def refused_rows(chunk: CampaignChunk) -> list[Bad]:
    return [Bad(*row) for row in chunk.refused]


def chunk_of(campaign: Campaign, number: int) -> CampaignChunk | None:
    return CampaignChunk.objects.filter(campaign=campaign, number=number).first()


def chunks_of(campaign: Campaign) -> Iterator[CampaignChunk]:
    """All of them in their order, each by a query of its own."""
    number = 0
    while (chunk := chunk_of(campaign, number)) is not None:
        yield chunk
        number += 1
