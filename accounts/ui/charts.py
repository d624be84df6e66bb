"""Charts as SVG that the server draws: bars over time, in the theme's colours, in both directions.

Places across are percentages and places down are pixels, without a viewBox: a chart takes the width
that it is given, and its letters stay as large as those around it. Time runs as the page is read,
so in Arabic from right to left. Each chart comes with the same numbers as a table.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from django.utils.functional import Promise
from django.utils.translation import get_language_bidi

Text = str | Promise

HEIGHT = 168
"""Pixels from the highest line to the ground."""
ABOVE, BELOW = 18, 26
"""Pixels for the label of the highest line, and for the labels under the ground."""
_LINES = 4
_LABELS = 7
_GAP = 0.28
"""How much of a bar's place stays free."""
_FAINTEST = 1.5
"""Pixels of the smallest bar that is not nothing."""


@dataclass(frozen=True, slots=True)
class Series:
    """What is counted in each place of time; `tone` is one of the theme's fills."""

    key: str
    label: Text
    tone: str
    values: Sequence[int]

    @property
    def total(self) -> int:
        return sum(self.values)


@dataclass(frozen=True, slots=True)
class Place:
    """One place of time: as it stands under the chart, and in full."""

    short: str
    full: str


@dataclass(frozen=True, slots=True)
class Rect:
    tone: str
    x: str
    width: str
    y: str
    height: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A pile of rectangles, and the whole height beside them, which is pointed at."""

    told: str
    x: str
    width: str
    rects: list[Rect]


@dataclass(frozen=True, slots=True)
class Line:
    y: str
    label_y: str
    label: str


@dataclass(frozen=True, slots=True)
class Label:
    """`minor`: left out where there is little room."""

    x: str
    text: str
    minor: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """`series`: those that have anything. `rows`: each place with their values and the sum."""

    bars: list[Bar]
    lines: list[Line]
    labels: list[Label]
    series: list[Series]
    rows: list[tuple[str, list[str], str]]
    sums: tuple[list[str], str]
    edge: str
    anchor: str
    ground: int = ABOVE + HEIGHT
    height: int = ABOVE + HEIGHT + BELOW
    labels_y: int = ABOVE + HEIGHT + BELOW - 8


def stacked(
    places: Sequence[Place],
    series: Sequence[Series],
    shown: Callable[[int], str] = "{:,}".format,
    *,
    unit: int = 1,
) -> Chart:
    """The series piled up, a bar for each place. `unit` is what the values are whole numbers of."""
    rtl = get_language_bidi()
    series = [each for each in series if any(each.values)]
    sums = [sum(each.values[at] for each in series) for at in range(len(places))]
    top, step = _scale(max(sums, default=0), unit)
    return Chart(
        bars=[_bar(place, at, places, series, top, shown, rtl) for at, place in enumerate(places)],
        lines=[_line(value, top, shown) for value in range(step, top + 1, step)],
        labels=_labels(places, rtl),
        series=series,
        rows=[
            (place.full, [shown(each.values[at]) for each in series], shown(sums[at]))
            for at, place in enumerate(places)
        ],
        sums=([shown(each.total) for each in series], shown(sum(sums))),
        edge="100%" if rtl else "0",
        anchor="end" if rtl else "start",
    )


def _bar(
    place: Place,
    at: int,
    places: Sequence[Place],
    series: Sequence[Series],
    top: int,
    shown: Callable[[int], str],
    rtl: bool,
) -> Bar:
    slot = 100 / len(places)
    left = slot * (len(places) - 1 - at if rtl else at)
    x, width = _percent(left + slot * _GAP / 2), _percent(slot * (1 - _GAP))
    values = [each.values[at] for each in series]
    feet = [0, *accumulate(_pixels(value, top) for value in values)]
    rects = [
        Rect(each.tone, x, width, f"{ABOVE + HEIGHT - foot - _pixels(value, top):.1f}",
             f"{_pixels(value, top):.1f}")
        for each, value, foot in zip(series, values, feet, strict=False)
        if value
    ]  # fmt: skip
    parts = [
        f"{each.label} {shown(value)}" for each, value in zip(series, values, strict=True) if value
    ]
    told = "\n".join([place.full, *(parts or [shown(0)])])
    return Bar(told, _percent(left), _percent(slot), rects)


def _pixels(value: int, top: int) -> float:
    return max(_FAINTEST, HEIGHT * value / top) if value else 0.0


def _line(value: int, top: int, shown: Callable[[int], str]) -> Line:
    y = ABOVE + HEIGHT - HEIGHT * value / top
    return Line(f"{y:.1f}", f"{y - 4:.1f}", shown(value))


def _labels(places: Sequence[Place], rtl: bool) -> list[Label]:
    """Some of the places' labels, counted from the last one, which is now."""
    every = max(1, -(-len(places) // _LABELS))
    found = []
    for nth, at in enumerate(range(len(places) - 1, -1, -every)):
        middle = 100 * (at + 0.5) / len(places)
        x = _percent(100 - middle if rtl else middle)
        found.append(Label(x, places[at].short, minor=nth % 2 == 1))
    return found


def _percent(value: float) -> str:
    return f"{value:.3f}%"


def _scale(highest: int, unit: int) -> tuple[int, int]:
    """The value of the highest line, and the step between lines: 1, 2 or 5 times a power of ten."""
    step = unit
    while True:
        for times in (1, 2, 5):
            if step * times * _LINES >= highest:
                lines = max(1, -(-highest // (step * times)))
                return step * times * lines, step * times
        step *= 10


def meter(value: int, of: int) -> str:
    """How much of a bar of 100 is filled."""
    return f"{100 * value / of:.2f}" if of else "0"
