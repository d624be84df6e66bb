"""The whole API against its schema, with a member's key, an outsider's and none.

`make conformance` runs more of it. Each call is rolled back after its check, so that all find the
same data: one customer with an object of each kind.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
import pytest
from schemathesis.generation.stateful.state_machine import StepInput, StepOutput

from accounts.models import Organization
from messaging.models import Batch, Suppression
from messaging.states import Status
from otp.models import CodeSend
from tests.support import conformance
from tests.support.conformance import Caller
from tests.support.factories import SENDER, Customer, World
from webhooks.events import outbox
from webhooks.events.outbox import NewEvent
from webhooks.models import Delivery, Endpoint, EventType

everything = conformance.load()
of_objects = conformance.load(examples=conformance.EXAMPLES // 4, invalid=False).include(
    lambda context: "{" in context.operation.path or context.operation.method == "get"
)
a_few = conformance.load(examples=2, invalid=False, boundaries=False)
relaxed = hypothesis.settings(
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)


PERIOD = {"from": "2026-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}


@pytest.fixture
def owner(world: World) -> Customer:
    """Create a customer with very high rate limits."""
    world.serve()
    return _unlimited(world.customer(1_000))


@pytest.fixture
def objects(world: World, owner: Customer) -> dict[str, str]:
    """Create an object of each kind, and return their ids by the names of path parameters."""
    otp = owner.api.post("/v1/otp/send", {"phone": "+966500000002"})
    # The verification's cooldown is over.
    CodeSend.objects.update(at=datetime.now(UTC) - timedelta(minutes=2))
    batch = Batch.objects.create(organization=owner.organization)
    message = world.message(owner, world.carriers[0], batch=batch)
    endpoint = world.endpoint(owner)
    happened = datetime.now(UTC)
    outbox.record(
        [NewEvent(owner.id, EventType.MESSAGE_SENT, happened, message.id, {}, test=False)]
    )
    arrived = {"status": Delivery.Status.DELIVERED, "finished_at": happened}
    Delivery.objects.filter(endpoint=endpoint).update(**arrived)
    return {
        "message_id": message.public_id,
        "batch_id": str(batch),
        "webhook_id": endpoint.public_id,
        "delivery_id": Delivery.objects.get(endpoint=endpoint).public_id,
        "otp_id": otp.json()["otp_id"],
        "number": Suppression.objects.create(
            organization=owner.organization, number="+966500000009", source="api"
        ).number,
        "sender_id": world.sender(owner, "Another", status="pending").public_id,
    }


@pytest.fixture
def over(world: World, owner: Customer) -> dict[str, str]:
    """Create completed objects, which allow no more operations, and return their ids."""
    now = datetime.now(UTC)
    ended = {"status": Status.DELIVERED, "due_at": None, "final_at": now}
    batch = Batch.objects.create(organization=owner.organization)
    message = world.message(owner, world.carriers[0], batch=batch, **ended)
    endpoint = world.endpoint(owner)
    outbox.record([NewEvent(owner.id, EventType.MESSAGE_SENT, now, message.id, {}, test=False)])
    Endpoint.objects.filter(id=endpoint.id).update(enabled=False)
    otp = owner.api.post("/v1/otp/send", {"phone": "+966500000003"}).json()["otp_id"]
    assert owner.api.post(f"/v1/otp/{otp}/cancel").status_code == 200
    return {
        "message_id": message.public_id,
        "batch_id": str(batch),
        "webhook_id": endpoint.public_id,
        "delivery_id": Delivery.objects.get(endpoint=endpoint).public_id,
        "otp_id": otp,
        "number": "+966500000008",
        "sender_id": world.sender(owner, "Refused", status="rejected", reason="No").public_id,
    }


def _unlimited(customer: Customer) -> Customer:
    limits = {"send_per_minute": 10**7, "bulk_per_minute": 10**7, "calls_per_minute": 10**7}
    Organization.objects.filter(id=customer.id).update(**limits)
    return customer


@pytest.fixture
def member(owner: Customer, objects: dict[str, str], over: dict[str, str]) -> Caller:
    mobile = "+966500000001"
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")
    values = {
        "to": mobile,
        "phone": mobile,
        "message": "Hello",
        "sender_id": SENDER,
        "scheduled_at": tomorrow,
        "otp_id": objects["otp_id"],
    }
    return Caller(owner.api.secret, (objects, over), values, periods=PERIOD)


@pytest.fixture
def succeeding(member: Caller) -> Iterator[Caller]:
    """Check that each operation succeeded at least once: otherwise it was not tested."""
    yield member
    assert member.succeeded


@everything.parametrize()
@relaxed
def test_member(case: Any, succeeding: Caller) -> None:
    succeeding.make(case)


@of_objects.parametrize()
@relaxed
def test_outsider(case: Any, objects: dict[str, str], outsider_key: str) -> None:
    """Another organization's key never finds or reveals the owner's objects."""
    response = Caller(outsider_key, [objects], always=True).make(case)
    assert response.status_code != 401
    if case.path_parameters:
        assert response.status_code >= 400
    assert not any(id in response.text for id in objects.values())


@pytest.fixture
def outsider_key(outsider: Customer) -> str:
    return _unlimited(outsider).api.secret


@a_few.parametrize()
@relaxed
def test_anonymous(case: Any, objects: dict[str, str]) -> None:
    """Without a key, every call gets 401."""
    assert Caller("", [objects], always=True).make(case).status_code == 401


def test_chains_of_calls(member: Caller) -> None:
    """Chains of calls along the schema's links: created objects are read, changed and deleted."""
    led: set[str] = set()

    class Chain(everything.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            self.undoing = conformance.undone()
            self.undoing.__enter__()

        def teardown(self) -> None:
            self.undoing.__exit__(None, None, None)

        def step(self, input: StepInput) -> StepOutput:
            output = super().step(input)
            if input.is_applied and output.response.status_code < 300:
                led.add(input.case.operation.label)
            return output

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            member.fill(case)
            return {"headers": member.headers}

        def validate_response(self, response: Any, case: Any, **kwargs: Any) -> None:
            case.validate_response(
                response,
                headers=member.headers,
                additional_checks=[
                    conformance.valid_is_understood,
                    conformance.problems_are_reported,
                ],
                recorder=self.recorder,
            )

    chains = max(5, conformance.EXAMPLES // 2)
    Chain.run(
        settings=hypothesis.settings(
            relaxed, derandomize=conformance.REPEATED, database=None, max_examples=chains
        )
    )
    assert len(led) >= 5, led
