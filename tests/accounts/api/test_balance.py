"""GET /v1/balance."""

import pytest

from accounts.keys.api_keys import create_key
from accounts.models import MICRO, Organization
from accounts.roles import Scope
from tests.support.factories import PHONE, Api, client

URL = "/v1/balance"


def test_it_returns_the_credits_and_the_alerts_threshold(api, customer):
    Organization.objects.filter(id=customer.id).update(low_balance_threshold=2_500_000)
    response = api.get(URL)
    assert response.status_code == 200
    assert response.json() == {"credits": "100", "low_balance_threshold": "2.5"}


def test_it_falls_with_what_is_sent(api):
    api.post("/v1/sms/send", {"to": PHONE, "message": "م" * 71})
    assert api.get(URL).json()["credits"] == "98"


@pytest.mark.parametrize(
    ("micro", "shown"),
    [(1, "0.000001"), (45_000, "0.045"), (99_955_000, "99.955"), (100 * MICRO, "100")],
)
def test_credits_are_exact_decimals_without_trailing_zeros(world, micro, shown):
    world.carrier()
    world.route("966", world.carriers[0])
    world.price("966", 100 * MICRO - micro)
    customer = world.customer(credits=100)
    if micro < 100 * MICRO:
        assert customer.api.post("/v1/sms/send", {"to": PHONE, "message": "x"}).status_code == 202
    assert customer.api.get(URL).json()["credits"] == shown


def test_without_a_top_up_there_are_no_credits(world):
    organization = Organization.objects.create(name="New")
    _, secret = create_key(organization, "k", test=False)
    assert Api(secret).get(URL).json() == {"credits": "0", "low_balance_threshold": "0"}


def test_it_is_the_callers_own(api, outsider):
    assert outsider.api.post("/v1/sms/send", {"to": PHONE, "message": "x"}).status_code in (
        202,
        403,
    )
    assert api.get(URL).json()["credits"] == "100"


@pytest.mark.parametrize(
    ("scopes", "status"), [([], 200), ([Scope.BALANCE], 200), ([Scope.SMS_SEND], 403)]
)
def test_it_needs_its_scope(customer, scopes, status):
    _, secret = create_key(customer.organization, "k", test=False, scopes=scopes)
    assert Api(secret).get(URL).status_code == status


def test_a_suspended_organization_is_refused(api, customer):
    Organization.objects.filter(id=customer.id).update(status=Organization.Status.SUSPENDED)
    response = api.get(URL)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "FORBIDDEN")


def test_it_needs_a_key():
    response = client.get(URL)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "UNAUTHORIZED")
