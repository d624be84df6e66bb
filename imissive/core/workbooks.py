"""Reading of XLSX files that anybody may send: the first visible sheet, row by row.

A workbook is a ZIP archive of XML. Libraries read parts of it as a whole, or lay out an area as
wide and high as its farthest cell, so that a few kilobytes can take all memory (decision 122). Here
each part is read as a stream, and archive, bytes, elements, rows and columns are bounded.
"""

import posixpath
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import IO, Final
from xml.parsers import expat

MAX_UNPACKED: Final = 100 * 1024 * 1024
MAX_RATIO: Final = 60
"""Unpacked bytes for each byte of the file, at most; sheets of people have about ten."""
FREE: Final = 4 * 1024 * 1024
"""Unpacked bytes that any file may have, however well it is packed."""
MAX_PARTS: Final = 2_000
MAX_ELEMENTS: Final = 6_000_000
MAX_STRINGS: Final = 1_000_000
_MAX_TOKEN: Final = 1024 * 1024
_CHUNK: Final = 64 * 1024
_ENTRY: Final = b"PK\x01\x02"
_PACKINGS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ESCAPE: Final = re.compile("_x([0-9A-Fa-f]{4})_")


class Flaw(StrEnum):
    """Why a workbook cannot be used."""

    UNREADABLE = "unreadable"  # not a workbook, damaged, or with a password
    TOO_LARGE = "too_large"  # more of anything than a sheet of people has
    TOO_MANY_ROWS = "too_many_rows"


class UnusableWorkbook(Exception):
    """A workbook that cannot be read, or would cost too much."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw)
        self.flaw = flaw


@dataclass(frozen=True, slots=True)
class Limits:
    """The size of the sheet: rows and columns, characters of a cell and of all cells."""

    rows: int
    columns: int
    cell: int
    characters: int


def read_rows(file: IO[bytes], size: int, limits: Limits) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that have a value, with their numbers from 1. Raises UnusableWorkbook.

    `size`: the bytes of the file. Numbers are written in digits, exactly as they are stored; dates
    as 2026-01-15 or 2026-01-15 13:30. Columns after the last that is allowed are left out, and
    cells are cut one character after the longest that is allowed, so that the reader sees it.
    """
    try:
        yield from _read_rows(file, size, limits)
    except (
        zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, expat.ExpatError, EOFError, OSError,
        KeyError, ValueError, OverflowError, RuntimeError,
    ) as error:  # fmt: skip
        # What zipfile raises for damaged archives is not one type: RuntimeError is a password.
        raise UnusableWorkbook(Flaw.UNREADABLE) from error


def _read_rows(file: IO[bytes], size: int, limits: Limits) -> Iterator[tuple[int, list[str]]]:
    _check_parts(file)
    with zipfile.ZipFile(file) as archive:
        parts = _Parts(archive, size)
        main = parts.related("", "officedocument")
        book = _Book()
        parts.read(main, book)
        sheet = parts.targets(main).get(book.sheet or "")
        if sheet is None:
            raise UnusableWorkbook(Flaw.UNREADABLE)
        strings, styles = _Strings(limits.cell), _Styles()
        for kind, handler in (("sharedstrings", strings), ("styles", styles)):
            if part := parts.related(main, kind):
                parts.read(part, handler)
        cells = _Sheet(limits, strings.found, styles.formats(), book.epoch)
        for _ in parts.steps(sheet, cells):
            yield from cells.taken()


def _check_parts(file: IO[bytes]) -> None:
    """Refuse an archive of very many parts before zipfile makes an object of each."""
    file.seek(0)
    count, tail = 0, b""
    while piece := file.read(_CHUNK):
        piece = tail + piece
        count += piece.count(_ENTRY)
        tail = piece[-(len(_ENTRY) - 1) :]
        if count > MAX_PARTS:
            raise UnusableWorkbook(Flaw.TOO_LARGE)
    file.seek(0)


