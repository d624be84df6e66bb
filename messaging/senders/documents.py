"""Documents that prove the right to a sender ID: checks of the files, and their storage.

The type of a file is decided by its bytes, not by its name or the type that the browser sends.
Images are read to the end, so that only a picture that a viewer would show is accepted. The time
for each received byte is bounded, whatever the bytes are.
"""

import re
import struct
import uuid
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from accounts.models import StoredFile
from accounts.ui import stored_files
from imissive.core.errors import ApiError
from messaging.models import SenderDocument, SenderId
from messaging.senders.reasons import SenderReason

MOST_DOCUMENTS: Final = 5
MAX_BYTES: Final = 5 * 1024 * 1024
_MOST_PIXELS: Final = 100_000_000
_MOST_UNPACKED: Final = 48 * 1024 * 1024
"""The most bytes of an unpacked picture: an A4 page in colour at 400 dpi has 44 MB."""
_MOST_PIECES: Final = 10_000
"""The most chunks of a PNG or segments of a JPEG: encoders write pieces of some kilobytes."""
_SUFFIXES: Final = {"application/pdf": ".pdf", "image/png": ".png", "image/jpeg": ".jpg"}


@dataclass(frozen=True, slots=True)
class Document:
    """A file whose content was verified to be of `content_type`."""

    name: str
    content_type: str
    content: bytes


class NotADocument(ValueError):
    """The file is not a valid PDF, PNG or JPEG."""


def document(name: str, content: bytes) -> Document:
    """Return the file with the type of its content, and with that type's suffix in its name.

    Raises NotADocument.
    """
    content_type = kind_of(content)
    if content_type is None:
        raise NotADocument(name)
    suffix = _SUFFIXES[content_type]
    path = PurePath(name.replace("\\", "/").rsplit("/", 1)[-1].replace("\0", "") or "document")
    usual = {suffix, ".jpeg"} if suffix == ".jpg" else {suffix}
    if path.suffix.lower() not in usual:
        path = PurePath(f"{path.name[:190]}{suffix}")
    return Document(path.name, content_type, content)


def kind_of(content: bytes) -> str | None:
    """Return the media type of a complete PDF, PNG or JPEG; None for anything else."""
    if content.startswith(b"%PDF-"):
        return "application/pdf" if _is_pdf(content) else None
    if content.startswith(_PNG):
        return "image/png" if _is_png(content) else None
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg" if _is_jpeg(content) else None
    return None


def _is_pdf(content: bytes) -> bool:
    """Return whether a version follows the signature, and the end has the xref table's offset."""
    tail = content[-2048:]
    end = tail.rfind(b"%%EOF")
    return content[5:8] in _PDF_VERSIONS and end >= 0 and b"startxref" in tail[:end]


_PDF_VERSIONS: Final = (b"1.0", b"1.1", b"1.2", b"1.3", b"1.4", b"1.5", b"1.6", b"1.7", b"2.0")
_PNG: Final = b"\x89PNG\r\n\x1a\n"
# Samples of each pixel, and the bit depths that are allowed, by the colour type (PNG 11.2.2).
_PNG_COLOURS: Final[dict[int, tuple[int, tuple[int, ...]]]] = {
    0: (1, (1, 2, 4, 8, 16)),
    2: (3, (8, 16)),
    3: (1, (1, 2, 4, 8)),
    4: (2, (8, 16)),
    6: (4, (8, 16)),
}
_SLICE: Final = 64 * 1024


def _is_png(content: bytes) -> bool:
    """Return whether every chunk from header to end has its checksum, and the data unpacks."""
    at, data, header = len(_PNG), [], b""
    for _ in range(_MOST_PIECES):
        if at + 12 > len(content):
            return False
        length, kind = struct.unpack_from(">I4s", content, at)
        body = content[at + 8 : at + 8 + length]
        checksum = content[at + 8 + length : at + 12 + length]
        if len(checksum) != 4 or zlib.crc32(kind + body) != int.from_bytes(checksum):
            return False
        if (kind == b"IHDR") != (not header):
            return False
        header = header or body
        if kind == b"IHDR" and _png_sizes(header) is None:
            return False
        if kind == b"IDAT":
            data.append(body)
        at += 12 + length
        if kind == b"IEND":
            return at == len(content) and _png_unpacks(header, b"".join(data))
    return False


