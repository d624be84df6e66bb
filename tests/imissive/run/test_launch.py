"""`make run` from its user's view: start, output, stop, and persistent data."""

import os
import re
import signal
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from imissive.env import Env
from imissive.run.launch import Refusal, check_ports
from imissive.run.processes import free_port
from imissive.run.programs import ROOT
from imissive.run.unprivileged import die_with_parent
from tests.support.platforms import READY, Platform, until

DEMO_NAMES = [
    "IMISSIVE_URL",
    "IMISSIVE_SMPP_HOST",
    "IMISSIVE_SMPP_PORT",
    "IMISSIVE_API_KEY",
    "IMISSIVE_TEST_KEY",
    "IMISSIVE_SENDER_ID",
    "IMISSIVE_EMAIL",
    "IMISSIVE_PASSWORD",
    "IMISSIVE_ADMIN_EMAIL",
    "IMISSIVE_ADMIN_PASSWORD",
    "IMISSIVE_CREDITS",
    "IMISSIVE_SMPP_SYSTEM_ID",
    "IMISSIVE_SMPP_PASSWORD",
]


@pytest.fixture(scope="module")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, str]]:
    """Return one platform for this file, and the output of its first start."""
    platform = Platform(tmp_path_factory.mktemp("launch") / "var")
    platform.start()
    try:
        yield platform, platform.text
    finally:
        platform.close()


@pytest.fixture
def platform(first_start: tuple[Platform, str]) -> Platform:
    """Return the platform of this file, running: restart it if a test stopped it."""
    platform, _ = first_start
    if not platform.is_running():
        platform.start()
    becomes_ready(platform)
    return platform


