"""A tolerant CSV reader: any common encoding and delimiter, with a heading or without. Pure.

Rows are read from bytes in pieces, so that a large file is never in memory as a whole. Nothing in a
file stops the reading: the fault of a row is returned with the row and its line number.
"""

import codecs
import csv
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from imissive.core.spreadsheets import original_cell
from messaging.importing import encodings
from messaging.numbers.characters import plain

DELIMITERS: Final = (",", ";", "\t", "|", "،", "؛")
"""The delimiters of cells; the last two are the Arabic comma and semicolon."""

CELL_LINE_END: Final = "\u2028"
"""A line end within a cell of a workbook: one to Unicode, but not to CSV."""
MAX_CELL: Final = 4_000
MAX_CELLS: Final = 100
MAX_ROW: Final = 20_000
"""The maximum number of characters in a row; more means a quote that was never closed."""
_REREAD_AT_MOST: Final = 50
"""The number of open quotes up to which the lines within them are read again; see `_records`."""
_SAMPLE_ROWS: Final = 50
_HEAD: Final = 64 * 1024
# What makes a cell more than its text: protection from formulas, NUL, undecodable bytes.
_UNUSUAL: Final = re.compile("['\0\ufffd]")
_LINES: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


class Fault(StrEnum):
    """A fault of a row's format, whatever it contains."""

    QUOTE = "quote"  # a quote that is never closed
    LONG = "long"  # a cell or the row is too long
    MANY_CELLS = "many_cells"  # more than the heading: an unquoted delimiter within a cell
    FEW_CELLS = "few_cells"  # the missing ones are empty; some spreadsheets omit them
    ENCODING = "encoding"  # bytes that are invalid in that encoding
    NUL = "nul"

    @property
    def usable(self) -> bool:
        """Return whether the cells are reliable nevertheless."""
        return self is Fault.FEW_CELLS


@dataclass(frozen=True, slots=True)
class Shape:
    """The encoding and delimiter of a file, and whether it has a heading."""

    encoding: str = encodings.UTF_8
    delimiter: str = ","
    has_header: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """A row: the number of its first line, from 1, and as many cells as the first row has."""

    line: int
    cells: list[str]
    fault: Fault | None = None


class _Runaway(Exception):
    """A row has more lines than any valid row."""


def detect(pieces: Callable[[], Iterable[bytes]]) -> Shape:
    """Detect the shape of a file. `pieces` gives its bytes from the start each time."""
    encoding = encodings.detect(pieces())
    head = _head(pieces())
    text = head.decode(encoding, "replace").removeprefix("\ufeff")
    delimiter = _delimiter(text, complete=len(head) < _HEAD)
    shape = Shape(encoding, delimiter, has_header=False)
    first = [row.cells for row, _ in zip(rows([head], shape), range(_SAMPLE_ROWS), strict=False)]
    return Shape(encoding, delimiter, _has_header(first))


def columns(pieces: Iterable[bytes], shape: Shape) -> list[str]:
    """Return unique names of the columns, from the heading, or else `column1` and so on."""
    first = next(_records(pieces, shape), None)
    if first is None:
        return []
    names: list[str] = []
    for position, cell in enumerate(first.cells[:MAX_CELLS], 1):
        plain = " ".join(cell.split())[:60] if shape.has_header else ""
        name = plain = plain or f"column{position}"
        again = 2
        while name in names:
            name, again = f"{plain} {again}", again + 1
        names.append(name)
    return names


def rows(pieces: Iterable[bytes], shape: Shape) -> Iterator[Row]:
    """Yield the rows after the heading, if any. Empty rows are skipped, but count as lines."""
    width: int | None = None
    for row in _records(pieces, shape):
        if width is None:
            width = min(len(row.cells), MAX_CELLS)
            if shape.has_header:
                continue
        if any(cell.strip() for cell in row.cells) or row.fault:
            yield _fitted(row, width)


def _fitted(row: Row, width: int) -> Row:
    cells, fault = row.cells, row.fault
    if len(cells) > width:
        if fault is None and any(cell.strip() for cell in cells[width:]):
            fault = Fault.MANY_CELLS
        cells = cells[:width]
    elif len(cells) < width:
        fault = fault or Fault.FEW_CELLS
        cells = cells + [""] * (width - len(cells))
    return Row(row.line, cells, fault)


def _records(pieces: Iterable[bytes], shape: Shape) -> Iterator[Row]:
    """Yield every record that is not an empty line, the heading included.

    A quote that is never closed includes up to MAX_ROW characters of the following lines. They are
    read again, so that only the line with the quote is lost. With very many such quotes, that would
    read each line thousands of times, so the included lines are then read one by one.
    """
    source = _Lines(_lines(pieces, shape.encoding))
    reader = csv.reader(source, delimiter=shape.delimiter)
    open_quotes = 0
    while True:
        line = source.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (_Runaway, csv.Error):
            reader = csv.reader(source, delimiter=shape.delimiter)
            open_quotes += 1
            if open_quotes <= _REREAD_AT_MOST:
                yield Row(line, [""], _fault_of(source.held[0]))
                source.return_all_but_first()
            else:
                held, source.held = source.held, []
                for number, text in enumerate(held, line):
                    yield _single_row(number, text, shape.delimiter)
            continue
        held, source.held = source.held, []
        if not cells:
            continue
        if line == 1 and _names_its_delimiter(cells, shape.delimiter, held):
            source.number = 0  # spreadsheets do not display that line
            continue
        yield _checked(line, cells)


def _fault_of(line: str) -> Fault:
    return Fault.LONG if len(line) > MAX_ROW else Fault.QUOTE


