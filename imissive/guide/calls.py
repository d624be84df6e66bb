"""The guide's calls of the API: each is a file in `examples/`, with the answer that it gets.

A file is JSON: `call` (method and path), and, where there is something to say, `headers` and `body`
of the request, `status` (200), `answer` and `answer_headers` of what comes back. What a call needs
of an earlier one is under `uses`: the id as it is printed, and the call whose answer has the real
one, such as `{"msg_…": "send.message_id"}`. `{today}`, `{tomorrow}`, `{later}` (the day after) and
`{month}` (its first day) stand for dates, so that what is printed never lies in the past.

The answers are those of a live key, and of a test key where `key` is "test". The tests make every
call in every language that they can run: `fresh` lists what must then be another text each time
(a number, an idempotency key), `varies` the fields of the answer that have another value each time.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "examples"
KEY = "YOUR_API_KEY"
"""What stands in an example where the reader's API key belongs."""
SENDER = "MyCompany"
"""What stands in one where a sender ID of the reader's organization belongs."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request of the API as the guide prints it, and its answer.

    `answer` is None where the answer has no body. `again`: what it uses is made anew each time that
    it is run from the page, since it cannot be used twice.
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
        return f"{self.status} {HTTPStatus(self.status).phrase}"


def names() -> list[str]:
    """Every call's name, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name: str, today: date | None = None) -> Call:
    """The call of that name with the dates of that day (default: today's, in UTC)."""
    return _load(name, today or datetime.now(UTC).date())


def events(today: date | None = None) -> dict[str, Any]:
    """A body for each type of event, with the dates of that day (default: today's, in UTC)."""
    return _read(Path(__file__).parent / "events.json", today or datetime.now(UTC).date())


@functools.lru_cache(maxsize=200)
def _load(name: str, today: date) -> Call:
    read = _read(FOLDER / f"{name}.json", today)
    method, _, path = read.pop("call").partition(" ")
    known: dict[str, Any] = {
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
    return Call(name=name, method=method, path=path, **known | read)


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
