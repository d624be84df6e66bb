"""Machines whose clocks are wrong: the database's decides, and the log says whose is off.

The clocks are really wrong: a library before libc's tells a process another time.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dotenv import dotenv_values
from structlog.testing import capture_logs

from imissive.core import clock
from imissive.run.processes import free_port
from imissive.run.programs import ROOT
from tests.support.platforms import until
from tests.support.running_platform import Site
from tests.support.scenes import BINDS, WINDOW, Scene
from tests.support.simulators import running_simulator
from tests.support.webhook_receivers import receiver

SKEWS = (-90, 90)


# ---------------------------------------------------------------- measurements


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "_offset": 0.0, "_measured": 0.0, "_due_at": float("-inf"), "_alarm_at": float("-inf"),
    }.items():  # fmt: skip
        monkeypatch.setattr(clock, name, value)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("behind", "took", "corrected", "alarmed"),
    [
        (0.0, 0.01, 0.0, 0),
        (0.2, 0.01, 0.0, 0),  # not noticeable
        (-0.2, 0.01, 0.0, 0),
        (0.9, 0.01, 0.9, 0),
        (-0.9, 0.01, -0.9, 0),
        (90.0, 0.01, 90.0, 1),
        (-90.0, 0.01, -90.0, 1),
        (90.0, 0.5, 0.0, 0),  # a response that took too long to be exact
        (90.0, -5.0, 0.0, 0),  # the clock was set meanwhile
    ],
)
def test_the_result_of_a_measurement(
    behind: float, took: float, corrected: float, alarmed: int
) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            clock.learn(1000.0 + behind, 1000.0 - took / 2, 1000.0 + took / 2)
    off = (clock.now() - datetime.now(UTC)).total_seconds()
    assert off == pytest.approx(corrected, abs=0.05)
    assert [log["event"] for log in logs] == ["clock_is_off"] * alarmed


@pytest.mark.usefixtures("fresh")
def test_a_corrected_clock_is_used_again() -> None:
    for behind in (90.0, 90.1, 0.1):
        clock.learn(1000.0 + behind, 1000.0, 1000.0)
    assert clock.offset() == pytest.approx(0.1)
    assert abs((clock.now() - datetime.now(UTC)).total_seconds()) < 0.05


@pytest.mark.usefixtures("fresh")
def test_the_clock_is_measured_periodically(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [clock.is_due() for _ in range(3)] == [True, False, False]
    monkeypatch.setattr(clock, "_due_at", time.monotonic() - 1)
    assert clock.is_due()


# ---------------------------------------------------------------- wrong clocks

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long skew(void) { const char *s = getenv("SKEW"); return s ? atol(s) : 0; }
int clock_gettime(clockid_t id, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int found = real(id, at);
    if (!found && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) at->tv_sec += skew();
    return found;
}
int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec; at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that tells the wrong time."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler on Linux")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    command = [compiler, "-shared", "-fPIC", "-o", "shim.so", "shim.c", "-ldl"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "shim.so"


@contextmanager
def elsewhere(site: Site, shim: Path, skew: int, module: str, **more: str) -> Iterator[Path]:
    """A process of the platform on a machine whose clock is wrong; where it writes to."""
    folder = site.folder / f"{module}{skew}"
    folder.mkdir(exist_ok=True)
    runtime = dotenv_values(site.data_dir / "runtime.env")
    kept = {name: value or "" for name, value in runtime.items()}
    environment = site.environment(**kept, **more, DATA_DIR=str(folder))
    environment |= {"LD_PRELOAD": str(shim), "SKEW": str(skew)}
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield log
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def scene(site: Site) -> Iterator[Scene]:
    with running_simulator(receipt_delay=0.05) as carrier, receiver() as customer:
        site.reset()
        site.use_simulator(carrier.port, binds=BINDS, window=WINDOW)
        yield Scene(site, carrier, customer, set())


def test_the_shim_returns_the_wrong_time(shim: Path) -> None:
    code = "import time, datetime; print(time.time(), datetime.datetime.now().timestamp())"
    output = subprocess.check_output(
        [sys.executable, "-c", code],
        env=os.environ | {"LD_PRELOAD": str(shim), "SKEW": "90"},
        text=True,
    )
    for seconds in output.split():
        assert 85 < float(seconds) - time.time() < 95


@pytest.mark.platform
@pytest.mark.timeout(180)
@pytest.mark.parametrize("skew", SKEWS)
def test_a_web_host_with_a_wrong_clock(scene: Scene, shim: Path, skew: int) -> None:
    """Neither delayed, which a clock that is ahead did, nor expired, which one behind did."""
    site, right = scene.site, scene.site.port
    with elsewhere(site, shim, skew, "imissive.run.web", PORT=str(port := free_port())) as log:
        site.port = port
        try:
            until(lambda: site.request("GET", "/healthz")[0] == 200, 60, log.read_text)
            body = {"to": f"+{scene.number()}", "message": "In time", "validity": 30}
            status, response = site.post("/v1/sms/send", body)
            assert status == 202, response
            scene.sent.add(response["message_id"])
            accepted = time.monotonic()
            at = datetime.fromisoformat(response["created_at"])
            assert abs(at - datetime.now(UTC)) < timedelta(seconds=5)
            code = site.post("/v1/otp/send", {"phone": f"+{scene.number()}"})[1]
            until(lambda: len(scene.carrier.accepted) == 2, 20)
            assert time.monotonic() - accepted < 20
            text = next(s.text for s in scene.carrier.accepted if "In time" not in s.text)
            digits = "".join(filter(str.isdigit, text))[:6]
            check = {"otp_id": code["otp_id"], "code": digits}
            assert site.post("/v1/otp/verify", check)[1]["verified"] is True
            later = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
            body = {"to": f"+{scene.number()}", "message": "Later", "scheduled_at": later}
            status, response = site.post("/v1/sms/send", body)
            assert status == 202, response
            scene.sent.add(response["message_id"])
            until(lambda: len(scene.carrier.accepted) == 3, 20)
            until(lambda: "clock_is_off" in log.read_text(), 20, log.read_text)
        finally:
            site.port = right
    site.settle(60)
    statuses = site.sql("SELECT status, count(*) FROM messaging_message GROUP BY 1")
    assert statuses == [("delivered", 3)]


@pytest.mark.platform
@pytest.mark.timeout(180)
@pytest.mark.parametrize("skew", SKEWS)
def test_a_carrier_worker_with_a_wrong_clock(scene: Scene, shim: Path, skew: int) -> None:
    """It retries in time, and writes correct times."""
    site = scene.site
    with elsewhere(site, shim, skew, "imissive.run.carriers"):
        until(lambda: scene.carrier.bound == 2 * BINDS, 60, lambda: site.text[-3000:])
        started = datetime.now(UTC) - timedelta(seconds=5)
        for _ in range(40):
            scene.send_one()
        # Throttled twice, so queued again for a while from now.
        site.post("/v1/sms/send", {"to": "+966500000004", "message": "Throttled"})
        site.settle(40)
        assert site.sql("SELECT DISTINCT status FROM messaging_message") == [("delivered",)]
        [(first, last)] = site.sql(
            "SELECT min(least(sent_at, final_at)), max(greatest(sent_at, final_at))"
            " FROM messaging_message"
        )
        assert started < first <= last < datetime.now(UTC) + timedelta(seconds=5)
