"""Sending hours: boundaries, hours over midnight, and changes of the clock."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.routing.sending_hours import SendingHours

RIYADH, BERLIN = ZoneInfo("Asia/Riyadh"), ZoneInfo("Europe/Berlin")
SAUDI = SendingHours("SA", "-AD", time(9), time(19), RIYADH)
NIGHT = SendingHours("SA", "", time(22), time(6), RIYADH)
INSTANT = timedelta(microseconds=1)


def riyadh(clock: str, day: int = 10) -> datetime:
    return datetime.combine(datetime(2026, 3, day).date(), time.fromisoformat(clock), RIYADH)


# ---------------------------------------------------------------- senders


@pytest.mark.parametrize(
    ("suffix", "sender", "applies"),
    [
        ("-AD", "Shop-AD", True),
        ("-AD", "shop-ad", True),
        ("-ad", "SHOP-AD", True),
        ("-AD", "-AD", True),
        ("-AD", "ShopAD", False),
        ("-AD", "AD-Shop", False),
        ("", "Anybody", True),
        ("", "", True),
    ],
)
def test_rules_apply_by_sender_suffix(suffix, sender, applies):
    assert SendingHours("SA", suffix, time(9), time(19), RIYADH).applies_to(sender) is applies


# ---------------------------------------------------------------- the hours of a day


@pytest.mark.parametrize(
    ("clock", "is_open", "opening", "closing"),
    [
        ("00:00", False, "09:00", "19:00"),
        ("08:59:59.999999", False, "09:00", "19:00"),
        ("09:00", True, "09:00", "19:00"),
        ("12:34:56", True, "12:34:56", "19:00"),
        ("18:59:59.999999", True, "18:59:59.999999", "19:00"),
    ],
)
def test_from_nine_to_seven(clock, is_open, opening, closing):
    at = riyadh(clock)
    assert SAUDI.is_open(at) is is_open
    assert SAUDI.opening(at) == riyadh(opening)
    assert SAUDI.closing(SAUDI.opening(at)) == riyadh(closing)


@pytest.mark.parametrize("clock", ["19:00", "19:00:01", "23:59:59"])
def test_after_closing_it_opens_the_next_day(clock):
    assert not SAUDI.is_open(riyadh(clock))
    assert SAUDI.opening(riyadh(clock)) == riyadh("09:00", day=11)
    assert SAUDI.closing(riyadh("09:00", day=11)) == riyadh("19:00", day=11)


@pytest.mark.parametrize(
    ("clock", "is_open", "opening", "closing"),
    [
        ("21:59:59", False, riyadh("22:00"), riyadh("06:00", day=11)),
        ("22:00", True, riyadh("22:00"), riyadh("06:00", day=11)),
        ("23:59:59", True, riyadh("23:59:59"), riyadh("06:00", day=11)),
        ("00:00", True, riyadh("00:00"), riyadh("06:00")),
        ("05:59:59", True, riyadh("05:59:59"), riyadh("06:00")),
        ("06:00", False, riyadh("22:00"), riyadh("06:00", day=11)),
        ("12:00", False, riyadh("22:00"), riyadh("06:00", day=11)),
    ],
)
def test_over_midnight(clock, is_open, opening, closing):
    at = riyadh(clock)
    assert NIGHT.is_open(at) is is_open
    assert NIGHT.opening(at) == opening
    assert NIGHT.closing(opening) == closing


def test_until_midnight():
    evening = SendingHours("SA", "", time(18), time(0), RIYADH)
    assert evening.is_open(riyadh("23:59:59"))
    assert not evening.is_open(riyadh("00:00"))
    assert evening.closing(riyadh("20:00")) == riyadh("00:00", day=11)
    assert evening.opening(riyadh("00:00")) == riyadh("18:00")


def test_hours_are_in_the_country_s_zone_for_times_in_any_zone():
    six = datetime(2026, 3, 10, 6, tzinfo=UTC)  # nine in Riyadh
    assert SAUDI.is_open(six)
    assert not SAUDI.is_open(six - INSTANT)
    assert SAUDI.is_open(six.astimezone(ZoneInfo("America/New_York")))
    found = SAUDI.opening(six - timedelta(hours=1))
    assert (found, found.tzinfo) == (six, UTC)


def test_openings_are_recognized():
    assert SAUDI.opens_at(riyadh("09:00"))
    assert SAUDI.opens_at(datetime(2026, 3, 10, 6, tzinfo=UTC))
    assert not SAUDI.opens_at(riyadh("09:00:01"))
    assert not SAUDI.opens_at(riyadh("19:00"))


def test_readable_text():
    assert str(SAUDI) == "09:00 to 19:00 (Asia/Riyadh)"


# ---------------------------------------------------------------- changes of the clock


def test_the_day_is_shorter_when_summer_time_starts():
    day = SendingHours("DE", "", time(9), time(19), BERLIN)
    evening = datetime(2026, 3, 28, 20, tzinfo=BERLIN)
    assert day.opening(evening) == datetime(2026, 3, 29, 7, tzinfo=UTC)  # 08:00 UTC the day before


def test_hours_in_the_skipped_hour_open_on_the_next_day():
    gone = SendingHours("DE", "", time(2, 15), time(2, 45), BERLIN)
    before = datetime(2026, 3, 29, 0, tzinfo=BERLIN)
    opening = gone.opening(before)
    assert opening == datetime(2026, 3, 30, 2, 15, tzinfo=BERLIN)
    assert gone.is_open(opening)


def test_in_the_repeated_hour_the_later_closing_counts():
    twice = SendingHours("DE", "", time(1), time(2, 30), BERLIN)
    second = datetime(2026, 10, 25, 2, 15, tzinfo=BERLIN, fold=1)
    assert twice.is_open(second)
    assert twice.closing(second) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)  # the second 02:30
    assert twice.closing(second) > second.astimezone(UTC)


ZONES = ["Asia/Riyadh", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "UTC"]
CLOCKS = st.times().map(lambda clock: clock.replace(microsecond=0))


@given(
    opens=CLOCKS,
    closes=CLOCKS,
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    at=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),
)
def test_properties_of_all_hours(opens, closes, zone, at):
    if opens == closes:
        return
    window = SendingHours("XX", "", opens, closes, zone)
    opening = window.opening(at)
    assert opening >= at
    assert window.is_open(opening)
    assert window.is_open(at) is (opening == at)
    assert opening - at <= timedelta(hours=50)
    closing = window.closing(opening)
    assert opening < closing <= opening + timedelta(hours=26)
    # Exactly, except for the hour that the clock skips, which counts as the next hour.
    if opening > at and opening.astimezone(zone).time() == opens:
        assert not window.is_open(opening - INSTANT)
    if closing.astimezone(zone).time() == closes:
        assert window.is_open(closing - INSTANT)
