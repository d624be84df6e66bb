"""How numbers, times and identifiers are shown: the same in both languages and directions."""

from datetime import UTC, datetime
from decimal import Decimal

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import MICRO

register = template.Library()


@register.filter
def ltr(value: object) -> SafeString:
    """A number, phone number or id, left to right inside Arabic text too."""
    return format_html('<bdi dir="ltr">{}</bdi>', value)


@register.filter
def count(value: int) -> SafeString:
    """A whole number with its thousands apart."""
    return ltr(f"{value:,}")


@register.filter
def credits_shown(micro: int) -> SafeString:
    """Micro-credits as credits, thousands apart and without needless zeros."""
    text = f"{Decimal(micro) / MICRO:,f}"
    return ltr(text.rstrip("0").rstrip(".") if "." in text else text)


@register.filter
def moment(at: datetime | None) -> SafeString | str:
    """A time in UTC; app.js rewrites it in the reader's own zone where it runs."""
    if at is None:
        return "—"
    at = at.astimezone(UTC)
    return format_html(
        '<time datetime="{}" data-local dir="ltr">{} UTC</time>',
        at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        at.strftime("%Y-%m-%d %H:%M:%S"),
    )


@register.filter
def percent(share: float) -> SafeString:
    """A share of 100 with one decimal, rounded down: 100% is said only of all."""
    return ltr(f"{int(share * 10) / 10:.1f}%")
