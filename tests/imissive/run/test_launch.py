"""`make run` from its user's view: start, output, stop, and persistent data."""

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imissive.env import Env
from imissive.run.launch import Refusal, check_ports
from imissive.run.processes import free_port
from imissive.run.programs import ROOT
from tests.support.platforms import Platform, until

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
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Return one platform for this file, whose tests run in order."""
    platform = Platform(tmp_path_factory.mktemp("launch") / "var")
    yield platform
    platform.close()


def becomes_ready(platform: Platform) -> None:
    until(lambda: platform.get("/readyz")[0] == 200, 60, lambda: platform.get("/readyz"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.platform
def test_first_start_says_where_everything_is(platform: Platform) -> None:
    platform.start()
    demo = platform.demo
    assert list(demo) == DEMO_NAMES
    assert demo["IMISSIVE_CREDITS"] == "100000"
    assert demo["IMISSIVE_URL"] == f"http://localhost:{platform.port}"
    for name in ("demo.env", "runtime.env", "boot.json"):
        assert mode(platform.data_dir / name) == 0o600
    assert mode(platform.data_dir) & 0o067 == 0
    for name in ("IMISSIVE_EMAIL", "IMISSIVE_PASSWORD", "IMISSIVE_ADMIN_PASSWORD"):
        assert platform.text.count(demo[name]) == 1
    assert platform.text.count(demo["IMISSIVE_API_KEY"]) == 2  # on its own and in the curl command
    assert demo["IMISSIVE_TEST_KEY"] not in platform.text
    assert f"curl -X POST {demo['IMISSIVE_URL']}/v1/sms/send" in platform.text
    assert platform.get("/healthz") == (200, '{"status": "ok"}')
    becomes_ready(platform)
    assert "superuser privileges" not in platform.text


@pytest.mark.platform
def test_the_printed_curl_works(platform: Platform) -> None:
    """It is pasted into a shell as it is printed."""
    found = re.search(r"^curl -X POST .*?^}'$", platform.text, re.M | re.S)
    assert found
    done = subprocess.run(["sh", "-c", found.group()], capture_output=True, text=True, timeout=20)
    assert '"message_id":"msg_' in done.stdout.replace(" ", ""), done


@pytest.mark.platform
def test_manage_py_works_beside_it(platform: Platform) -> None:
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
def test_killed_process_is_started_again(platform: Platform, name: str) -> None:
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
    platform.stop(signal.SIGKILL)
    seconds = platform.start()
    # Ten on an idle machine; here other tests run at the same time.
    assert seconds < 30, platform.text
    assert platform.demo == demo
    status, body = platform.get("/v1/balance", Authorization=f"Bearer {demo['IMISSIVE_API_KEY']}")
    assert (status, '"99999"' in body) == (200, True), body


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
def test_changed_ports_are_taken_in(platform: Platform) -> None:
    demo = platform.demo
    platform.port = free_port()
    platform.settings |= {"PORT": str(platform.port), "SIMULATOR_PORT": str(free_port())}
    platform.start()
    assert platform.demo == demo | {"IMISSIVE_URL": f"http://localhost:{platform.port}"}
    becomes_ready(platform)
    assert platform.stop(signal.SIGTERM) < 10
    assert platform.processes() == {}


@pytest.mark.parametrize(
    ("setting", "value"), [("PORT", "http"), ("WEB_THREADS", "0"), ("LOG_LEVEL", "loud")]
)
def test_wrong_value_gives_one_line_with_its_name(tmp_path: Path, setting: str, value: str) -> None:
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


def test_database_that_does_not_answer_gives_one_line(tmp_path: Path) -> None:
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
