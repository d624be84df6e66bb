"""Messages' SQL for statements of other applications."""

from typing import Final

from messaging.states import Status

TAKEN: Final = f"""
(SELECT id FROM messaging_message WHERE sent_at IS NOT NULL AND status <> '{Status.FAILED}')
"""  # noqa: S608
"""The messages that a carrier accepted and that did not fail, as a relation to join: `id`."""
