"""Every example of the guide, made against the running platform, answers as the guide prints."""

import copy
import functools
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from imissive.guide import calls, rendering
from imissive.guide.calls import KEY, Call
from imissive.guide.languages import LANGUAGES
from imissive.run.processes import free_port
from imissive.run.unprivileged import die_with_parent
from tests.support import guide_programs
from tests.support.faulty_proxy import faulty_proxy
from tests.support.guide_programs import Program
from tests.support.platforms import until
from tests.support.running_platform import Site
from tests.support.webhook_receivers import Receiver, receiver

BASE, HOOK = "https://api.example.com", "https://hooks.example.com/imissive"
NAMES = calls.names()
_fresh = itertools.count(int(time.time()) % 100_000)


@pytest.fixture(scope="module")
def hook() -> Iterator[Receiver]:
    """Where the endpoints that examples make really are."""
    with receiver() as endpoint:
        yield endpoint


def skip_loudly(missing: str) -> None:
    warnings.warn(missing, stacklevel=2)
    pytest.skip(missing)


def skip_without(slug: str) -> None:
    if not guide_programs.has(slug):
        skip_loudly(f"there is no {guide_programs.TOOLS[slug]}: the {slug} program was NOT run")


# ---------------------------------------------------------------- printed and real answers

_ID = re.compile(r"([a-z]{3})_[0-9a-z]{26}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
_CLOCK = "T08:5"  # the hour of all printed times that stand for "when it happens"


def differences(printed: Any, real: Any, varies: tuple[str, ...], at: str = "") -> list[str]:
    """Where a real answer is not as printed. Ids and times are compared by their form."""
    if isinstance(printed, dict) and isinstance(real, dict):
        wrong = [f"{at}.{key}: missing or new" for key in printed.keys() ^ real.keys()]
        for key in printed.keys() & real.keys():
            if key in varies and _same_kind(printed[key], real[key]):
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


def _same_kind(printed: Any, real: Any) -> bool:
    """Whether both are of one type of JSON, or nothing."""
    numbers = (int, float)
    both_numbers = type(printed) in numbers and type(real) in numbers
    return both_numbers or type(printed) is type(real) or None in (printed, real)


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
        self.responses: dict[str, Any] = {}
        self.known = {BASE: site.demo["IMISSIVE_URL"], HOOK: hook.url}

    def key(self, call: Call) -> str:
        return self.site.demo[f"IMISSIVE_{'TEST' if call.key == 'test' else 'API'}_KEY"]

    def values(self, call: Call) -> dict[str, str]:
        """What is printed, and what stands for it this time: earlier calls' ids, fresh texts."""
        found = self.known | {KEY: self.key(call)}
        for text in call.fresh:
            found[text] = fresh(text)
        # What is used up by the call is no other's.
        responses = {} if call.again else self.responses
        for printed, source in call.uses.items():
            name, *path = source.split(".")
            if name not in responses:
                responses[name] = self.response(name)
            found[printed] = functools.reduce(_field, path, responses[name])
        return found

    def response(self, name: str) -> Any:
        """The answer of that call, made now."""
        call = calls.load(name)
        values = self.values(call)
        self._settle(call, values)
        status, response = self.make(call, values)
        assert status == call.status, response
        return response

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


def _field(response: Any, name: str) -> Any:
    return response[int(name)] if isinstance(response, list) else response[name]


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


@pytest.mark.platform
@pytest.mark.parametrize("slug", guide_programs.TOOLS)
def test_every_example_answers_as_printed(
    site: Site, hook: Receiver, slug: str, tmp_path: Path
) -> None:
    """They run in the order of their names, so what `suppress` does `unsuppress` undoes."""
    skip_without(slug)
    maker = Maker(site, hook)
    programs, wrong = {}, {}
    for name in NAMES:
        try:
            programs[name] = maker.program(slug, calls.load(name))
        except AssertionError as error:
            wrong[name] = [str(error)]
    printed = guide_programs.run(slug, [program for program, _ in programs.values()], tmp_path)
    for name, (_, expected) in programs.items():
        call = calls.load(name)
        try:
            status, response = guide_programs.parse(slug, printed[name])
        except (ValueError, SyntaxError):
            wrong[name] = [printed[name]]
            continue
        found = differences(expected, response, call.varies)
        if status != call.status or found:
            wrong[name] = [f"{status}", *found]
    assert not wrong, json.dumps(wrong, indent=1)


# ---------------------------------------------------------------- events

OPTIONAL = {"reference", "batch_id", "test"}
"""What an event's data has only where there is something to say; `error` belongs to its type."""


@pytest.mark.platform
def test_events_come_as_printed(site: Site) -> None:
    """Those that a customer can bring about; `test_guide.py` holds all against their models."""
    live = site.demo["IMISSIVE_API_KEY"]
    with receiver() as hook:
        _, endpoint = site.post("/v1/webhooks", {"url": hook.url})
        site.post(f"/v1/webhooks/{endpoint['id']}/test", None)
        for to in ("+966500000001", "+966500000002"):
            site.post("/v1/sms/send", {"to": to, "message": "Hello", "reference": "order-10482"})
        later = calls.load("schedule").body
        scheduled = site.post("/v1/sms/send", later)[1]["message_id"]
        site.post(f"/v1/sms/{scheduled}/cancel", None)
        sent = site.post("/v1/otp/send", {"phone": fresh("+966")}, key=live)[1]
        site.post(f"/v1/otp/{sent['otp_id']}/cancel", None)
        expected = {f"message.{name}" for name in ("queued", "sent", "delivered", "failed")}
        expected |= {"message.canceled", "otp.failed", "webhook.test"}
        until(lambda: expected <= {json.loads(post.body)["event"] for post in hook.posts}, 20)
        posts = [post.verified(endpoint["secret"]) for post in hook.posts]
    site.request("DELETE", f"/v1/webhooks/{endpoint['id']}")
    printed = copy.deepcopy(calls.events())
    wrong = {}
    for event in posts:
        as_printed = printed[event["event"]]
        for data in (event["data"], as_printed["data"]):
            for name in OPTIONAL:
                data.pop(name, None)
        if found := differences(as_printed, event, ("to", "phone", "reason")):
            wrong[event["event"]] = found
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


def test_syntax_of_go(tmp_path: Path) -> None:
    """Their form too: gofmt would not change a line."""
    if shutil.which("gofmt") is None:
        skip_loudly("there is no gofmt: Go's examples were NOT checked")
    codes = {name: guide_programs.language("go").call(calls.load(name), BASE) for name in NAMES}
    codes |= {name: rendering.sources(name, BASE)["go"] for name in ("receive", "send-safely")}
    for name, code in codes.items():
        (tmp_path / f"{name}.go").write_text(code + "\n")
    done = subprocess.run(["gofmt", "-l", "-e", tmp_path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


# ---------------------------------------------------------------- a program that sends, and repeats

ORDER = "order-10482"
"""The idempotency key and the reference in the program that sends."""
NODE_MODULES = Path(os.environ.get("NODE_MODULES", "node_modules"))
"""Where JavaScript's standardwebhooks is, if it is: make test needs no npm."""


def command(slug: str, name: str, code: str, folder: Path) -> list[str]:
    """How a written-out program is run; it is put into that folder."""
    file = folder / f"{name}.{guide_programs.language(slug).suffix}"
    file.write_text(code + "\n", encoding="utf-8")
    if slug == "go":
        return [str(guide_programs.compile_go([file]))]
    if slug != "java":
        programs = {"curl": "sh", "python": sys.executable, "javascript": "node", "php": "php"}
        return [programs[slug], str(file)]
    main = "".join(word.capitalize() for word in name.split("-"))
    file.rename(folder / f"{main}.java")
    guide_programs.compile_java(folder)
    return ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", str(folder), main]


def test_a_send_that_is_repeated_sends_once(site: Site, tmp_path: Path) -> None:
    """In all languages at once, since each waits for seconds between its calls."""
    slugs = [slug for slug in guide_programs.TOOLS if guide_programs.has(slug)]
    for missing in guide_programs.TOOLS.keys() - set(slugs):
        warnings.warn(f"no {guide_programs.TOOLS[missing]}: {missing} was NOT run", stacklevel=1)
    running = {}
    with faulty_proxy(site.url) as proxy:
        for slug in slugs:
            code = rendering.sources("send-safely", proxy.url)[slug]
            code = code.replace(KEY, site.demo["IMISSIVE_API_KEY"])
            folder = tmp_path / slug
            folder.mkdir()
            arguments = command(slug, "send-safely", code.replace(ORDER, f"{ORDER}-{slug}"), folder)
            running[slug] = subprocess.Popen(
                arguments,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        printed = {slug: child.communicate(timeout=60)[0] for slug, child in running.items()}
    for slug, child in running.items():
        assert child.returncode == 0, printed[slug]
        assert proxy.seen[f"{ORDER}-{slug}"] == 3, printed[slug]
        sent = site.sql(
            "SELECT count(*), min(price) FROM messaging_message WHERE reference = %s",
            [f"{ORDER}-{slug}"],
        )
        assert sent == [(1, 1_000_000)], slug
        assert "msg_" in printed[slug]


# ---------------------------------------------------------------- a receiver of webhooks


@contextmanager
def running(slug: str, folder: Path, secret: str, port: int) -> Iterator[list[str]]:
    """The receiver of the guide while it runs; the lines that it prints."""
    code = rendering.sources("receive", "")[slug]
    arguments = command(slug, "receive", code, folder)
    if slug == "php":
        arguments[1:1] = ["-S", f"127.0.0.1:{port}"]
    child = subprocess.Popen(
        arguments,
        env=os.environ | {"WEBHOOK_SECRET": secret, "PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=die_with_parent(signal.SIGKILL),
    )
    lines: list[str] = []
    assert child.stdout is not None
    threading.Thread(target=lines.extend, args=[child.stdout], daemon=True).start()
    try:
        until(lambda: unsigned_post_status(port) or child.poll() is not None, 20, lambda: lines)
        yield lines
    finally:
        child.kill()
        child.wait(10)


def unsigned_post_status(port: int) -> int:
    """The status of a post that nobody signed; 0 while nobody listens."""
    headers = {
        "Content-Type": "application/json",
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(time.time())),
        "webhook-signature": "v1,Zm9yZ2Vk",
    }
    url = f"http://127.0.0.1:{port}/"
    request = urllib.request.Request(url, b'{"event":"x"}', headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.mark.parametrize("slug", ["python", "javascript", "php", "java", "go"])
def test_a_receiver_takes_what_is_genuine_alone(site: Site, slug: str, tmp_path: Path) -> None:
    skip_without(slug)
    if slug == "javascript":
        if not (NODE_MODULES / "standardwebhooks").exists():
            skip_loudly("NODE_MODULES has no standardwebhooks: the JavaScript receiver was NOT run")
        shutil.copytree(NODE_MODULES, tmp_path / "node_modules")
    port = free_port()
    _, endpoint = site.post("/v1/webhooks", {"url": f"http://127.0.0.1:{port}/"})
    with running(slug, tmp_path, endpoint["secret"], port) as lines:
        assert unsigned_post_status(port) == 400
        # While the secret is rotated there are two signatures, the new one first.
        site.post(f"/v1/webhooks/{endpoint['id']}/rotate-secret", None)
        _, delivery = site.post(f"/v1/webhooks/{endpoint['id']}/test", None)
        until(lambda: any("webhook.test" in line for line in lines), 15, lambda: lines)
        log = f"/v1/webhooks/deliveries/{delivery['id']}"
        until(lambda: site.request("GET", log)[1]["status"] == "delivered", 15)
        attempts = site.request("GET", log)[1]["attempts"]
        assert [attempt["response_status"] for attempt in attempts] == [204]
    site.request("DELETE", f"/v1/webhooks/{endpoint['id']}")


def test_a_signature_by_hand(site: Site, tmp_path: Path) -> None:
    skip_without("curl")
    with receiver() as hook:
        _, endpoint = site.post("/v1/webhooks", {"url": hook.url, "events": ["webhook.test"]})
        site.post(f"/v1/webhooks/{endpoint['id']}/test", None)
        post = hook.wait_for(1)[0]
    code = rendering.sources("receive", "")["curl"]
    arguments = command("curl", "receive", code, tmp_path)
    given = {
        "WEBHOOK_SECRET": endpoint["secret"],
        "WEBHOOK_ID": post.id,
        "WEBHOOK_TIMESTAMP": post.headers["webhook-timestamp"],
        "WEBHOOK_SIGNATURE": post.headers["webhook-signature"],
    }
    for body, said in ((post.body.decode(), (0, "genuine\n")), ("{}", (1, "forged\n"))):
        done = subprocess.run(
            arguments,
            env=os.environ | given | {"BODY": body},
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert (done.returncode, done.stdout) == said, done.stderr
