"""Every example of the guide, made against the running platform, answers as the guide prints."""

import functools
import itertools
import json
import re
import shutil
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guide import calls, rendering
from guide.calls import KEY, Call
from guide.languages import LANGUAGES
from tests import guide_programs
from tests.guide_programs import Program
from tests.platforms import until
from tests.receivers import Receiver, receiver
from tests.running import Site

BASE, HOOK = "https://api.example.com", "https://hooks.example.com/imissive"
NAMES = calls.names()
_fresh = itertools.count(int(time.time()) % 100_000)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One platform for this file, its carrier the simulator."""
    made = Site(tmp_path_factory.mktemp("guide"))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def hook() -> Iterator[Receiver]:
    """Where the endpoints that examples make really are."""
    with receiver() as made:
        yield made


def skip_without(slug: str) -> None:
    if not guide_programs.has(slug):
        missing = f"there is no {guide_programs.TOOLS[slug]}: {slug} examples were NOT run"
        warnings.warn(missing, stacklevel=2)
        pytest.skip(missing)


# ---------------------------------------------------------------- printed and real answers

_ID = re.compile(r"([a-z]{3})_[0-9a-z]{26}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
_CLOCK = "T08:5"  # the hour of all printed times that stand for "when it happens"


def differences(printed: Any, real: Any, varies: tuple[str, ...], at: str = "") -> list[str]:
    """Where a real answer is not as printed. Ids and times are compared by their form."""
    if isinstance(printed, dict) and isinstance(real, dict):
        wrong = [f"{at}.{key}: missing or new" for key in printed.keys() ^ real.keys()]
        for key in printed.keys() & real.keys():
            if key in varies and type(printed[key]) is type(real[key]):
                continue
            wrong += differences(printed[key], real[key], varies, f"{at}.{key}")
        return wrong
    if isinstance(printed, list) and isinstance(real, list) and len(printed) == len(real):
        pairs = enumerate(zip(printed, real, strict=True))
        return [d for n, (a, b) in pairs for d in differences(a, b, varies, f"{at}[{n}]")]
    if str(printed).startswith('{"') and str(real).startswith('{"'):
        return differences(json.loads(printed), json.loads(real), varies, f"{at}(JSON)")
    same = printed == real and type(printed) is type(real)
    return [] if same or _same_form(printed, real) else [f"{at}: {printed!r} is {real!r}"]


def _same_form(printed: Any, real: Any) -> bool:
    if not isinstance(printed, str) or not isinstance(real, str):
        return False
    if (one := _ID.fullmatch(printed)) and (other := _ID.fullmatch(real)):
        return one[1] == other[1]
    if (one := _TIME.fullmatch(printed)) and (other := _TIME.fullmatch(real)):
        return _CLOCK in printed and bool(one[1]) == bool(other[1])
    return printed.startswith("whsec_") and real.startswith("whsec_") and len(printed) == len(real)


# ---------------------------------------------------------------- making the calls


class Maker:
    """Makes calls on the platform, and programs with real values in the places of printed ones."""

    def __init__(self, site: Site, hook: Receiver) -> None:
        self.site = site
        self.answers: dict[str, Any] = {}
        self.known = {BASE: site.demo["IMISSIVE_URL"], HOOK: hook.url}

    def key(self, call: Call) -> str:
        return self.site.demo[f"IMISSIVE_{'TEST' if call.key == 'test' else 'API'}_KEY"]

    def values(self, call: Call) -> dict[str, str]:
        """What is printed, and what stands for it this time: earlier calls' ids, fresh texts."""
        found = self.known | {KEY: self.key(call)}
        for text in call.fresh:
            found[text] = fresh(text)
        # What is used up by the call is no other's.
        answers = {} if call.again else self.answers
        for printed, source in call.uses.items():
            name, *path = source.split(".")
            if name not in answers:
                answers[name] = self.answer(name)
            found[printed] = functools.reduce(_field, path, answers[name])
        return found

    def answer(self, name: str) -> Any:
        """The answer of that call, made now."""
        call = calls.load(name)
        values = self.values(call)
        self._settle(call, values)
        status, answer = self.make(call, values)
        assert status == call.status, answer
        return answer

    def make(self, call: Call, values: dict[str, str]) -> tuple[int, Any]:
        body = json.loads(put(json.dumps(call.body), values))
        return self.site.request(call.method, put(call.path, values), body, key=self.key(call))

    def program(self, slug: str, call: Call) -> tuple[Program, Any]:
        """A program, and the answer that it has to print."""
        values = self.values(call)
        self._settle(call, values)
        code = guide_programs.language(slug).call(call, BASE)
        return Program(call.name, put(code, values)), answer_of(call, values)

    def _settle(self, call: Call, values: dict[str, str]) -> None:
        """Wait until what is printed can be read: a message is delivered after a moment."""
        if call.method != "GET" or not call.uses:
            return
        expected = answer_of(call, values)

        def wrong() -> list[str]:
            return differences(expected, self.make(call, values)[1], call.varies)

        until(lambda: not wrong(), 10, wrong)


