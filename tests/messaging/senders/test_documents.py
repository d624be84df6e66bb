"""Valid documents, decided by their bytes, whatever their names. Pure."""

import struct
import time
import zlib
from collections.abc import Callable

import pytest

from messaging.senders.documents import NotADocument, document, kind_of
from tests.support.factories import PDF


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int = 2, height: int = 2, data: bytes | None = None, depth: int = 8, colour: int = 0
) -> bytes:
    """Return a grey picture, or one whose packed rows are `data`."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    rows = zlib.compress(bytes(height * (width + 1))) if data is None else data
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


PNG = png()
JPEG = (
    b"\xff\xd8\xff\xe0\x00\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
    + b"\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00"
    + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    + b"\x12\x34\x56\xff\xd9"
)
GIF = b"GIF89a\x01\0\x01\0\0\0\0;"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (PDF, "application/pdf"),
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (JPEG[:2] + b"\xff" + JPEG[2:], "image/jpeg"),
        (b"", None),
        (b"%PDF-", None),
        (b"%PDF-1.7 and then nothing", None),
        (b"%PDF-9.9" + PDF[8:], None),
        (b"<!doctype html>" + PDF, None),
        (PDF.replace(b"startxref", b"startxxxx"), None),
        (PNG[:-12], None),
        (PNG[:40], None),
        (PNG + b"<script>alert(1)</script>", None),
        (PNG.replace(b"IDAT", b"IDAX"), None),
        (png(data=b"not packed"), None),
        (png(data=zlib.compress(b"\0")), None),
        (png(data=zlib.compress(bytes(10_000_000))), None),
        (png(width=0), None),
        (png(width=2**31 - 1, height=2**31 - 1, data=b""), None),
        (JPEG[:-2], None),
        (JPEG[:12], None),
        (JPEG.replace(b"\xff\xc0", b"\xff\xe1"), None),
        (b"\xff\xd8\xff" + SVG, None),
        (GIF, None),
        (SVG, None),
        (b"MZ\x90\0", None),
        (b"PK\x03\x04", None),
    ],
)
def test_valid_documents(content: bytes, kind: str | None) -> None:
    assert kind_of(content) == kind


@pytest.mark.parametrize(
    ("name", "content", "kept"),
    [
        ("trade.pdf", PDF, "trade.pdf"),
        ("صورة.JPEG", JPEG, "صورة.JPEG"),
        ("photo.jpg", JPEG, "photo.jpg"),
        ("page.html", PNG, "page.html.png"),
        ("photo.png", PDF, "photo.png.pdf"),
        ("../../etc/passwd", PDF, "passwd.pdf"),
        ("C:\\papers\\cr.pdf", PDF, "cr.pdf"),
        ("", PDF, "document.pdf"),
        ("n" * 300, PDF, "n" * 190 + ".pdf"),
    ],
)
def test_the_name_gets_the_suffix_of_its_type(name: str, content: bytes, kept: str) -> None:
    assert document(name, content).name == kept


def test_other_files_are_refused() -> None:
    with pytest.raises(NotADocument):
        document("picture.png", SVG)


@pytest.mark.parametrize("colour", range(8))
@pytest.mark.parametrize("depth", [0, 1, 2, 3, 4, 8, 16, 32, 255])
def test_only_depths_that_the_colour_type_allows(colour: int, depth: int) -> None:
    allowed = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    rows = zlib.compress(bytes(2 * (1 + (2 * depth * samples + 7) // 8)))
    found = kind_of(png(data=rows, depth=depth, colour=colour))
    assert found == ("image/png" if depth in allowed.get(colour, ()) else None)


def test_a_large_picture_is_read_to_its_end() -> None:
    size = 3000 * (1 + 2000)
    noise = bytes(index * 7919 % 251 for index in range(4001)) * (size // 4001 + 1)
    assert kind_of(png(2000, 3000, zlib.compress(noise[:size]))) == "image/png"
    assert kind_of(png(2000, 3000, zlib.compress(noise[: size - 1]))) is None
    assert kind_of(png(2000, 3000, zlib.compress(noise[: size + 1]))) is None


def _bomb() -> bytes:
    """Return a PNG with a legal size whose data unpacks to a hundred times as much."""
    width, height = 6000, 8000
    return png(width, height, zlib.compress(bytes(height * (width + 1))))


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(_bomb, id="packed zeros"),
        pytest.param(
            lambda: png(9000, 9000, zlib.compress(bytes(60_000_000)), depth=255), id="depth 255"
        ),
        pytest.param(
            lambda: PNG[:33] + chunk(b"tEXt", b"") * 430_000 + PNG[33:], id="a PNG of empty chunks"
        ),
        pytest.param(lambda: b"\xff\xd8" + b"\xff" * 5_000_000, id="a JPEG of fill bytes"),
        pytest.param(
            lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 1_250_000, id="a JPEG of empty comments"
        ),
        pytest.param(lambda: b"%PDF-1.7" + b"%%EOF" * 1_000_000, id="a PDF of ends"),
    ],
)
def test_no_file_costs_more_than_its_size(make: Callable[[], bytes]) -> None:
    content = make()
    assert len(content) < 5.3 * 1024 * 1024
    before = time.process_time()
    kind_of(content)
    assert time.process_time() - before < 0.5
