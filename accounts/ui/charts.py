"""Stacked bar charts over time, drawn as SVG on the server, in both text directions.

Horizontal positions are percentages and vertical ones pixels, without a viewBox: a chart takes the
available width, and its labels keep the font size of the page. Time runs in reading direction, in
Arabic from right to left. Each chart comes with the same numbers as a table, for accessibility.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from django.utils.functional import Promise
from django.utils.translation import get_language_bidi

Text = str | Promise

HEIGHT = 168
"""Pixels from the baseline to the highest grid line."""
ABOVE, BELOW = 18, 26
"""Pixels above the highest grid line for its label, and below the baseline for the time labels."""
_LINES = 4
_LABELS = 7
_GAP = 0.28
"""Share of a bar's slot that stays empty."""
_FAINTEST = 1.5
"""Minimum height in pixels of a value above zero."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series: a value for each time bucket, and `tone`, one of the theme's fill colours."""

    key: str
    label: Text
    tone: str
    values: Sequence[int]

    @property
    def total(self) -> int:
        """Return the sum of the values."""
        return sum(self.values)


@dataclass(frozen=True, slots=True)
class Place:
    """The labels of a time bucket: short for the axis, and in full."""

    short: str
    full: str


@dataclass(frozen=True, slots=True)
class Rect:
    """The part of a bar that belongs to one series; SVG attributes as text."""

    tone: str
    x: str
    width: str
    y: str
    height: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A stack of rectangles, and the full-height slot around them that shows the tooltip."""

    tooltip: str
    x: str
    width: str
    rects: list[Rect]


@dataclass(frozen=True, slots=True)
class Line:
    """A grid line with its label; SVG attributes as text."""

    y: str
    label_y: str
    label: str


@dataclass(frozen=True, slots=True)
class Label:
    """A label of the time axis; a `minor` one is hidden on narrow screens."""

    x: str
    text: str
    minor: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with its table.

    `series`: those with a value above zero. `rows`: the full label of each time bucket, the values
    of the series, and their sum. `sums`: the total of each series, and of all.
    """

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
    """Return a chart of stacked bars, one for each time bucket.

    `shown` formats a value; grid lines are multiples of `unit`, in the unit of the values.
    """
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
    tooltip = "\n".join([place.full, *(parts or [shown(0)])])
    return Bar(tooltip, _percent(left), _percent(slot), rects)


def _pixels(value: int, top: int) -> float:
    return max(_FAINTEST, HEIGHT * value / top) if value else 0.0


def _line(value: int, top: int, shown: Callable[[int], str]) -> Line:
    y = ABOVE + HEIGHT - HEIGHT * value / top
    return Line(f"{y:.1f}", f"{y - 4:.1f}", shown(value))


def _labels(places: Sequence[Place], rtl: bool) -> list[Label]:
    """Return at most _LABELS labels of the time axis, evenly spaced, the latest included."""
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
    """Return the value of the highest grid line, and the step: 1, 2 or 5 times a power of ten."""
    step = unit
    while True:
        for times in (1, 2, 5):
            if step * times * _LINES >= highest:
                lines = max(1, -(-highest // (step * times)))
                return step * times * lines, step * times
        step *= 10


def meter(value: int, of: int) -> str:
    """Return the filled percentage of a meter, with two decimals, as text for SVG and CSS."""
    return f"{100 * value / of:.2f}" if of else "0"
