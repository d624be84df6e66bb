"""The box in which operators try a route: it says what accepting then does, and why."""

import pytest
from django.test import Client

from accounts.access.page_access import public_id
from accounts.models import MICRO
from messaging.models import Carrier, Route
from messaging.routing import cache
from tests.support.factories import PHONE, Customer, World
from tests.support.people import (
    PLAIN_STATIC,
    browser,
    member,
    operator,
    person,
)

TRY = "/admin/messaging/route/try_it/"


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def admin(db: None) -> Client:
    return browser(operator())


def _asked(customer: Customer, **changes: str) -> dict[str, str]:
    return {
        "organization": public_id(customer.organization),
        "to": PHONE,
        "sender": "",
        "text": "Hello",
    } | changes


def _trial(admin: Client, customer: Customer, **changes: str):
    response = admin.get(TRY, _asked(customer, **changes))
    assert response.status_code == 200
    return response.context["trial"], response.content.decode()


def test_the_empty_box(admin: Client, customer: Customer) -> None:
    page = admin.get(TRY, {"organization": "Najd"})
    assert page.context["trial"] is None
    assert 'value="Najd"' in page.content.decode()


def test_it_says_what_accepting_does(
    admin: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    trial, page = _trial(admin, customer)
    sent = customer.api.post("/v1/sms/send", {"to": PHONE, "message": "Hello"}).json()
    (message,) = customer.messages()
    assert trial.opinion.carriers[0].id == message.carrier_id == carrier.pk
    assert trial.opinion.price == message.price == MICRO
    assert sent["credits"] == "1"
    assert (trial.route.prefix, trial.price.prefix) == ("966", "966")
    assert "Would be accepted" in page
    assert "longest prefix" in page


def test_the_organizations_own_route_and_price_win(
    admin: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    own, second = world.carrier(), world.carrier()
    world.route("9665", own, second, owner=customer)
    world.price("", 3 * MICRO, owner=customer)
    trial, page = _trial(admin, customer)
    assert trial.route.organization == customer.organization
    assert [step.carrier for step in trial.steps] == [own, second]
    assert [step.chosen for step in trial.steps] == [True, False]
    assert trial.opinion.price == 3 * MICRO
    assert page.count("the organization's own") == 2


def test_the_order_when_carriers_are_held(admin: Client, world: World, customer: Customer) -> None:
    stopped, drained, working = (
        world.carrier(enabled=False), world.carrier(draining=True), world.carrier(),
    )  # fmt: skip
    world.route("96650", stopped, drained, working)
    trial, page = _trial(admin, customer)
    assert [step.carrier for step in trial.steps] == [working, drained, stopped]
    assert [step.chosen for step in trial.steps] == [True, False, False]
    assert "Draining: tried last" in page
    assert "Stopped: passed over" in page
    customer.api.post("/v1/sms/send", {"to": PHONE, "message": "Hello"})
    assert customer.messages()[0].carrier == working
    # Where nothing else is left, messages wait for the one that is drained.
    Route.objects.get(prefix="96650").steps.filter(carrier=working).delete()
    cache.reload()
    trial, _ = _trial(admin, customer)
    assert [step.carrier for step in trial.steps if step.chosen] == [drained]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"to": "+12025550123"}, "None serves this number"),
        ({"to": "nonsense"}, "INVALID_PHONE"),
        ({"sender": "NotMine"}, "INVALID_SENDER"),
        ({"text": "x" * 1800}, "MESSAGE_TOO_LONG"),
        ({"text": "x" * 159 + "€"}, 'Parts: <bdi dir="ltr">2<'),
        ({"organization": "no such name"}, "There is no such organization"),
        ({"organization": "Customer"}, "Several are called so"),
        ({"to": ""}, "This field is required"),
        ({"test": "on"}, "DESTINATION_BLOCKED"),
    ],
)
def test_what_it_tells(
    admin: Client, customer: Customer, outsider: Customer, changes: dict[str, str], expected: str
) -> None:
    assert expected in _trial(admin, customer, **changes)[1]
    assert customer.messages() == []


def test_the_balance_is_looked_at(admin: Client, world: World, carrier: Carrier) -> None:
    poor = world.customer(credits=1)
    assert "Would be accepted" in _trial(admin, poor)[1]
    assert "Not covered" in _trial(admin, poor, text="x" * 200)[1]


def test_who_may_try(customer: Customer) -> None:
    assert browser(person(is_staff=True)).get(TRY, _asked(customer)).status_code == 403
    assert browser(member(customer.organization)).get(TRY).status_code == 302
