"""compose.yaml and Dockerfile refer only to things that exist. The tests need no Docker."""

import re
from typing import Any

import pytest
import yaml

from imissive.env import Env
from imissive.run.programs import ROOT, commands

SERVERS = {"postgres", "redis", "rabbitmq"}


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text())[
        "services"
    ]
    return found


def test_every_process_is_a_service(services: dict[str, dict[str, Any]]) -> None:
    assert set(commands(Env())) <= set(services)


def test_services_run_programs_and_commands_that_exist(
    services: dict[str, dict[str, Any]],
) -> None:
    programs = commands(Env())
    for name, service in services.items():
        command = service.get("command", ["python", "-m", "imissive.run.programs", "web"])
        if name in SERVERS:
            continue
        assert command[0] == "python"
        if command[1:3] == ["-m", "imissive.run.programs"]:
            assert command[3] in programs
        elif command[1] == "manage.py":
            assert command[2] == "migrate" or list(
                ROOT.glob(f"*/management/commands/{command[2]}.py")
            )
        else:
            assert (ROOT / command[2].replace(".", "/")).is_dir()


def test_services_give_settings_that_exist(services: dict[str, dict[str, Any]]) -> None:
    known = {name.upper() for name in Env.model_fields}
    for name in set(services) - SERVERS:
        assert set(services[name]["environment"]) <= known


def test_what_the_image_copies_exists() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.M)
    paths = [path for line in copied for path in line.split()]
    assert "imissive" in paths
    for path in paths:
        assert (ROOT / path).exists(), path
    ignored = (ROOT / ".dockerignore").read_text()
    for path in paths:
        assert f"!{path}\n" in ignored
