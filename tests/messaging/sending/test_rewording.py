"""Another wording changes no behaviour: every way in decides the same, whatever sentences say."""

from typing import Any

import pytest

from imissive.core.problems import Reason
from messaging.campaigns import chunks
from messaging.gateway.store import code_of
from messaging.models import Carrier, Suppression
from messaging.sending.accept import SendRequest, accept, accept_each
from messaging.sending.evaluation import Draft
from tests.support import campaigns
from tests.support.factories import Customer, World

REFUSED = "+966500000077"
BODIES: dict[str, dict[str, Any]] = {
    "empty": {"to": "+966501234567", "message": " "},
    "NUL": {"to": "+966501234567", "message": "a\0"},
    "too long": {"to": "+966501234567", "message": "x" * 1600},
    "no number": {"to": "hello", "message": "Hi"},
    "a fixed line": {"to": "+966112345678", "message": "Hi"},
    "opted out": {"to": REFUSED, "message": "Hi"},
    "not enabled": {"to": "+201001234567", "message": "Hi"},
    "a sender": {"to": "+966501234567", "message": "Hi", "sender_id": "Nobody"},
    "a time": {"to": "+966501234567", "message": "Hi", "scheduled_at": "yesterday"},
    "a field": {"to": "+966501234567", "message": "Hi", "colour": "red"},
}
ROWS = "phone,name\n12345,A\n+966500000077,B\n0112345678,C\n0501234567,\n+201001234567,D\n"


@pytest.fixture
def customer(world: World, carrier: Carrier) -> Customer:
    customer = world.customer()
    Suppression.objects.create(organization=customer.organization, number=REFUSED, source="api")
    return customer


def _decisions(customer: Customer) -> dict[str, Any]:
    """What the API, SMPP and a campaign decide, without the sentences."""
    found: dict[str, Any] = {}
    for name, body in BODIES.items():
        answer = customer.api.post("/v1/sms/send", body)
        error = answer.json()["error"]
        found[name] = (answer.status_code, error["code"], error["field"])
        draft = Draft(body["to"], body["message"], body.get("sender_id"))
        request = SendRequest(customer.organization.id, "smpp")
        if name not in ("a time", "a field"):
            found[f"{name} by SMPP"] = code_of(accept_each([(request, draft)])[0])
            found[f"{name} again"] = type(accept(request, [draft]).outcomes[0]).__name__
    campaign = campaigns.checked(campaigns.uploaded(customer, [ROWS.encode()]))
    found["rows"] = [
        row[:4] for each in chunks.chunks_of(campaign) for row in chunks.bad_rows(each)
    ]
    return found


def test_rewording_changes_no_decision(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _decisions(customer)
    assert before["empty by SMPP"] == "EMPTY_MESSAGE"
    assert [row[2] for row in before["rows"]] == [
        "number", "suppressed", "number", "variable", "destination",
    ]  # fmt: skip
    for room in Reason.__subclasses__():
        for reason in room:
            text = "".join(f" %({name})s" for name in sorted(reason.parameters))
            monkeypatch.setattr(reason, "text", f"Quite another sentence{text}.")
    sentence = customer.api.post("/v1/sms/send", BODIES["empty"]).json()["error"]["message"]
    assert sentence == "Quite another sentence."
    assert _decisions(customer) == before
