"""Template tag for a sender ID's status as a coloured label."""

from typing import Any

from django import template

from messaging.models import SenderId
from messaging.senders.history import TONES

register = template.Library()


@register.inclusion_tag("accounts/ui/parts/status.html")
def sender_status(sender: SenderId) -> dict[str, Any]:
    """Render the label of a sender ID's status."""
    return {"label": sender.get_status_display(), "tone": TONES[SenderId.Status(sender.status)]}
