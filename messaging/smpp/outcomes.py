"""The outcomes of a request or a link other than a response."""

from __future__ import annotations

from messaging.smpp.constants import status_text


class LinkError(Exception):
    """A failed request or link."""


class NotSent(LinkError):
    """The request was never written to the connection: it may be sent over another one."""


class LinkClosed(LinkError):
    """The link ended while the request was pending: its outcome is unknown."""


class ResponseTimeout(LinkError):
    """No response within response_timeout: the outcome is unknown."""


class ConnectError(LinkError):
    """No connection, or it ended before the response to the bind."""


class BindRefused(LinkError):
    """The SMSC refused the bind with this command_status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"bind refused: {status_text(status)}")
        self.status = status
