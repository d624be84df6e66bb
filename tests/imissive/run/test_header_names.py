"""Header names with an underscore, sent to the real HTTP server with the real command's options.

The server merges `X_Forwarded_For` with `X-Forwarded-For`. A header without a hyphen has no twin.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import RequestFactory

from imissive.core.api.requests import client_address
from imissive.env import read_env
from imissive.run.processes import free_port
from imissive.run.programs import ROOT
from tests.support.platforms import until

REAL, EVIL = "198.51.100.1", "192.0.2.66"
APPLICATION = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    shown = sorted(f"{k}={v}" for k, v in environ.items() if k.startswith("HTTP_"))
    return ["\\n".join(shown).encode()]
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Start the web program with an application that returns its headers; return its port."""
    folder = tmp_path_factory.mktemp("web")
    (folder / "headers.py").write_text(APPLICATION)
    env = read_env(port=str(free_port()), web_workers="1", web_threads="1")
    # The web program itself, with another application.
    program = "from imissive.run import web; web.APPLICATION = 'headers'; web.main()"
    # Of the folder, `python -c` finds the application; of the project, our modules.
    variables = os.environ | {"PORT": str(env.port), "WEB_WORKERS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", program], cwd=folder, env=variables)
    try:
        until(lambda: _answers(env.port), 30)
        yield env.port
    finally:
        process.terminate()
        process.wait(20)


def _answers(port: int) -> bool:
    try:
        return "HTTP_HOST" in headers_of(port)
    except OSError:
        return False


def headers_of(port: int, *lines: str) -> dict[str, str]:
    """Return the headers that the application gets, from a request with those lines."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        head = ["GET / HTTP/1.1", "Host: x", "Connection: close", *lines, "", ""]
        connection.sendall("\r\n".join(head).encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    body = answer.partition(b"\r\n\r\n")[2].decode()
    return dict(line.split("=", 1) for line in body.splitlines() if "=" in line)


def address(headers: dict[str, str]) -> str:
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1")
    request.META.update(headers)
    return client_address(request)


def test_the_server_still_merges_both_spellings(port: int, settings: Any) -> None:
    """Where this fails, the server tells them apart, and the advice in the documents may go."""
    settings.TRUSTED_PROXIES = 1
    found = headers_of(port, f"X-Forwarded-For: {REAL}", f"X_Forwarded_For: {EVIL}")
    assert address(found) == EVIL


@pytest.mark.parametrize(
    "more",
    [
        ["Client_Address: {}"],
        ["Client-Address: {}"],
        ["X_Forwarded_For: {}", "X-Forwarded-For: {}"],
        ["_ClientAddress: {}", "ClientAddress_: {}"],
    ],
    ids=str,
)
def test_a_header_without_a_hyphen_has_no_look_alike(
    port: int, settings: Any, more: list[str]
) -> None:
    settings.TRUSTED_PROXIES, settings.CLIENT_ADDRESS_META = 1, "HTTP_CLIENTADDRESS"
    forged = [line.format(EVIL) for line in more]
    for lines in ([f"ClientAddress: {REAL}", *forged], [*forged, f"ClientAddress: {REAL}"]):
        assert address(headers_of(port, *lines)) == REAL


def test_the_header_of_the_settings_is_the_usual_one() -> None:
    assert settings.CLIENT_ADDRESS_META == "HTTP_X_FORWARDED_FOR"
