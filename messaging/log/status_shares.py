"""Shares of messages by status, for the stacked bar of pages."""

from typing import Any

from messaging.log.failure_reasons import STATUS_LABELS, STATUS_TONES
from messaging.states import Status


def shares_of(counts: dict[str, int]) -> list[dict[str, Any]]:
    """Return each status that has messages, with its start and width in a bar of width 100."""
    total = sum(counts.values())
    shares, start = [], 0.0
    for status in Status:
        count = counts.get(status, 0)
        if count:
            width = 100 * count / total
            shares.append(
                {
                    "status": str(status),
                    "label": STATUS_LABELS[status],
                    "tone": STATUS_TONES[status],
                    "count": count,
                    "start": f"{start:.3f}",
                    "width": f"{width:.3f}",
                }
            )
            start += width
    return shares
