"""CSV files for spreadsheets, with protection against CSV (formula) injection."""

import csv
import io
from collections.abc import Iterable, Iterator

from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

BYTE_ORDER_MARK = "\ufeff"
"""Without it, Excel reads a file in the machine's own encoding, and Arabic is garbled."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_NUMBERS = "0123456789.,"
_ROWS_PER_CHUNK = 500


def safe_cell(value: object) -> str:
    """Return the cell's text, with an apostrophe before it where it would be a formula (OWASP).

    Phone numbers (+9665…) and plain numbers (-1.5) stay as they are: they evaluate to themselves.
    """
    text = "" if value is None else str(value)
    # Where the list separator is a semicolon, a spreadsheet splits a cell there too.
    return ";".join(_safe(piece) for piece in text.split(";"))


def _safe(text: str) -> str:
    if not text.lstrip(" ").startswith(_FORMULA):
        return text
    if text[0] in "+-" and len(text) > 1 and all(each in _NUMBERS for each in text[1:]):
        return text
    return "'" + text


def csv_lines(rows: Iterable[Iterable[object]], *, marked: bool = True) -> Iterator[bytes]:
    """Yield the rows as CSV in UTF-8 (RFC 4180), in chunks of _ROWS_PER_CHUNK rows.

    `marked` writes a byte order mark first; leave it out for rows that are appended to a file.
    """
    buffer = io.StringIO()
    if marked:
        buffer.write(BYTE_ORDER_MARK)
    writer = csv.writer(buffer)
    for number, row in enumerate(rows, 1):
        writer.writerow([safe_cell(value) for value in row])
        if number % _ROWS_PER_CHUNK == 0:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def csv_download(name: str, rows: Iterable[Iterable[object]]) -> StreamingHttpResponse:
    """Return a streaming response that the browser saves as a CSV file of that name."""
    response = StreamingHttpResponse(csv_lines(rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-store"
    return response
