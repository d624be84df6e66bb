"""The errors of PDUs."""

from __future__ import annotations

from messaging.smpp.constants import command_name, status_name


class EncodeError(ValueError):
    """A field that cannot be sent unchanged. Nothing is ever truncated."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class DecodeError(ValueError):
    """A complete frame that is not a PDU by the specification.

    `status` is the command_status of the response. The reason never quotes the frame, which may
    contain a password or a text.
    """

    def __init__(self, status: int, reason: str, *, command_id: int = 0, sequence: int = 0) -> None:
        super().__init__(f"{command_name(command_id)}: {reason}, {status_name(status)}")
        self.status = status
        self.reason = reason
        self.command_id = command_id
        self.sequence = sequence


class FrameError(ValueError):
    """A command_length that no frame can have: the stream cannot be read any further."""

    def __init__(self, command_length: int, maximum: int) -> None:
        super().__init__(f"command_length {command_length} is not within 16 and {maximum}")
        self.command_length = command_length
