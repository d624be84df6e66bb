"""Who asks for a code, as far as sending and checking need to know: an API key, or a page."""

import uuid
from dataclasses import dataclass
from typing import Any, Protocol


class OtpCaller(Protocol):
    """Whose codes they are; `test`: they reach nobody; `key_id` of the API key that asks.

    `extra` is what was read with the key, see `accounts.api.authentication`.
    """

    @property
    def organization_id(self) -> uuid.UUID: ...
    @property
    def test(self) -> bool: ...
    @property
    def key_id(self) -> uuid.UUID | None: ...
    @property
    def extra(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Page:
    """A member who tries it in the dashboard."""

    organization_id: uuid.UUID
    test: bool
    key_id: uuid.UUID | None = None
    extra: Any = None