def _single_row(number: int, text: str, delimiter: str) -> Row:
    """Return a line as a separate row, with a fault if it has an open quote."""
    try:
        return _checked(number, next(csv.reader(_single_line(text), delimiter=delimiter)))
    except (_Runaway, csv.Error):
        return Row(number, [""], _fault_of(text))


def _single_line(text: str) -> Iterator[str]:
    """Yield one line. A reader that needs another one is within a quote."""
    yield text
    raise _Runaway


def _checked(line: int, cells: list[str]) -> Row:
    whole = "".join(cells)
    if len(whole) <= MAX_CELL and not _UNUSUAL.search(whole):
        return Row(line, cells)
    fault = None
    cells = [original_cell(cell) if "'" in cell else cell for cell in cells]
    if any(len(cell) > MAX_CELL for cell in cells):
        cells, fault = [cell[:MAX_CELL] for cell in cells], Fault.LONG
    whole = "".join(cells)
    if "\0" in whole:
        cells, fault = [cell.replace("\0", "") for cell in cells], Fault.NUL
    elif "\ufffd" in whole:
        fault = Fault.ENCODING
    return Row(line, cells, fault)


def _names_its_delimiter(cells: list[str], delimiter: str, held: list[str]) -> bool:
    """Return whether it is the `sep=` line, which names the delimiter for Excel."""
    return held[0].strip().lower() == f"sep={delimiter}".strip() and len(cells) <= 2


class _Lines:
    """Lines for the csv module. `held` has those of the current record."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._returned: deque[str] = deque()
        self.held: list[str] = []
        self.number = 0
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if not self.held:
            self._size = 0
        line = self._returned.popleft() if self._returned else next(self._lines, None)
        if line is None:
            if self.held:
                raise _Runaway
            raise StopIteration
        self.number += 1
        self.held.append(line)
        self._size += len(line)
        if self._size > MAX_ROW:
            raise _Runaway
        return line

    def return_all_but_first(self) -> None:
        self._returned.extendleft(reversed(self.held[1:]))
        self.number -= len(self.held) - 1
        self.held = []


def _lines(pieces: Iterable[bytes], encoding: str) -> Iterator[str]:
    """Yield the lines with their ends: only CR, LF and CRLF, not Unicode's other line ends.

    The ends are unchanged, because they may be within a cell.
    """
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    rest, first = "", True
    for piece in _with_end(pieces):
        text = decoder.decode(piece or b"", piece is None)
        if first and text:
            text, first = text.removeprefix("\ufeff"), False
        rest += text
        # A carriage return at the end may be the first half of a CRLF.
        keep = "\r" if rest.endswith("\r") and piece is not None else ""
        parts = _with_ends(rest.removesuffix(keep))
        rest = (parts.pop() if parts and not parts[-1].endswith(("\r", "\n")) else "") + keep
        for part in parts:
            yield part if len(part) <= MAX_ROW else _bounded(part)
        if len(rest) > MAX_ROW:
            # An endless line is not buffered: its start is enough to refuse it.
            rest = rest[: MAX_ROW + 1] + keep
    if rest:
        yield _bounded(rest)


def _with_ends(text: str) -> list[str]:
    """Return the lines of a text with their ends, and the rest after the last end."""
    if "\r" in text:
        return _LINES.findall(text)
    parts = text.split("\n")
    last = parts.pop()
    return [*(part + "\n" for part in parts), last] if last else [part + "\n" for part in parts]


def _bounded(line: str) -> str:
    text = line.rstrip("\r\n")
    return text[: MAX_ROW + 1] + (line[len(text) :] or "\n")


def _with_end(pieces: Iterable[bytes]) -> Iterator[bytes | None]:
    yield from pieces
    yield None


def _head(pieces: Iterable[bytes]) -> bytes:
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= _HEAD:
            return head[:_HEAD]
    return head


def _delimiter(text: str, *, complete: bool) -> str:
    """Return the delimiter that gives the most, and equally many, cells in the rows."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not complete and len(lines) > 1:
        lines.pop()
    first = lines[0].strip(" ").lower()
    if first.startswith("sep=") and first[4:] in DELIMITERS:
        return first[4:]
    sample = [line + "\n" for line in lines if line.strip()][:_SAMPLE_ROWS]
    return max(DELIMITERS, key=lambda each: _evenness(sample, each))


def _evenness(sample: list[str], delimiter: str) -> tuple[float, int]:
    try:
        widths = Counter(len(cells) for cells in csv.reader(sample, delimiter=delimiter))
    except csv.Error:
        return (0.0, 0)
    if not widths:
        return (0.0, 0)
    width, times = widths.most_common(1)[0]
    return (times / widths.total(), width) if width > 1 else (0.0, 0)


def looks_like_number(cell: str) -> bool:
    """Return whether a cell may be a phone number: seven digits or more, and no letter."""
    typed = plain(cell)
    digits = sum(each.isdecimal() for each in typed)
    return 7 <= digits <= 20 and not any(each.isalpha() for each in typed.upper().replace("E", ""))


def _has_header(first: list[list[str]]) -> bool:
    """Return whether the first row is a heading.

    A heading has no numbers, and no empty or repeated cells unless later rows have numbers.
    """
    if not first:
        return True
    head, below = first[0], first[1:]
    if any(looks_like_number(cell) for cell in head):
        return False
    if any(looks_like_number(cell) for row in below for cell in row):
        return True
    filled = [cell.strip() for cell in head if cell.strip()]
    return len(set(filled)) == len(head)
