"""`manage.py listen` without its server loop: registration, signature check, and output."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from tests.support.factories import Api
from webhooks.endpoints.signing import Signer, new_secret
from webhooks.management.commands import listen

EVENT = {
    "event": "message.delivered",
    "message_id": "msg_01hm6v0q8nfj2r4t6v8x0z2a4c",
    "timestamp": "2024-01-15T10:01:23Z",
    "data": {"to": "+966501234567", "status": "delivered"},
}


class InProcess(listen.Platform):
    """A client of the API without a network."""

    def __init__(self, api: Api) -> None:
        self._client = Client(headers={"Authorization": f"Bearer {api.secret}"})

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = "" if body is None else json.dumps(body)
        response = self._client.generic(method, path, data, "application/json")
        assert response.status_code < 300, response.content
        return json.loads(response.content) if response.content else None


def test_it_registers_and_removes_the_endpoint_of_an_earlier_run(api: Api, settings: Any) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = True
    platform = InProcess(api)
    other = platform.call("POST", "/v1/webhooks", {"url": "https://example.com/"})
    left = listen.register(platform, "http://127.0.0.1:8900/", [])
    endpoint = listen.register(platform, "http://127.0.0.1:8900/", ["message.sent"])
    assert endpoint["secret"].startswith("whsec_")
    assert endpoint["events"] == ["message.sent"]
    there = {row["id"] for row in platform.call("GET", "/v1/webhooks")["data"]}
    assert there == {other["id"], endpoint["id"]} != {left["id"]}


def test_it_prints_a_line_for_each_event_and_refuses_wrong_signatures() -> None:
    printed: list[str] = []
    secret = new_secret()
    receiver = listen.Receiver(secret, printed.append)
    body = json.dumps(EVENT)
    assert receiver.receive(Signer([secret]).headers("evt_1", body), body.encode()) == 204
    assert receiver.receive(Signer([new_secret()]).headers("evt_1", body), body.encode()) == 400
    assert receiver.receive(dict.fromkeys(listen.HEADERS, ""), b"{}") == 400
    assert receiver.count == 1
    assert printed[0] == (
        "2024-01-15T10:01:23Z  message.delivered  msg_01hm6v0q8nfj2r4t6v8x0z2a4c"
        "  to=+96650…67 status=delivered"
    )
    assert [line.split()[0] for line in printed[1:]] == ["REFUSED", "REFUSED"]


def test_the_demos_key_is_found(tmp_path: Path, settings: Any, monkeypatch: Any) -> None:
    settings.DATA_DIR = tmp_path
    monkeypatch.delenv("IMISSIVE_URL", raising=False)
    monkeypatch.delenv("IMISSIVE_API_KEY", raising=False)
    with pytest.raises(CommandError, match="IMISSIVE_URL is neither set nor in"):
        call_command("listen")
    (tmp_path / "demo.env").write_text(
        "# the demo\nIMISSIVE_URL=http://127.0.0.1:1/\nIMISSIVE_API_KEY=imk_live_1\n"
    )
    with pytest.raises(CommandError, match=r"http://127.0.0.1:1 cannot be reached"):
        call_command("listen", port=0)
