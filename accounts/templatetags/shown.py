"""How numbers, times and identifiers are shown: the same in both languages and directions."""

from datetime import UTC, datetime
from decimal import Decimal

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import MICRO
from imissive.core import problems
from imissive.core.problems import Problem

register = template.Library()


@register.filter
def ltr(value: object) -> SafeString:
    """A number, phone number or id, left to right inside Arabic text too."""
    return format_html('<bdi dir="ltr">{}</bdi>', value)


@register.filter
def count(value: int) -> SafeString:
    """A whole number with its thousands apart."""
    return ltr(f"{value:,}")


def credits_written(micro: int) -> str:
    """Micro-credits as credits, thousands apart and without needless zeros."""
    text = f"{Decimal(micro) / MICRO:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@register.filter
def credits_shown(micro: int) -> SafeString:
    """As `credits_written`, left to right."""
    return ltr(credits_written(micro))


@register.filter
def change_shown(micro: int) -> SafeString:
    """A change of a balance, with its sign."""
    return ltr(f"{'+' if micro > 0 else '−' if micro < 0 else ''}{credits_written(abs(micro))}")


@register.filter
def moment(at: datetime | None) -> SafeString | str:
    """A time in the zone that the reader chose; without one in UTC, which app.js rewrites in the
    browser's own zone where it runs."""
    if at is None:
        return "—"
    iso = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    shown = timezone.localtime(at)
    text = f"{shown:%Y-%m-%d %H:%M:%S}"
    if timezone.get_current_timezone_name() == "UTC":
        return format_html('<time datetime="{}" data-local dir="ltr">{} UTC</time>', iso, text)
    title = f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return format_html('<time datetime="{}" title="{}" dir="ltr">{}</time>', iso, title, text)


_BROWSERS = (
    ("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("Chrome", "Chrome"),
    ("Safari", "Safari"), ("curl", "curl"),
)  # fmt: skip
_SYSTEMS = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"),
    ("Mac OS", "macOS"), ("Linux", "Linux"),
)  # fmt: skip


@register.filter
def browser_name(user_agent: str) -> str:
    """A browser in a word or two, such as `Firefox, Android`, from its User-Agent header."""
    names = [
        next((name for sign, name in known if sign in user_agent), "")
        for known in (_BROWSERS, _SYSTEMS)
    ]
    return ", ".join(filter(None, names)) or user_agent[:40] or "—"


@register.filter
def percent(share: float) -> SafeString:
    """A share of 100 with one decimal, rounded down: 100% is said only of all."""
    return ltr(f"{int(share * 10) / 10:.1f}%")


@register.filter
def lasting(seconds: float) -> SafeString:
    """How long something took: `0.8 s`, `42 s`, from two minutes on `3 min`, later `5 h`."""
    if seconds < 10:
        return ltr(f"{seconds:.1f} s")
    if seconds < 120:
        return ltr(f"{seconds:.0f} s")
    return ltr(f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h")


@register.filter
def milliseconds(value: int) -> SafeString:
    """A short time: `38 ms`, from ten seconds on in seconds."""
    return ltr(f"{value:,} ms" if value < 10_000 else f"{value / 1000:,.1f} s")


@register.filter
def sentence(problem: Problem) -> str:
    """Return a problem's sentence in the reader's language."""
    return problems.sentence(problem)
