"""Storage of organizations' files (uploads and exports) in the database, in chunks."""

import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import PurePath

from django.db import transaction
from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

from accounts.models import FileChunk, Organization, StoredFile
from imissive.core import clock
from imissive.core.spreadsheets import csv_rows
from imissive.core.workbook_writer import CONTENT_TYPE, xlsx_pieces

CHUNK_BYTES = 256 * 1024
"""Size of a chunk: small enough to hold several in memory, large enough to have few of them."""

PURGE_STEP = 20
"""Number of files that one step of `purge` deletes; each may have hundreds of chunks."""


def store(
    organization: Organization,
    *,
    name: str,
    content_type: str,
    content: Iterable[bytes],
    expires_at: datetime | None = None,
) -> StoredFile:
    """Store a file, all of it or nothing, and return its row.

    `content` yields bytes in pieces of any size, which are read one by one: a large file is never
    in memory as a whole. Folders are removed from `name`, which is cut to 200 characters. With
    `expires_at` the file is deleted some time after that.
    """
    with transaction.atomic():
        file = create_empty(
            organization, name=name, content_type=content_type, expires_at=expires_at
        )
        append(file, content)
    return file


def create_empty(
    organization: Organization, *, name: str, content_type: str, expires_at: datetime | None
) -> StoredFile:
    """Create an empty file for `append` to write to.

    The caller must prevent its download before it is complete. A file that is never completed is
    deleted after `expires_at` too.
    """
    return StoredFile.objects.create(
        organization=organization,
        name=name.replace("\\", "/").rsplit("/", 1)[-1].replace("\0", "")[:200] or "file",
        content_type=content_type,
        size=0,
        expires_at=expires_at,
    )


@transaction.atomic
def append(file: StoredFile, content: Iterable[bytes]) -> None:
    """Append the content to the file, all of it or nothing. One writer at a time."""
    positions = FileChunk.objects.filter(file=file).values_list("position", flat=True)
    last = positions.order_by("-position").first()
    first = 0 if last is None else last + 1
    for position, data in enumerate(_pieces(content), first):
        FileChunk.objects.create(file=file, position=position, data=data)
        file.size += len(data)
    file.save(update_fields=["size"])


def _pieces(content: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in chunks of CHUNK_BYTES, the last one shorter."""
    held = bytearray()
    for piece in content:
        held += piece
        while len(held) >= CHUNK_BYTES:
            yield bytes(held[:CHUNK_BYTES])
            del held[:CHUNK_BYTES]
    if held:
        yield bytes(held)


def file_of(organization: Organization, file_id: uuid.UUID) -> StoredFile | None:
    """Return the organization's file with that id; None if there is none or it has expired."""
    found = StoredFile.objects.filter(organization=organization, id=file_id).first()
    if found is None or (found.expires_at is not None and found.expires_at <= clock.now()):
        return None
    return found


def read(file: StoredFile) -> Iterator[bytes]:
    """Yield the file's chunks, each read by a query of its own."""
    position = 0
    while True:
        chunk = FileChunk.objects.filter(file=file, position=position).first()
        if chunk is None:
            return
        yield bytes(chunk.data)
        position += 1


def download(file: StoredFile, *, workbook: bool = False) -> StreamingHttpResponse:
    """Return a response that makes the browser save the file, never display or execute it.

    `workbook` turns a CSV file of ours into XLSX on the way.
    """
    if workbook:
        content, name = xlsx_pieces(csv_rows(read(file))), f"{PurePath(file.name).stem}.xlsx"
        response = StreamingHttpResponse(content, content_type=CONTENT_TYPE)
    else:
        name = file.name
        response = StreamingHttpResponse(read(file), content_type=file.content_type)
        response["Content-Length"] = str(file.size)
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cache-Control"] = "private, no-store"
    return response


def purge() -> int:
    """Delete up to PURGE_STEP expired files; return their number."""
    over = StoredFile.objects.filter(expires_at__lte=clock.now())
    gone = list(over.order_by("expires_at").values_list("id", flat=True)[:PURGE_STEP])
    StoredFile.objects.filter(id__in=gone).delete()
    return len(gone)