class _Handler:
    """What is done with the elements of a part; names come without their namespace."""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""

    def end(self, name: str) -> None:
        """An element ends."""

    def text(self, text: str) -> None:
        """Some text of an element, perhaps not all of it."""


class _Parts:
    """The parts of a workbook, and how much of all of them may still be read."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self._archive = archive
        self._bytes = min(MAX_UNPACKED, max(FREE, size * MAX_RATIO))
        self._elements = MAX_ELEMENTS
        self._names = {info.filename.lower().lstrip("/"): info for info in archive.infolist()}
        self._relations = dict[str, _Relations]()

    def targets(self, part: str) -> dict[str, str]:
        """Return the parts that this one refers to, by the id of the reference."""
        return self._of(part).by_id

    def related(self, part: str, kind: str) -> str:
        """Return the part of that kind that this one refers to; empty where there is none."""
        return self._of(part).by_kind.get(kind, "")

    def _of(self, part: str) -> "_Relations":
        if part not in self._relations:
            folder, name = posixpath.split(part)
            found = self._relations[part] = _Relations(folder)
            self.read(posixpath.join(folder, "_rels", f"{name}.rels"), found)
        return self._relations[part]

    def read(self, name: str, handler: _Handler) -> None:
        """Give all elements of a part to the handler."""
        for _ in self.steps(name, handler):
            pass

    def steps(self, name: str, handler: _Handler) -> Iterator[None]:
        """Give the elements of a part to the handler, some at each step."""
        info = self._names[name.lower()]
        if info.compress_type not in _PACKINGS:
            raise UnusableWorkbook(Flaw.UNREADABLE)
        parser = self._parser(handler)
        fed = 0
        with self._archive.open(info) as source:
            while piece := source.read(_CHUNK):
                fed += len(piece)
                self._bytes -= len(piece)
                if self._bytes < 0:
                    raise UnusableWorkbook(Flaw.TOO_LARGE)
                parser.Parse(piece)
                # A tag that does not end would be read from its start with each piece.
                if fed - max(parser.CurrentByteIndex, 0) > _MAX_TOKEN:
                    raise UnusableWorkbook(Flaw.TOO_LARGE)
                yield
            parser.Parse(b"", True)
            yield

    def _parser(self, handler: _Handler) -> expat.XMLParserType:
        parser = expat.ParserCreate()
        parser.buffer_text = True

        def start(name: str, attributes: dict[str, str]) -> None:
            self._elements -= 1
            if self._elements < 0:
                raise UnusableWorkbook(Flaw.TOO_LARGE)
            handler.start(name[name.find(":") + 1 :], attributes)

        parser.StartElementHandler = start
        parser.EndElementHandler = lambda name: handler.end(name[name.find(":") + 1 :])
        parser.CharacterDataHandler = handler.text
        # No workbook declares a document type; entities are what it would be for.
        parser.StartDoctypeDeclHandler = _refuse
        parser.EntityDeclHandler = _refuse
        return parser


def _refuse(*_arguments: object) -> None:
    raise UnusableWorkbook(Flaw.UNREADABLE)


class _Relations(_Handler):
    """The parts that a part refers to."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.by_id = dict[str, str]()
        self.by_kind = dict[str, str]()

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name != "Relationship" or attributes.get("TargetMode") == "External":
            return
        target = posixpath.normpath(posixpath.join("/", self._folder, attributes["Target"]))
        self.by_id[attributes["Id"]] = target.lstrip("/")
        kind = attributes["Type"].rpartition("/")[2].lower()
        self.by_kind.setdefault(kind, target.lstrip("/"))


class _Book(_Handler):
    """The reference to the first visible sheet, and the day that dates are counted from."""

    def __init__(self) -> None:
        self.sheet: str | None = None
        self.epoch = datetime(1899, 12, 30)

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "workbookPr" and attributes.get("date1904") in ("1", "true"):
            self.epoch = datetime(1904, 1, 1)
        elif name == "sheet" and attributes.get("state", "visible") == "visible":
            found = (value for key, value in attributes.items() if key.endswith(":id"))
            self.sheet = self.sheet or next(found, None)


