"""POST /v1/webhooks/{id}/rotate-secret"""

from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone
from standardwebhooks.webhooks import WebhookVerificationError

from tests.support.factories import (
    Api,
    Customer,
    World,
    in_threads,
)
from tests.support.webhook_calls import (
    UNKNOWN_WEBHOOKS,
    call,
    call_json,
    check_other_methods,
    check_who_may,
    refused,
)
from tests.support.webhook_dispatch import (
    Start,
    deliver,
    endpoint_of,
    happen,
    wait_for_status,
)
from tests.support.webhook_receivers import Receiver
from webhooks.delivery import housekeeping
from webhooks.models import Endpoint


def path(endpoint: Endpoint) -> str:
    return f"/v1/webhooks/{endpoint.public_id}/rotate-secret"


def test_both_secrets_verify_for_a_day(
    committed_world: World, there: Receiver, start: Start
) -> None:
    customer = committed_world.customer(sender=None)
    endpoint = endpoint_of(customer, there.url)
    old = endpoint.secret
    running = start()
    new = call_json(customer.api, "POST", path(endpoint))["secret"]
    deliver(running, happen(customer))
    [post] = there.wait_for(1)
    assert post.headers["webhook-signature"].count("v1,") == 2
    assert post.verified(old) == post.verified(new)
    wait_for_status(endpoint, "delivered")

    Endpoint.objects.filter(id=endpoint.id).update(
        previous_secret_until=timezone.now() - timedelta(seconds=1)
    )
    deliver(running, happen(customer))
    post = there.wait_for(2)[1]
    assert post.headers["webhook-signature"].count("v1,") == 1
    post.verified(new)
    with pytest.raises(WebhookVerificationError):
        post.verified(old)


def test_the_new_secret_is_shown_once(api: Api, world: World, customer: Customer) -> None:
    endpoint = world.endpoint(customer)
    rotated = call_json(api, "POST", path(endpoint))
    assert rotated["secret"].startswith("whsec_")
    assert rotated["secret"] != endpoint.secret
    until = datetime.fromisoformat(rotated["previous_secret_until"])
    assert timedelta(hours=23, minutes=59) < until - timezone.now() <= timedelta(hours=24)
    shown = call_json(api, "GET", f"/v1/webhooks/{endpoint.public_id}")
    assert shown == {name: value for name, value in rotated.items() if name != "secret"}
    row = Endpoint.objects.get(id=endpoint.id)
    assert (row.secret, row.previous_secret) == (rotated["secret"], endpoint.secret)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT secret || previous_secret FROM webhooks_endpoint WHERE id = %s", [endpoint.id]
        )
        assert "whsec_" not in cursor.fetchone()[0]


def test_rotating_twice_revokes_the_oldest_secret(
    api: Api, world: World, customer: Customer
) -> None:
    endpoint = world.endpoint(customer)
    first = call_json(api, "POST", path(endpoint))["secret"]
    second = call_json(api, "POST", path(endpoint))["secret"]
    row = Endpoint.objects.get(id=endpoint.id)
    assert (row.secret, row.previous_secret) == (second, first)


def test_a_repeated_call_with_an_idempotency_key_rotates_once(
    api: Api, world: World, customer: Customer
) -> None:
    endpoint = world.endpoint(customer)
    key = {"HTTP_IDEMPOTENCY_KEY": "rotate-1"}
    first = call(api, "POST", path(endpoint), **key)
    again = call(api, "POST", path(endpoint), **key)
    assert again["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    assert Endpoint.objects.get(id=endpoint.id).previous_secret == endpoint.secret


def test_concurrent_rotations_run_one_after_the_other(committed_world: World) -> None:
    """Without the lock both would keep the first secret, and one of the new ones would be lost."""
    customer = committed_world.customer(sender=None)
    endpoint = committed_world.endpoint(customer)

    def rotate() -> str:
        return str(call_json(customer.api, "POST", path(endpoint))["secret"])

    secrets = in_threads([rotate] * 4)
    row = Endpoint.objects.get(id=endpoint.id)
    assert row.secret != row.previous_secret
    assert {row.secret, row.previous_secret} <= set(secrets)


def test_the_old_secret_is_deleted_after_the_overlap(world: World, customer: Customer) -> None:
    past, coming = world.endpoint(customer), world.endpoint(customer)
    for endpoint, hours in ((past, -1), (coming, 1)):
        endpoint.previous_secret = "whsec_b2xk"
        endpoint.previous_secret_until = timezone.now() + timedelta(hours=hours)
        endpoint.save()
    assert (
        call_json(customer.api, "GET", f"/v1/webhooks/{past.public_id}")["previous_secret_until"]
        is None
    )
    housekeeping.forget_previous_secrets()
    past.refresh_from_db()
    coming.refresh_from_db()
    assert (past.previous_secret, past.previous_secret_until) == ("", None)
    assert coming.previous_secret == "whsec_b2xk"


@pytest.mark.parametrize(
    ("raw", "field"), [('{"secret": "whsec_mine"}', "secret"), ("[1]", None), ("{", None)]
)
def test_invalid_bodies(api: Api, world: World, customer: Customer, raw: str, field: str) -> None:
    endpoint = world.endpoint(customer)
    refused(call(api, "POST", path(endpoint), raw=raw), 400, "INVALID_REQUEST", field)
    assert Endpoint.objects.get(id=endpoint.id).secret == endpoint.secret


@pytest.mark.parametrize("id", UNKNOWN_WEBHOOKS)
def test_ids_of_other_kinds_are_not_found(api: Api, id: str) -> None:
    refused(call(api, "POST", f"/v1/webhooks/{id}/rotate-secret"), 404, "NOT_FOUND")


def test_permissions(world: World, customer: Customer, outsider: Customer) -> None:
    endpoint = world.endpoint(customer)
    check_who_may(customer, outsider, "POST", path(endpoint), None, status=200)
    assert Endpoint.objects.get(id=endpoint.id).previous_secret == endpoint.secret
    check_other_methods(customer.api, path(endpoint), "POST")
