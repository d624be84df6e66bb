"""Template tag for a message's status as a coloured label."""

from typing import Any

from django import template

from messaging.log.failure_reasons import STATUS_LABELS, STATUS_TONES

register = template.Library()


@register.inclusion_tag("accounts/ui/parts/status.html")
def message_status(status: str) -> dict[str, Any]:
    """Render the label of a message's status."""
    return {"label": STATUS_LABELS.get(status, status), "tone": STATUS_TONES.get(status, "still")}
