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
        file = StoredFile.objects.create(
            organization=organization,
            name=name.replace("\\", "/").rsplit("/", 1)[-1].replace("\0", "")[:200] or "file",
            content_type=content_type,
            size=0,
            expires_at=expires_at,
        )
        for position, data in enumerate(_pieces(content)):
            FileChunk.objects.create(file=file, position=position, data=data)
            file.size += len(data)
        file.save(update_fields=["size"])
    return file


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
