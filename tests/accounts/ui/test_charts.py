"""Charts: positions of bars, lines and labels, and the table with the same numbers."""

import re

import pytest
from django.template.loader import render_to_string
from django.utils import translation

from accounts.ui.charts import (
    HEIGHT,
    Chart,
    Place,
    Series,
    meter,
    stacked,
)

PLACES = [Place(f"{hour:02d}:00", f"2026-11-26 {hour:02d}:00") for hour in range(4)]


def _chart(*values: list[int], unit: int = 1) -> Chart:
    tones = ["good", "bad", "late"]
    series = [
        Series(f"s{nth}", f"Series {nth}", tones[nth], each) for nth, each in enumerate(values)
    ]
    return stacked(PLACES, series, unit=unit)


def test_bars_are_as_high_as_their_values() -> None:
    chart = _chart([10, 0, 5, 20], [10, 0, 0, 0])
    heights = [[float(rect.height) for rect in bar.rects] for bar in chart.bars]
    assert heights == [[HEIGHT / 2, HEIGHT / 2], [], [HEIGHT / 4], [HEIGHT]]
    lower, upper = chart.bars[0].rects
    assert float(upper.y) + float(upper.height) == pytest.approx(float(lower.y))


def test_small_values_are_visible() -> None:
    chart = _chart([100_000, 1, 0, 0])
    assert float(chart.bars[1].rects[0].height) > 1


@pytest.mark.parametrize(
    ("highest", "labels"),
    [
        (0, ["1"]),
        (1, ["1"]),
        (3, ["1", "2", "3"]),
        (7, ["2", "4", "6", "8"]),
        (40, ["10", "20", "30", "40"]),
        (41, ["20", "40", "60"]),
        (1_000_000, ["500,000", "1,000,000"]),
    ],
)
def test_lines_stand_at_round_numbers(highest: int, labels: list[str]) -> None:
    assert [line.label for line in _chart([highest, 0, 0, 0]).lines] == labels


def test_a_series_of_nothing_is_left_out() -> None:
    chart = _chart([1, 2, 3, 4], [0, 0, 0, 0])
    assert [one.key for one in chart.series] == ["s0"]
    assert _chart([0, 0, 0, 0]).series == []


def test_in_arabic_time_runs_from_right_to_left() -> None:
    chart = _chart([1, 2, 3, 4])
    with translation.override("ar"):
        mirrored = _chart([1, 2, 3, 4])
    places = [bar.rects[0].x for bar in chart.bars]
    assert [bar.rects[0].x for bar in mirrored.bars] == places[::-1]
    assert (chart.edge, mirrored.edge) == ("0", "100%")


def test_the_latest_bucket_always_has_its_label() -> None:
    places = [Place(str(day), str(day)) for day in range(30)]
    chart = stacked(places, [Series("x", "X", "good", list(range(30)))])
    assert chart.labels[0].text == "29"
    assert len(chart.labels) <= 7


def test_the_table_has_the_numbers_of_the_bars() -> None:
    chart = _chart([10, 0, 5, 2000], [10, 0, 0, 0])
    more = {"chart": chart, "id": "x", "title": "A <title>", "about": "About.", "what": "Time"}
    page = render_to_string("parts/chart.html", more)
    table = re.sub(r"<[^>]+>|\s+", " ", page[page.index("<table>") :])
    assert "2026-11-26 03:00" in page
    assert (
        re.sub(" +", " ", table)
        .strip()
        .endswith("2026-11-26 03:00 2,000 0 2,000 All 2,015 10 2,025")
    )
    assert "A &lt;title&gt;" in page
    assert 'role="img" aria-labelledby="x-title x-about"' in page
    assert " style=" not in page


def test_meters() -> None:
    assert [meter(1, 4), meter(4, 4), meter(0, 4), meter(0, 0)] == ["25.00", "100.00", "0.00", "0"]
