"""CSV for spreadsheets, safely: what a stranger wrote must not become a formula."""

import csv
import io
from collections.abc import Iterable, Iterator

from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

BYTE_ORDER_MARK = "\ufeff"
"""Excel takes a file without it for the machine's own encoding, and Arabic for noise."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_NUMBERS = "0123456789.,"
_ROWS_A_PIECE = 500


def safe_cell(value: object) -> str:
    """The cell's text; where a spreadsheet would compute it, behind an apostrophe (OWASP).

    Phone numbers (+9665…) and plain numbers (-1.5) are left: they compute to themselves.
    """
    text = "" if value is None else str(value)
    if not text.lstrip(" ").startswith(_FORMULA):
        return text
    if text[0] in "+-" and len(text) > 1 and all(each in _NUMBERS for each in text[1:]):
        return text
    return "'" + text


def csv_lines(rows: Iterable[Iterable[object]], *, marked: bool = True) -> Iterator[bytes]:
    """The rows as CSV in UTF-8 (RFC 4180), in pieces of some hundred.

    With a byte order mark, unless they are to follow others in a file.
    """
    buffer = io.StringIO()
    if marked:
        buffer.write(BYTE_ORDER_MARK)
    writer = csv.writer(buffer)
    for number, row in enumerate(rows, 1):
        writer.writerow([safe_cell(value) for value in row])
        if number % _ROWS_A_PIECE == 0:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def csv_download(name: str, rows: Iterable[Iterable[object]]) -> StreamingHttpResponse:
    """An answer that has the browser save the rows as a file, while they are read."""
    response = StreamingHttpResponse(csv_lines(rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-store"
    return response
