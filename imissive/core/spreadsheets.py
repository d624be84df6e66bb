"""CSV files for spreadsheets, with protection against CSV (formula) injection."""

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator

from django.http import HttpRequest, StreamingHttpResponse
from django.utils.http import content_disposition_header

from imissive.core.workbook_writer import CONTENT_TYPE, xlsx_pieces

BYTE_ORDER_MARK = "\ufeff"
"""Without it, Excel reads a file in the machine's own encoding, and Arabic is garbled."""

_FORMULA = re.compile("'* *[=+\\-@\t\r\n＝＋－＠]")
_ESCAPED = re.compile("'+ *[=+\\-@\t\r\n＝＋－＠]")
_NUMBERS = "0123456789., "
_ROWS_PER_CHUNK = 500


def safe_cell(value: object) -> str:
    """Return the cell's text, with an apostrophe before it if it would be a formula (OWASP).

    Phone numbers (+9665…, +966 50 …) and plain numbers (-1.5) stay as they are: they evaluate to
    themselves, or to nothing. Another apostrophe is added before an existing one, so that
    `original_cell` can distinguish them.
    """
    text = "" if value is None else str(value)
    # Where the list separator is a semicolon, a spreadsheet splits a cell there too.
    return ";".join(_safe(piece) for piece in text.split(";"))


def _safe(text: str) -> str:
    """Return what stands between two semicolons of a cell, safe."""
    if not _FORMULA.match(text):
        return text
    if text[0] in "+-" and len(text) > 1 and all(each in _NUMBERS for each in text[1:]):
        return text
    return "'" + text


def original_cell(text: str) -> str:
    """Return the text of a cell as it was before `safe_cell`."""
    pieces = text.split(";")
    return ";".join(piece[1:] if _ESCAPED.match(piece) else piece for piece in pieces)


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


def csv_rows(pieces: Iterable[bytes]) -> Iterator[list[str]]:
    """Yield the rows of a file that `csv_lines` wrote, with the values that were written."""
    for row in csv.reader(_lines(pieces)):
        yield [original_cell(cell) for cell in row]


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + decoder.decode(piece)).split("\n")
        for line in whole:
            yield line + "\n"
    if rest:
        yield rest


def wants_workbook(request: HttpRequest) -> bool:
    """Return whether a download is asked for as XLSX rather than as CSV."""
    return "xlsx" in (request.GET.get("format"), request.POST.get("format"))


def download(
    request: HttpRequest, stem: str, rows: Iterable[Iterable[object]]
) -> StreamingHttpResponse:
    """Return a streaming response that the browser saves as a file of the format asked for."""
    if wants_workbook(request):
        return _attachment(f"{stem}.xlsx", CONTENT_TYPE, xlsx_pieces(rows))
    return _attachment(f"{stem}.csv", "text/csv; charset=utf-8", csv_lines(rows))


def _attachment(name: str, content_type: str, content: Iterable[bytes]) -> StreamingHttpResponse:
    response = StreamingHttpResponse(content, content_type=content_type)
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-store"
    return response
