"""Writing of XLSX files, as a stream: what is a text stays a text, so that a phone number is shown
whole and nothing is a formula."""

import io
import re
import zipfile
from collections.abc import Generator, Iterable, Iterator
from decimal import Decimal
from typing import Final
from xml.sax.saxutils import escape

CONTENT_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
MAX_ROWS: Final = 1_000_000
"""Rows of a sheet; Excel shows 1,048,576. The rest goes on another sheet, under its heading."""
_MAX_CELL: Final = 32_767
_MAX_DIGITS: Final = 15
_ROWS_PER_PIECE: Final = 500

_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATED: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_SPREADSHEET: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
# Characters that XML cannot have or changes, and what would be read as one of them.
_UNWRITABLE: Final = re.compile("[\0-\x08\x0b-\x1f\ufffe\uffff\ud800-\udfff]|_(?=x[0-9A-Fa-f]{4}_)")
_STYLES: Final = (
    f'{_DECLARATION}<styleSheet xmlns="{_MAIN}">'
    '<fonts count="1"><font><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill>'
    '<fill><patternFill patternType="gray125"/></fill></fills>'
    '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="2"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    # 49 is the format of text: a number that is typed into such a cell stays as it is typed.
    '<xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    '</cellXfs><cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles>'
    "</styleSheet>"
)


class _Pieces(io.RawIOBase):
    """What the archive is written to: it is taken away piece by piece."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        self._held += data
        return len(data)

    def take(self) -> bytes:
        """Return what was written since the last time."""
        held, self._held = bytes(self._held), bytearray()
        return held


def xlsx_pieces(rows: Iterable[Iterable[object]]) -> Iterator[bytes]:
    """Yield a workbook with these rows; the first is the heading."""
    out = _Pieces()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        source = iter(rows)
        heading = next(source, ())
        sheets, more = 0, True
        while more:
            sheets += 1
            more = yield from _sheet(archive, out, sheets, _row(heading), source)
        for name, text in _frame(sheets):
            archive.writestr(name, text)
    yield out.take()


def _sheet(
    archive: zipfile.ZipFile,
    out: _Pieces,
    number: int,
    heading: str,
    source: Iterator[Iterable[object]],
) -> Generator[bytes, None, bool]:
    """Write a sheet, and return whether there may be rows that it has no place for."""
    with archive.open(f"xl/worksheets/sheet{number}.xml", "w", force_zip64=True) as part:
        part.write(f'{_DECLARATION}<worksheet xmlns="{_MAIN}"><sheetData>{heading}'.encode())
        count, held = 1, list[str]()
        for row in source:
            held.append(_row(row))
            count += 1
            if len(held) == _ROWS_PER_PIECE:
                part.write("".join(held).encode())
                held.clear()
                yield out.take()
            if count == MAX_ROWS:
                break
        part.write(("".join(held) + "</sheetData></worksheet>").encode())
    return count == MAX_ROWS


def _row(values: Iterable[object]) -> str:
    return f"<row>{''.join(map(_cell, values))}</row>"


def _cell(value: object) -> str:
    if value is None or value == "":
        return "<c/>"
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        text = f"{value:f}" if isinstance(value, Decimal) else str(value)
        # Excel keeps fifteen digits of a number.
        if sum(each.isdigit() for each in text) <= _MAX_DIGITS:
            return f"<c><v>{text}</v></c>"
    text = _UNWRITABLE.sub(lambda found: f"_x{ord(found[0]):04X}_", str(value))[:_MAX_CELL]
    return f'<c s="1" t="inlineStr"><is><t xml:space="preserve">{escape(text)}</t></is></c>'


def _frame(sheets: int) -> Iterator[tuple[str, str]]:
    """Yield the other parts of a workbook with so many sheets."""
    numbers = range(1, sheets + 1)
    types = "".join(
        f'<Override PartName="/xl/worksheets/sheet{each}.xml"'
        f' ContentType="{_SPREADSHEET}.worksheet+xml"/>'
        for each in numbers
    )
    yield (
        "[Content_Types].xml",
        f'{_DECLARATION}<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels"'
        ' ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_SPREADSHEET}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{_SPREADSHEET}.styles+xml"/>'
        f"{types}</Types>",
    )
    yield "_rels/.rels", _relations([("rId1", "officeDocument", "xl/workbook.xml")])
    yield (
        "xl/workbook.xml",
        f'{_DECLARATION}<workbook xmlns="{_MAIN}" xmlns:r="{_RELATED}"><sheets>'
        + "".join(f'<sheet name="{each}" sheetId="{each}" r:id="rId{each}"/>' for each in numbers)
        + "</sheets></workbook>",
    )
    parts = [(f"rId{each}", "worksheet", f"worksheets/sheet{each}.xml") for each in numbers]
    styles = (f"rId{sheets + 1}", "styles", "styles.xml")
    yield "xl/_rels/workbook.xml.rels", _relations([*parts, styles])
    yield "xl/styles.xml", _STYLES


def _relations(found: Iterable[tuple[str, str, str]]) -> str:
    listed = "".join(
        f'<Relationship Id="{name}" Type="{_RELATED}/{kind}" Target="{target}"/>'
        for name, kind, target in found
    )
    return f'{_DECLARATION}<Relationships xmlns="{_PACKAGE}/relationships">{listed}</Relationships>'