def _png_sizes(header: bytes) -> tuple[int, int] | None:
    """Return how many bytes the picture has unpacked, at least and at most.

    None for a header that the specification does not allow, or a picture that is too large.
    """
    if len(header) != 13:
        return None
    width, height, depth, colour, packing, filtering, interlaced = struct.unpack(">IIBBBBB", header)
    samples, depths = _PNG_COLOURS.get(colour, (0, ()))
    if not width or not height or depth not in depths or packing or filtering or interlaced > 1:
        return None
    rows = height * (1 + (width * depth * samples + 7) // 8)
    if width * height > _MOST_PIXELS or rows > _MOST_UNPACKED:
        return None
    # An interlaced picture has a filter's byte for each row of seven smaller ones.
    return rows, rows * 2 + 64 if interlaced else rows


def _png_unpacks(header: bytes, data: bytes) -> bool:
    sizes = _png_sizes(header)
    if sizes is None:
        return False
    least, most = sizes
    unpacked, unpacker = 0, zlib.decompressobj()
    try:
        # In slices, because unconsumed input is copied each time and must stay small.
        for start in range(0, len(data), _SLICE):
            rest = data[start : start + _SLICE]
            while rest and not unpacker.eof:
                unpacked += len(unpacker.decompress(rest, _SLICE))
                rest = unpacker.unconsumed_tail
                if unpacked > most:
                    return False
        # All input is consumed, but the last call's limit may have held back some output.
        unpacked += len(unpacker.decompress(b"", _SLICE))
    except zlib.error:
        return False
    return unpacker.eof and least <= unpacked <= most


# Markers that start a frame (SOF0 to SOF15), without the three that mean something else.
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_FILL: Final = re.compile(rb"\xff+")


def _is_jpeg(content: bytes) -> bool:
    """Return whether segments lead to the scan, with a frame's size before it and an end marker."""
    at, framed = 2, False
    for _ in range(_MOST_PIECES):
        fill = _FILL.match(content, at)
        if fill is None:
            return False
        # Any number of fill bytes may precede a marker; the last one belongs to it.
        at = fill.end() - 1
        if at + 4 > len(content):
            return False
        _, kind, length = struct.unpack_from(">BBH", content, at)
        if length < 2 or at + 2 + length > len(content):
            return False
        if kind in _JPEG_FRAMES and length >= 8:
            height, width = struct.unpack_from(">HH", content, at + 5)
            framed = bool(width) and width * height <= _MOST_PIXELS
        at += 2 + length
        if kind == 0xDA:
            return framed and content.rfind(b"\xff\xd9") > at
    return False


def keep(
    sender: SenderId, documents: Sequence[Document], without: Collection[uuid.UUID] = ()
) -> None:
    """Store documents of a sender ID, after deleting those with the ids in `without`.

    Call it in a transaction. Raises ApiError INVALID_REQUEST where it would have too many.
    """
    # Deleting a file also deletes its document and its chunks.
    removed = SenderDocument.objects.filter(sender=sender, id__in=list(without))
    StoredFile.objects.filter(id__in=list(removed.values_list("file_id", flat=True))).delete()
    had = SenderDocument.objects.filter(sender=sender).count()
    if had + len(documents) > MOST_DOCUMENTS:
        raise ApiError(SenderReason.TOO_MANY_DOCUMENTS, "documents", most=MOST_DOCUMENTS)
    for each in documents:
        file = stored_files.store(
            sender.organization,
            name=each.name,
            content_type=each.content_type,
            content=[each.content],
        )
        SenderDocument.objects.create(sender=sender, file=file)


def documents_of(sender: SenderId) -> list[SenderDocument]:
    """Return the sender ID's documents in the order in which they were uploaded."""
    return list(SenderDocument.objects.filter(sender=sender).select_related("file").order_by("id"))
