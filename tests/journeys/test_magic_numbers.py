"""The contract's magic numbers over REST with a test key, on the running platform, free.

`tests/messaging/gateway/test_server_killed.py` covers them over SMPP, and
`tests/messaging/smpp/test_simulator.py` that the eighth takes 60 seconds.
"""

import json
from collections import Counter
from typing import Any

import pytest

from tests.support.platforms import until
from tests.support.running_platform import Site
from tests.support.webhook_receivers import receiver

pytestmark = pytest.mark.platform

FATES: dict[str, tuple[str, str | None, set[str]]] = {
    "+966500000001": ("delivered", None, {"queued", "sent", "delivered"}),
    "+966500000002": ("failed", "UNDELIV", {"queued", "sent", "failed"}),
    "+966500000003": ("failed", "ESME_RINVDSTADR", {"queued", "failed"}),
    "+966500000004": ("delivered", None, {"queued", "sent", "delivered"}),
    "+966500000005": ("expired", "EXPIRED", {"queued", "sent", "expired"}),
    "+966500000006": ("delivered", None, {"queued", "sent", "delivered"}),
    "+966500000007": ("delivered", None, {"queued", "sent", "delivered"}),
    "+966500000008": ("sent", None, {"queued", "sent"}),
    "+966551234567": ("delivered", None, {"queued", "sent", "delivered"}),
}
"""For each number: its final status, the error code, and the events that are posted."""


def test_each_number_has_its_outcome(site: Site) -> None:
    key = site.demo["IMISSIVE_TEST_KEY"]
    before = site.sql("SELECT micro FROM accounts_balance")
    with receiver() as hook:
        _, endpoint = site.post("/v1/webhooks", {"url": hook.url}, key=key)
        sent: dict[str, str] = {}
        for to in FATES:
            body = {"to": to, "message": "Magic", "sender_id": "AnyName", "validity": 3600}
            status, response = site.post("/v1/sms/send", body, key=key)
            assert (status, response["test"], response["credits"]) == (202, True, "0"), response
            sent[to] = response["message_id"]

        def now(to: str) -> tuple[str, str | None]:
            message = site.request("GET", f"/v1/sms/{sent[to]}", key=key)[1]
            return message["status"], (message["error"] or {}).get("code")

        until(lambda: now("+966500000005")[0] == "sent", 20, lambda: now("+966500000005"))
        # Its validity of an hour passes; beat expires it.
        site.sql(
            "UPDATE messaging_message SET due_at = now() WHERE \"to\" = '+966500000005'"
            " AND status = 'sent'"
        )

        def events_by_number() -> dict[str, Counter[str]]:
            found: dict[str, Counter[str]] = {to: Counter() for to in FATES}
            for post in hook.posts:
                event: dict[str, Any] = post.verified(endpoint["secret"])
                assert event["data"].get("test") is True, json.dumps(event)
                found[event["data"]["to"]][event["event"].removeprefix("message.")] += 1
            return found

        expected = {to: Counter(events) for to, (_, _, events) in FATES.items()}
        until(lambda: events_by_number() == expected, 30, events_by_number)
        assert {to: now(to) for to in FATES} == {to: fate[:2] for to, fate in FATES.items()}
    assert site.sql("SELECT micro FROM accounts_balance") == before