def becomes_ready(platform: Platform) -> None:
    until(lambda: platform.get("/readyz")[0] == 200, 60, lambda: platform.get("/readyz"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.platform
def test_first_start_prints_all_addresses(first_start: tuple[Platform, str]) -> None:
    platform, text = first_start
    demo = platform.demo
    assert list(demo) == DEMO_NAMES
    assert demo["IMISSIVE_CREDITS"] == "100000"
    assert demo["IMISSIVE_URL"] == f"http://localhost:{platform.port}"
    for name in ("demo.env", "runtime.env", "boot.json"):
        assert mode(platform.data_dir / name) == 0o600
    assert mode(platform.data_dir) & 0o067 == 0
    for name in ("IMISSIVE_EMAIL", "IMISSIVE_PASSWORD", "IMISSIVE_ADMIN_PASSWORD"):
        assert text.count(demo[name]) == 1
    assert text.count(demo["IMISSIVE_API_KEY"]) == 2  # on its own and in the curl command
    assert demo["IMISSIVE_TEST_KEY"] not in text
    assert f"curl -X POST {demo['IMISSIVE_URL']}/v1/sms/send" in text
    assert "superuser privileges" not in text


@pytest.mark.platform
def test_platform_is_live_and_ready(platform: Platform) -> None:
    assert platform.get("/healthz") == (200, '{"status": "ok"}')
    becomes_ready(platform)


@pytest.mark.platform
def test_the_printed_curl_works(platform: Platform) -> None:
    """It is pasted into a shell unchanged."""
    found = re.search(r"^curl -X POST .*?^}'$", platform.text, re.M | re.S)
    assert found
    done = subprocess.run(["sh", "-c", found.group()], capture_output=True, text=True, timeout=20)
    assert '"message_id":"msg_' in done.stdout.replace(" ", ""), done


@pytest.mark.platform
def test_manage_py_works_during_make_run(platform: Platform) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--check"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=platform.environment(),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.platform
@pytest.mark.parametrize(
    "name", ["worker", "smpp", "carrier-simulator", "carriers", "valkey", "postgres"]
)
def test_killed_process_is_restarted(platform: Platform, name: str) -> None:
    platform.kill(name)
    becomes_ready(platform)


@pytest.mark.platform
def test_taken_port_gives_one_line(platform: Platform, tmp_path: Path) -> None:
    other = Platform(tmp_path / "var", PORT=str(platform.port))
    done = subprocess.run(
        [sys.executable, "-m", "imissive.run.launch"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=other.environment(),
        timeout=20,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"imissive: PORT {platform.port} is taken: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.platform
def test_data_folder_in_use_gives_one_line(platform: Platform) -> None:
    other = Platform(platform.data_dir)
    done = subprocess.run(
        [sys.executable, "-m", "imissive.run.launch"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=other.environment(),
        timeout=20,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "is in use by another imissive" in done.stderr
    becomes_ready(platform)


@pytest.mark.platform
def test_second_start_after_a_killed_launcher_keeps_the_data(platform: Platform) -> None:
    demo = platform.demo
    key = {"Authorization": f"Bearer {demo['IMISSIVE_API_KEY']}"}
    before = platform.get("/v1/balance", **key)
    platform.stop(signal.SIGKILL)
    seconds = platform.start()
    # Three on an idle machine; here other tests run at the same time.
    assert seconds < 30, platform.text
    assert platform.demo == demo
    assert platform.get("/v1/balance", **key) == before
    assert before[0] == 200


@pytest.mark.platform
def test_ctrl_c_ends_everything(platform: Platform) -> None:
    assert len(platform.processes()) > 8
    seconds = platform.stop(signal.SIGINT, group=True)
    assert seconds < 10
    assert platform.process is not None
    assert platform.process.returncode == 0
    assert platform.processes() == {}
    assert list((platform.data_dir / "pids").iterdir()) == []


@pytest.mark.platform
@pytest.mark.parametrize(
    "moment",
    ["starting postgres", "manage.py migrate", "carrier_worker_starts", READY],
    ids=["servers", "migrations", "processes", "ready"],
)
def test_ctrl_c_ends_make_run_quietly(platform: Platform, tmp_path: Path, moment: str) -> None:
    """Ctrl-C in a terminal signals make, the launcher and pip, at any moment of the start."""
    first = moment in ("starting postgres", "manage.py migrate")
    if not first:
        platform.stop()
    by_make = Platform(tmp_path / "var" if first else platform.data_dir)
    by_make.command = ("make", "run")
    by_make.start(line=moment)
    before = len(by_make.text)
    # Two seconds on an idle machine.
    assert by_make.stop(signal.SIGINT, group=True) < 5
    assert by_make.process is not None
    assert by_make.process.returncode == -signal.SIGINT
    by_make.reader.join(5)
    output = by_make.text[before:]
    assert not re.search(r"Traceback|\*\*\*|rror|starting it again", output), by_make.text
    until(lambda: by_make.processes() == {}, 5, by_make.processes)


@pytest.mark.platform
def test_changed_ports_are_applied(platform: Platform) -> None:
    demo = platform.demo
    platform.stop()
    moved = Platform(platform.data_dir, SMPP_PORT=platform.settings["SMPP_PORT"])
    moved.start()
    assert moved.demo == demo | {"IMISSIVE_URL": f"http://localhost:{moved.port}"}
    becomes_ready(moved)
    assert moved.stop(signal.SIGTERM) < 10
    assert moved.processes() == {}


@pytest.fixture
def database_of_ones_own() -> Iterator[str]:
    """Create an empty database that no platform started; return its URL."""
    url, name = os.environ["DATABASE_URL"], f"own_{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield urlsplit(url)._replace(path=f"/{name}").geturl()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.platform
def test_a_database_of_ones_own_gets_the_demo_only_if_asked(
    tmp_path: Path, database_of_ones_own: str
) -> None:
    def organizations() -> int:
        with psycopg.connect(database_of_ones_own) as connection:
            row = connection.execute("SELECT count(*) FROM accounts_organization").fetchone()
        assert row is not None
        return int(row[0])

    for asked in ({}, {"SEED_DEMO": "1"}):
        platform = Platform(tmp_path / "var", DATABASE_URL=database_of_ones_own, **asked)
        platform.holds_transitions = False
        try:
            platform.start()
            assert organizations() == len(asked)
            assert ("Demo login" in platform.text) is bool(asked)
            assert (tmp_path / "var" / "demo.env").exists() is bool(asked)
        finally:
            platform.close()


@pytest.mark.platform
def test_platform_ends_with_a_killed_test_run(platform: Platform) -> None:
    """A killed test run cannot stop the platforms that it started; they must stop on their own."""
    if sys.platform != "linux":
        pytest.skip("only Linux signals children when their parent dies")
    platform.stop()
    code = f"""
import time
from pathlib import Path
from tests.support.platforms import Platform
platform = Platform(Path({str(platform.data_dir)!r}))
platform.start()
print(platform.process.pid, flush=True)
time.sleep(60)
"""
    run = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=platform.environment(),
        preexec_fn=die_with_parent(signal.SIGKILL),
    )
    assert run.stdout is not None
    launcher = int(run.stdout.readline())
    run.kill()
    run.wait()
    until(lambda: not platform.processes(launcher), 15, lambda: platform.processes(launcher))


@pytest.mark.parametrize(
    ("setting", "value"), [("PORT", "http"), ("WEB_THREADS", "0"), ("LOG_LEVEL", "loud")]
)
def test_invalid_value_gives_one_line_with_its_name(
    tmp_path: Path, setting: str, value: str
) -> None:
    platform = Platform(tmp_path / "var", **{setting: value})
    done = subprocess.run(
        [sys.executable, "-m", "imissive.run.launch"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=platform.environment(),
        timeout=20,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"imissive: {setting}: ")


def test_unreachable_database_gives_one_line(tmp_path: Path) -> None:
    platform = Platform(tmp_path / "var")
    url = f"postgresql://somebody:hidden@127.0.0.1:{free_port()}/nothing"
    done = subprocess.run(
        [sys.executable, "-m", "imissive.run.launch"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=platform.environment(DATABASE_URL=url, REDIS_URL=os.environ["REDIS_URL"]),
        timeout=20,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("imissive: DATABASE_URL: ")
    assert done.stderr.count("\n") == 1
    assert "hidden" not in done.stderr + done.stdout


def test_two_settings_may_not_name_one_port() -> None:
    port = free_port()
    env = Env(port=port, smpp_port=free_port(), simulator_port=port)
    with pytest.raises(Refusal, match=f"SIMULATOR_PORT {port} is taken: it is also PORT"):
        check_ports(env)
