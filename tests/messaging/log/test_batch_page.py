"""A batch's page: what became of its messages, and the rest of them canceled."""

import re
import uuid

import pytest
from django.test import Client

from accounts.access.page_access import public_id
from accounts.models import MICRO, AuditEntry
from imissive.core import ids
from messaging.models import Batch, Campaign, Carrier
from messaging.states import Status
from tests.support.factories import Customer, World
from tests.support.people import PLAIN_STATIC, browser, member


@pytest.fixture(autouse=True)
def _plain_static(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def owner(customer: Customer) -> Client:
    return browser(member(customer.organization))


def _url(customer: Customer, batch: object) -> str:
    return f"/dashboard/{public_id(customer.organization)}/batches/{batch}/"


def _bulk(customer: Customer, count: int) -> str:
    rows = [{"to": f"+96650123{index:04d}", "message": "Hello"} for index in range(count)]
    batch_id: str = customer.api.post("/v1/sms/bulk", {"messages": rows}).json()["batch_id"]
    return batch_id


def _text(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    # As a person reads it: numbers stand in elements of their own.
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", response.content.decode()))


def test_what_became_of_it(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    batch = Batch.objects.create(organization=customer.organization)
    for status in (*[Status.DELIVERED] * 6, Status.FAILED, Status.SENT, Status.QUEUED):
        world.message(customer, carrier, batch=batch, status=status, price=MICRO)
    page = _text(owner, _url(customer, batch))
    assert "Batch of 9 messages" in page
    assert "7 / 9 · 77.7%" in page
    assert "Delivered 6" in page
    assert "Charged9" in page.replace(" ", "")
    assert "Cancel what waits" in page
    raw = owner.get(_url(customer, batch)).content.decode()
    assert "hx-get" in raw, "more is to come"
    assert f"?batch={batch}&amp;status=failed" in raw


def test_what_is_over_is_still(owner: Client, world: World, customer: Customer, carrier: Carrier):
    batch = Batch.objects.create(organization=customer.organization)
    world.message(customer, carrier, batch=batch, status=Status.DELIVERED)
    page = owner.get(_url(customer, batch)).content.decode()
    assert 'Batch of <bdi dir="ltr">1</bdi> message<' in page
    assert "hx-get" not in page
    assert "Cancel what waits" not in page


def test_one_without_messages(owner: Client, customer: Customer) -> None:
    batch = Batch.objects.create(organization=customer.organization)
    assert "kept no longer" in _text(owner, _url(customer, batch))


def test_the_rest_is_canceled(owner: Client, customer: Customer, carrier: Carrier) -> None:
    batch_id = _bulk(customer, 3)
    assert customer.balance() == 97 * MICRO
    url = f"{_url(customer, batch_id)}cancel/"
    assert "3 messages wait still" in _text(owner, url)
    assert {each.status for each in customer.messages()} == {Status.QUEUED}
    response = owner.post(url, follow=True)
    assert "3 messages were canceled" in response.content.decode()
    assert {each.status for each in customer.messages()} == {Status.CANCELED}
    assert customer.balance() == 100 * MICRO
    response = owner.post(url, follow=True)
    assert "Nothing of it waits any more" in response.content.decode()
    acts = AuditEntry.objects.filter(organization=customer.organization, action="batch.canceled")
    assert [(each.target, each.detail) for each in acts] == [(batch_id, {"messages": 3})]


@pytest.mark.parametrize("wrong", ["bat_1", "msg_1", "x", ids.public_id("bat", uuid.UUID(int=7))])
def test_no_such_batch(owner: Client, customer: Customer, wrong: str) -> None:
    assert owner.get(_url(customer, wrong)).status_code == 404
    assert owner.post(f"{_url(customer, wrong)}cancel/").status_code == 404


def test_anothers_batch(owner: Client, customer: Customer, outsider: Customer) -> None:
    batch = Batch.objects.create(organization=outsider.organization)
    assert owner.get(_url(customer, batch)).status_code == 404


def test_a_campaigns_batch_leads_to_the_campaign(owner: Client, customer: Customer) -> None:
    batch = Batch.objects.create(organization=customer.organization)
    campaign = Campaign.objects.create(organization=customer.organization, name="Sale", batch=batch)
    response = owner.get(_url(customer, batch))
    assert response["Location"].endswith(f"/campaigns/{campaign.public_id}/")
