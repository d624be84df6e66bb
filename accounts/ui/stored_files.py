"""Files of organizations, in the database in pieces: what is uploaded, and what is exported."""

import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime

from django.db import transaction
from django.http import StreamingHttpResponse
from django.utils import timezone
from django.utils.http import content_disposition_header

from accounts.models import FileChunk, Organization, StoredFile

CHUNK_BYTES = 256 * 1024
"""How large a piece is: small enough to hold some of in memory, large enough to be few."""

PURGE_STEP = 20
"""How many files one step of `purge` deletes; each may have hundreds of pieces."""


def store(
    organization: Organization,
    *,
    name: str,
    content_type: str,
    content: Iterable[bytes],
    expires_at: datetime | None = None,
) -> StoredFile:
    """Keep a file, all of it or nothing, and return its row.

    `content` is bytes in pieces of any size, which are read one after the other: a large file is
    never in memory as a whole. `name` loses its folders and is cut to 200 characters. With
    `expires_at` the file goes some time after that.
    """
    with transaction.atomic():
        file = begin(organization, name=name, content_type=content_type, expires_at=expires_at)
        append(file, content)
    return file


def begin(
    organization: Organization, *, name: str, content_type: str, expires_at: datetime | None
) -> StoredFile:
    """An empty file, for `append` to write. Whoever does so keeps it from being fetched before it
    is whole; `expires_at` is also when what was never finished goes."""
    return StoredFile.objects.create(
        organization=organization,
        name=name.replace("\\", "/").rsplit("/", 1)[-1].replace("\0", "")[:200] or "file",
        content_type=content_type,
        size=0,
        expires_at=expires_at,
    )


@transaction.atomic
def append(file: StoredFile, content: Iterable[bytes]) -> None:
    """Write that to the end of the file, all of it or nothing. One writer at a time."""
    positions = FileChunk.objects.filter(file=file).values_list("position", flat=True)
    last = positions.order_by("-position").first()
    first = 0 if last is None else last + 1
    for position, data in enumerate(_pieces(content), first):
        FileChunk.objects.create(file=file, position=position, data=data)
        file.size += len(data)
    file.save(update_fields=["size"])


def _pieces(content: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of CHUNK_BYTES, the last one shorter."""
    held = bytearray()
    for piece in content:
        held += piece
        while len(held) >= CHUNK_BYTES:
            yield bytes(held[:CHUNK_BYTES])
            del held[:CHUNK_BYTES]
    if held:
        yield bytes(held)


def file_of(organization: Organization, file_id: uuid.UUID) -> StoredFile | None:
    """The organization's file with that id, if it has one and it is kept still."""
    found = StoredFile.objects.filter(organization=organization, id=file_id).first()
    if found is None or (found.expires_at is not None and found.expires_at <= timezone.now()):
        return None
    return found


def read(file: StoredFile) -> Iterator[bytes]:
    """The file's bytes, piece by piece, each by a query of its own."""
    position = 0
    while True:
        chunk = FileChunk.objects.filter(file=file, position=position).first()
        if chunk is None:
            return
        yield bytes(chunk.data)
        position += 1


def download(file: StoredFile) -> StreamingHttpResponse:
    """An answer that has the browser save the file, whatever it is, and never show or run it."""
    response = StreamingHttpResponse(read(file), content_type=file.content_type)
    response["Content-Length"] = str(file.size)
    response["Content-Disposition"] = content_disposition_header(True, file.name) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cache-Control"] = "private, no-store"
    return response


def purge() -> int:
    """Delete files whose time is over, PURGE_STEP at most; how many."""
    over = StoredFile.objects.filter(expires_at__lte=timezone.now())
    gone = list(over.order_by("expires_at").values_list("id", flat=True)[:PURGE_STEP])
    StoredFile.objects.filter(id__in=gone).delete()
    return len(gone)