class _Text(_Handler):
    """The text of elements `t`, without that of phonetic hints, up to a length."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._pieces: list[str] = []
        self._left = 0
        self._open = self._hint = False

    def begin(self) -> None:
        """Forget what was read, and read another text."""
        self._pieces.clear()
        self._left = self._longest + 1

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "rPh":
            self._hint = True
        elif name == "t":
            self._open = not self._hint

    def end(self, name: str) -> None:
        if name == "rPh":
            self._hint = False
        elif name == "t":
            self._open = False

    def text(self, text: str) -> None:
        if self._open and self._left > 0:
            self._pieces.append(text[: self._left])
            self._left -= len(text)

    def whole(self) -> str:
        """Return the text; `_x000D_` and the like stand for characters that XML cannot have."""
        text = "".join(self._pieces)
        if "_x" not in text:
            return text
        return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)


class _Strings(_Text):
    """The texts that cells refer to by their position."""

    def __init__(self, longest: int) -> None:
        super().__init__(longest)
        self.found: list[str] = []

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "si":
            self.begin()
        else:
            super().start(name, attributes)

    def end(self, name: str) -> None:
        if name != "si":
            super().end(name)
            return
        if len(self.found) == MAX_STRINGS:
            raise UnusableWorkbook(Flaw.TOO_LARGE)
        self.found.append(self.whole())


Format = Callable[[str, datetime], str]
"""Returns the text of a number as it is stored; the day that dates are counted from."""

# Formats that every workbook has without declaring them, by number: those of dates and times.
_BUILT_IN: Final = {
    **dict.fromkeys((14, 15, 16, 17, 22, *range(27, 32), 36, *range(50, 55), 57, 58), "yyyy-mm-dd"),
    **dict.fromkeys((18, 19, 20, 21, 32, 33, 34, 35, 45, 46, 47, 55, 56), "hh:mm"),
}
_QUOTED: Final = re.compile(r"\"[^\"]*\"|\\.|_.|\*.|\[(?![hms]+\])[^\]]*\]", re.IGNORECASE)


class _Styles(_Handler):
    """The formats of numbers, by the style of a cell."""

    def __init__(self) -> None:
        self._codes = dict[int, str](_BUILT_IN)
        self._of_style: list[int] = []
        self._in_cells = False

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "numFmt":
            self._codes[int(attributes["numFmtId"])] = attributes.get("formatCode", "")[:200]
        elif name == "cellXfs":
            self._in_cells = True
        elif name == "xf" and self._in_cells:
            self._of_style.append(int(attributes.get("numFmtId", "0")))

    def end(self, name: str) -> None:
        if name == "cellXfs":
            self._in_cells = False

    def formats(self) -> list[Format]:
        """Return how the numbers of each style are written."""
        known = {number: _format(code) for number, code in self._codes.items()}
        return [known.get(number, _plain) for number in self._of_style]


def _format(code: str) -> Format:
    if len(code) > 1 and not code.strip("0"):
        return lambda stored, _epoch: _plain(stored, _epoch).zfill(len(code))
    shown = _QUOTED.sub("", code.partition(";")[0]).lower()
    if "general" in shown or not any(letter in shown for letter in "ymdhs"):
        return _plain
    return _date if any(letter in shown for letter in "yd") or "mmm" in shown else _time


def _plain(stored: str, _epoch: datetime) -> str:
    """Return a number in digits: a double has no others than those of its shortest form."""
    try:
        number = float(stored)
    except ValueError:
        return stored
    if number.is_integer() and abs(number) < 2**53:
        return str(int(number))
    try:
        exact = Decimal(stored if abs(number) >= 2**53 else repr(number))
    except InvalidOperation:
        return stored
    return format(exact, "f") if abs(exact.adjusted()) < 40 else stored


def _date(stored: str, epoch: datetime) -> str:
    at = _moment(stored, epoch)
    if at is None:
        return _plain(stored, epoch)
    if (at.hour, at.minute, at.second) == (0, 0, 0):
        return f"{at:%Y-%m-%d}"
    return f"{at:%Y-%m-%d %H:%M:%S}" if at.second else f"{at:%Y-%m-%d %H:%M}"


def _time(stored: str, epoch: datetime) -> str:
    at = _moment(stored, epoch)
    if at is None or float(stored) >= 1:
        return _plain(stored, epoch) if at is None else _date(stored, epoch)
    return f"{at:%H:%M:%S}" if at.second else f"{at:%H:%M}"


def _moment(stored: str, epoch: datetime) -> datetime | None:
    try:
        days = float(stored)
        if not 0 <= days < 2_958_466:  # the year 10000
            return None
        # Excel has a 29th of February 1900, after which its days are right.
        leap = timedelta(days=1) if epoch.year == 1899 and 1 <= days < 60 else timedelta()
        return epoch + leap + timedelta(seconds=round(days * 86_400))
    except (ValueError, OverflowError):
        return None


@dataclass(slots=True)
class _Sheet(_Handler):
    """The rows of a sheet, as far as they were read and not taken yet."""

    limits: Limits
    strings: list[str]
    formats: list[Format]
    epoch: datetime
    _rows: list[tuple[int, list[str]]] = field(default_factory=list)
    _row: int = 0
    _column: int = -1
    _cells: list[str] = field(default_factory=list)
    _type: str = ""
    _style: str = ""
    _value: "_CellText" = field(init=False)
    _characters: int = 0

    def __post_init__(self) -> None:
        self._value = _CellText(self.limits.cell)

    def taken(self) -> list[tuple[int, list[str]]]:
        """Return the rows that were read, and forget them."""
        rows, self._rows = self._rows, []
        return rows

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "row":
            self._row = max(int(attributes.get("r", 0)), self._row + 1)
            self._column, self._cells = -1, []
        elif name == "c":
            place = attributes.get("r")
            self._column = _column_of(place) if place else self._column + 1
            self._type, self._style = attributes.get("t", "n"), attributes.get("s", "")
            self._value.begin()
        else:
            self._value.start(name, attributes)

    def text(self, text: str) -> None:
        self._value.text(text)

    def end(self, name: str) -> None:
        if name == "c":
            if 0 <= self._column < self.limits.columns and (text := self._shown()):
                self._cells += [""] * (self._column + 1 - len(self._cells))
                self._cells[self._column] = text
                self._characters += len(text)
        elif name == "row":
            if self._cells:
                self._keep()
        else:
            self._value.end(name)

    def _keep(self) -> None:
        if self._row > self.limits.rows:
            raise UnusableWorkbook(Flaw.TOO_MANY_ROWS)
        if self._characters > self.limits.characters:
            raise UnusableWorkbook(Flaw.TOO_LARGE)
        self._rows.append((self._row, self._cells))
        self._cells = []

    def _shown(self) -> str:
        """Return the cell that ends as people see it."""
        stored = self._value.whole()
        if self._type == "s":
            position = int(stored) if stored.strip() else -1
            return self.strings[position] if 0 <= position < len(self.strings) else ""
        if self._type == "b":
            return {"1": "TRUE", "0": "FALSE"}.get(stored.strip(), stored)
        if self._type == "n" and stored:
            style = int(self._style) if self._style else -1
            form = self.formats[style] if 0 <= style < len(self.formats) else _plain
            return form(stored.strip(), self.epoch)
        return stored


class _CellText(_Text):
    """The value of a cell, or its own text."""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "v":
            self._open = True
        else:
            super().start(name, attributes)

    def end(self, name: str) -> None:
        if name == "v":
            self._open = False
        else:
            super().end(name)


def _column_of(place: str) -> int:
    """Return the position, from 0, of the column in a place such as AB12."""
    position = 0
    for letter in place[:4]:
        if not "A" <= letter <= "Z":
            break
        position = position * 26 + ord(letter) - 64
    return position - 1