def _field(answer: Any, name: str) -> Any:
    return answer[int(name)] if isinstance(answer, list) else answer[name]


def answer_of(call: Call, values: dict[str, str]) -> Any:
    return json.loads(put(json.dumps(call.answer), values))


def put(text: str, values: dict[str, str]) -> str:
    for printed, real in values.items():
        text = text.replace(printed, real)
    return text


def fresh(text: str) -> str:
    """Another text of the same kind: a number, a sender ID, any key."""
    number = next(_fresh)
    if text.startswith("+966"):
        return f"+96655{number:07d}"
    return f"Shop{number:04d}-AD"[-11:] if text.endswith("-AD") else f"{text}-{number}"


RUNNABLE = ("curl", "python", "javascript", "java")


@pytest.mark.platform
@pytest.mark.parametrize("slug", RUNNABLE)
def test_every_example_answers_as_printed(
    site: Site, hook: Receiver, slug: str, tmp_path: Path
) -> None:
    skip_without(slug)
    maker = Maker(site, hook)
    made, wrong = {}, {}
    for name in NAMES:
        try:
            made[name] = maker.program(slug, calls.load(name))
        except AssertionError as error:
            wrong[name] = [str(error)]
    printed = guide_programs.run(slug, [program for program, _ in made.values()], tmp_path)
    for name, (_, expected) in made.items():
        call = calls.load(name)
        try:
            status, answer = guide_programs.parse(slug, printed[name])
        except (ValueError, SyntaxError):
            wrong[name] = [printed[name]]
            continue
        found = differences(expected, answer, call.varies)
        if status != call.status or found:
            wrong[name] = [f"{status}", *found]
    assert not wrong, json.dumps(wrong, indent=1)


# ---------------------------------------------------------------- all languages say the same


@pytest.mark.parametrize("slug", [language.slug for language in LANGUAGES])
@pytest.mark.parametrize("name", NAMES)
def test_every_language_sends_the_same(name: str, slug: str) -> None:
    call = calls.load(name)
    code = guide_programs.language(slug).call(call, BASE)
    assert guide_programs.sent(slug, code) == (call.method, BASE + call.path, call.body)
    bearer = call.headers.get("Authorization", f"Bearer {KEY}")
    assert bearer in code
    for header, value in call.headers.items():
        assert header in code
        assert value in code


def test_every_program_of_the_guide_is_in_every_language() -> None:
    for name in ("receive", "send-safely"):
        assert set(rendering.sources(name, BASE)) == {language.slug for language in LANGUAGES}


@pytest.mark.parametrize(("tool", "slug"), [(["php", "-l"], "php"), (["gofmt", "-l", "-e"], "go")])
def test_syntax(tool: list[str], slug: str, tmp_path: Path) -> None:
    """Of the languages that are not run."""
    if shutil.which(tool[0]) is None:
        missing = f"there is no {tool[0]}: {slug} examples were NOT checked"
        warnings.warn(missing, stacklevel=1)
        pytest.skip(missing)
    language = guide_programs.language(slug)
    codes = {name: language.call(calls.load(name), BASE) for name in NAMES}
    codes |= {name: rendering.sources(name, BASE)[slug] for name in ("receive", "send-safely")}
    for name, code in codes.items():
        file = tmp_path / f"{name}.{language.suffix}"
        file.write_text(code + "\n")
        done = subprocess.run([*tool, str(file)], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stdout + done.stderr
        assert slug != "go" or done.stdout == "", f"{name} is not formatted"
