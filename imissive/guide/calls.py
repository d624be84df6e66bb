"""The guide's API calls: each is a file in `examples/` with its request and its response.

A file is JSON: `call` (method and path), and optionally `headers` and `body` of the request,
`status` (default 200), `answer` and `answer_headers` of the response. `uses` names values that a
call takes from an earlier one: the printed id, and the call and field that has the real one, such
as `{"msg_…": "send.message_id"}`. `{today}`, `{tomorrow}`, `{later}` (the day after tomorrow) and
`{month}` (the month's first day) are replaced by dates, so that a printed date is never past.

The responses are those of a live key, and of a test key where `key` is "test". The tests make every
call in every language that they can run: `fresh` lists texts that must be unique each time
(a number, an idempotency key), `varies` the fields of the response whose values differ each time.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

from imissive.core import clock

FOLDER = Path(__file__).parent / "examples"
KEY = "YOUR_API_KEY"
"""The placeholder in an example for the reader's API key."""
SENDER = "MyCompany"
"""The placeholder in an example for a sender ID of the reader's organization."""


@dataclass(frozen=True, slots=True)
class Call:
    """One API request as the guide prints it, and its response.

    `answer` is the response's JSON, None where it has no body. `again`: the calls that it uses are
    repeated each time it is run from the page, because their objects cannot be used twice.
    """

    name: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any] | None
    status: int
    answer: Any
    answer_headers: Mapping[str, str]
    uses: Mapping[str, str]
    again: bool
    key: str
    fresh: tuple[str, ...]
    varies: tuple[str, ...]

    @property
    def status_line(self) -> str:
        """The response's status with its reason phrase, such as "202 Accepted"."""
        return f"{self.status} {HTTPStatus(self.status).phrase}"


def names() -> list[str]:
    """Return every call's name, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name: str, today: date | None = None) -> Call:
    """Return the call of that name with the dates of `today` (default: today in UTC)."""
    return _load(name, today or clock.now().date())


def events(today: date | None = None) -> dict[str, Any]:
    """Return an example body for each type of event, dated `today` (default: today in UTC)."""
    return _read(Path(__file__).parent / "events.json", today or clock.now().date())


@functools.lru_cache(maxsize=200)
def _load(name: str, today: date) -> Call:
    read = _read(FOLDER / f"{name}.json", today)
    method, _, path = read.pop("call").partition(" ")
    defaults: dict[str, Any] = {
        "headers": {},
        "body": None,
        "status": 200,
        "answer": None,
        "answer_headers": {},
        "uses": {},
        "again": False,
        "key": "live",
        "fresh": (),
        "varies": (),
    }
    return Call(name=name, method=method, path=path, **defaults | read)


def _read(file: Path, today: date) -> dict[str, Any]:
    text = file.read_text(encoding="utf-8")
    for mark, day in (
        ("{today}", today),
        ("{tomorrow}", today + timedelta(days=1)),
        ("{later}", today + timedelta(days=2)),
        ("{month}", today.replace(day=1)),
    ):
        text = text.replace(mark, day.isoformat())
    read: dict[str, Any] = json.loads(text)
    return read
