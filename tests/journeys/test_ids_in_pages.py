"""Ids beyond their range in the addresses of pages: 404, whatever they are ids of."""

import re
from typing import Any

import pytest
from django.test import Client

from accounts.access.page_access import public_id
from messaging.models import Carrier
from tests.support.dashboard_pages import url_of, url_parameters
from tests.support.factories import Customer, World
from tests.support.people import PLAIN_STATIC, browser, member

BEYOND = "7" + "z" * 25
"""The largest number of 128 bits: as an id it has a time after the year 9999."""
_ID = re.compile(r"([a-z]{3}_)[0-9a-z]{26}")
WITH_ID = sorted(name for name, ids in url_parameters().items() if ids)


@pytest.fixture
def owner(customer: Customer, settings: Any) -> Client:
    settings.STORAGES = PLAIN_STATIC
    return browser(member(customer.organization))


@pytest.mark.parametrize("name", WITH_ID)
def test_an_id_beyond_its_range_is_not_found(
    owner: Client, world: World, customer: Customer, carrier: Carrier, name: str
) -> None:
    home = f"/dashboard/{public_id(customer.organization)}/"
    url = url_of(name, world, customer, carrier)
    rest = url.removeprefix(home)
    beyond = home + _ID.sub(rf"\g<1>{BEYOND}", rest)
    if beyond == url:
        pytest.skip("its parameter is not a public id")
    for answer in (owner.get(beyond), owner.post(beyond)):
        assert answer.status_code in {404, 405}, answer.status_code


def test_an_organization_beyond_its_range_is_not_found(owner: Client) -> None:
    assert owner.get(f"/dashboard/org_{BEYOND}/").status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        f"messages/?before=msg_{BEYOND}",
        f"messages/?after=msg_{BEYOND}",
        f"messages/?digits=4711&before=msg_{BEYOND}",
        f"campaigns/?before=cam_{BEYOND}",
        f"contacts/?before=con_{BEYOND}",
        f"suppressions/?after=sup_{BEYOND}",
        f"webhooks/events/?before=dlv_{BEYOND}",
        f"search/?q=cam_{BEYOND}",
    ],
)
def test_a_place_in_a_list_beyond_its_range_is_no_error(
    owner: Client, customer: Customer, query: str
) -> None:
    home = f"/dashboard/{public_id(customer.organization)}/"
    assert owner.get(home + query).status_code in {200, 302, 404}
