"""Callers that send and verify codes: an API key, or a page of the dashboard."""

import uuid
from dataclasses import dataclass
from typing import Any, Protocol


class OtpCaller(Protocol):
    """The caller of a send or a check. Codes in `test` mode reach no phone.

    `key_id` is the id of the API key, None for a page; `extra` is the value that was read with the
    key, see `accounts.api.authentication`.
    """

    @property
    def organization_id(self) -> uuid.UUID: ...
    @property
    def test(self) -> bool: ...
    @property
    def key_id(self) -> uuid.UUID | None: ...
    @property
    def extra(self) -> Any: ...
    @property
    def home(self) -> str: ...


@dataclass(frozen=True, slots=True)
class DashboardCaller:
    """A member who sends a code from the dashboard to try it out."""

    organization_id: uuid.UUID
    test: bool
    key_id: uuid.UUID | None = None
    extra: Any = None
    home: str = ""
