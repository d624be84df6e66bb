"""Errors of a database that responds: by their SQLSTATE, they are the row's or the database's.

PostgreSQL itself raises each SQLSTATE of the table, below each entry point: the API, the pages,
SMPP, webhooks, exports, campaigns. Carriers' responses and receipts are tested with their worker,
and a platform that is really read-only in test_nothing_lost.py.
"""

import threading

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction
from django.db.transaction import TransactionManagementError
from psycopg_pool import PoolTimeout

from accounts.access.page_access import public_id
from imissive.core.sql import Fault, fault_of, is_undone
from messaging import tasks
from messaging.campaigns import scheduler
from messaging.log import exports, query
from messaging.models import Campaign, Export
from messaging.models.campaign_states import State
from messaging.smpp.constants import Status as Smpp
from tests.support import campaigns
from tests.support.factories import PHONE, Customer, World
from tests.support.faults import PASSING, failing
from tests.support.people import PLAIN_STATIC, browser, member
from tests.support.smpp_servers import (
    QUICK_HASHERS,
    Member,
    eventually,
    running_server,
    submit,
)
from tests.support.webhook_dispatch import (
    Start,
    deliver,
    endpoint_of,
    happen,
    rows,
)
from tests.support.webhook_receivers import Receiver

REFUSING = ("22001", "22003", "22021", "23001", "23502", "23503", "23505", "23514", "22P02")


def raised(sqlstate: str) -> Exception:
    """Return Django's exception for an error with that SQLSTATE."""
    code = f"DO $$BEGIN RAISE EXCEPTION 'asked' USING ERRCODE = '{sqlstate}'; END$$"
    with pytest.raises(DatabaseError) as caught, transaction.atomic():  # noqa: SIM117
        with connection.cursor() as cursor:
            cursor.execute(code)
    return caught.value


@pytest.mark.django_db
@pytest.mark.parametrize("sqlstate", REFUSING)
def test_classes_22_and_23_are_about_the_row(sqlstate: str) -> None:
    assert fault_of(raised(sqlstate)) is Fault.ROW


@pytest.mark.django_db
@pytest.mark.parametrize(
    "sqlstate",
    [*PASSING, "08006", "21000", "26000", "28P01", "3D000", "42601", "55P03", "57P01", "58030",
     "40P01", "54000", "F0000", "P0001", "XX001"],
)  # fmt: skip
def test_all_others_are_about_the_database(sqlstate: str) -> None:
    error = raised(sqlstate)
    assert fault_of(error) is Fault.DATABASE
    # An error from the server means a rollback; from one that shuts down, the outcome is unknown.
    assert is_undone(error) is not sqlstate.startswith(("08", "57P"))


@pytest.mark.django_db
def test_an_aborted_transaction_has_the_fault_of_its_first_error() -> None:
    with transaction.atomic():
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL transaction_read_only = on")
                cursor.execute("CREATE TABLE made (id int)")
        except DatabaseError as error:
            connection.needs_rollback = True
            connection.rollback_exc = error  # type: ignore[attr-defined]
        with pytest.raises(TransactionManagementError) as caught:
            connection.validate_no_broken_transaction()
        connection.needs_rollback = False
    assert fault_of(caught.value) is Fault.DATABASE


@pytest.mark.django_db
def test_errors_of_the_driver() -> None:
    with connection.cursor() as cursor, pytest.raises((DatabaseError, ValueError)) as caught:
        cursor.execute("SELECT %s", ["a\0b"])
    assert fault_of(caught.value) is not Fault.DATABASE
    assert fault_of(psycopg.OperationalError("the connection is lost")) is Fault.DATABASE
    assert not is_undone(psycopg.OperationalError("the connection is lost"))
    assert fault_of(PoolTimeout("couldn't get a connection")) is Fault.DATABASE
    assert is_undone(PoolTimeout("couldn't get a connection"))
    for other in (ValueError("x"), KeyError("x"), DatabaseError("Save affected no rows")):
        assert fault_of(other) is None


# ---------------------------------------------------------------- entry points


@pytest.fixture
def served(committed_world: World) -> Customer:
    committed_world.serve()
    return committed_world.customer()


@pytest.mark.parametrize("sqlstate", PASSING)
def test_a_send_gets_503_and_retry_after(served: Customer, sqlstate: str) -> None:
    before = served.stored()
    body = {"to": PHONE, "message": "Hello"}
    with failing("messaging_message", sqlstate):
        single = served.api.post("/v1/sms/send", body)
        bulk = served.api.post("/v1/sms/bulk", {"messages": [body]})
    for refused in (single, bulk):
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "UNAVAILABLE")
        assert int(refused["Retry-After"]) > 0
    assert served.stored() == before
    assert served.api.post("/v1/sms/send", body).status_code == 202


def test_a_refused_row_is_a_server_error(served: Customer) -> None:
    with failing("messaging_message", "23514"):
        response = served.api.post("/v1/sms/send", {"to": PHONE, "message": "Hello"})
    assert (response.status_code, response.json()["error"]["code"]) == (500, "SERVER_ERROR")


@pytest.mark.parametrize(("sqlstate", "status"), [("25006", 503), ("53100", 503), ("23514", 500)])
def test_a_page_is_unavailable_and_not_broken(
    served: Customer, settings, sqlstate: str, status: int
) -> None:
    settings.STORAGES = PLAIN_STATIC
    page = f"/dashboard/{public_id(served.organization)}/messages/exports/new/"
    owner = browser(member(served.organization))
    owner.raise_request_exception = False
    with failing("messaging_export", sqlstate):
        response = owner.post(page, {"once": f"asked-{sqlstate}"})
    assert response.status_code == status
    assert str(status) in response.content.decode()
    assert ("Retry-After" in response) is (status == 503)


@pytest.mark.parametrize("sqlstate", PASSING)
def test_a_submit_gets_esme_rmsgqful(committed_world: World, settings, sqlstate: str) -> None:
    settings.PASSWORD_HASHERS = QUICK_HASHERS
    committed_world.serve()
    owner = Member(committed_world)
    try:
        with running_server() as server, owner.bound(server.port) as esme:
            before = owner.customer.stored()
            with failing("messaging_message", sqlstate):
                assert esme.request(submit()).status == Smpp.ESME_RMSGQFUL
            assert owner.customer.stored() == before
            assert esme.request(submit()).status == Smpp.ESME_ROK
    finally:
        owner.close()


@pytest.mark.parametrize("sqlstate", ["25006", "42501", "XX000"])
def test_a_receivers_response_is_stored_once_that_is_possible(
    committed_world: World, there: Receiver, start: Start, sqlstate: str
) -> None:
    """A post whose outcome cannot be stored yet is not repeated in the meantime."""
    there.script(500)
    customer = committed_world.customer(sender=None)
    endpoint = endpoint_of(customer, there.url)
    running = start()
    with failing("webhooks_failedattempt", sqlstate):
        deliver(running, happen(customer))
        there.wait_for(1)
        threading.Event().wait(1.0)
        assert [row.attempts for row in rows(endpoint)] == [0]
    eventually(lambda: [row.attempts for row in rows(endpoint)] == [1], 15)
    assert len(there.posts) == 1


def test_a_refused_outcome_does_not_affect_others(
    committed_world: World, there: Receiver, start: Start
) -> None:
    customer = committed_world.customer(sender=None)
    endpoint = endpoint_of(customer, there.url)
    running = start()
    happened = happen(customer, 20)
    bad = rows(endpoint)[7].id
    condition = f"NEW.status = 'delivered' AND NEW.id = '{bad}'"
    with failing("webhooks_delivery", "23514", on="UPDATE", row=condition):
        deliver(running, happened)
        eventually(lambda: sum(r.status == "delivered" for r in rows(endpoint)) == 19, 15)
    assert [row.id for row in rows(endpoint) if row.status != "delivered"] == [bad]


def test_an_export_survives_a_full_disk(
    committed_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier, customer = committed_world.serve(), committed_world.customer()
    committed_world.message(customer, carrier)
    monkeypatch.setattr(exports, "RETRY_AFTER", exports.RETRY_AFTER * 0)
    requester = member(customer.organization).memberships.get()
    export = exports.request_export(requester, query.Filter(), "", None)
    try:
        with failing("accounts_filechunk", "53100"):
            for _ in range(exports.FAILURES_AT_MOST + 2):
                assert exports.step()
        export.refresh_from_db()
        assert (export.status, export.failures) == (Export.Status.WAITING, 0)
        assert exports.step()
        export.refresh_from_db()
        assert (export.status, export.written) == (Export.Status.DONE, 1)
        assert export.file is not None
        export.file.delete()
    finally:
        Export.objects.filter(organization=customer.id).delete()


def test_a_campaign_is_retried_soon(committed_world: World) -> None:
    committed_world.serve()
    customer = committed_world.customer()
    campaign = campaigns.running_one(customer, 3)
    with failing("messaging_message", "25006"):
        assert scheduler.run(0.0)
    due, was = campaigns.fresh(campaign).due_at, campaign.due_at
    assert due is not None
    assert was is not None
    waits = due - was
    assert waits < scheduler.AFTER_AN_ERROR
    Campaign.objects.filter(pk=campaign.pk).update(due_at=campaign.due_at)
    scheduler.run(1.0)
    assert campaigns.fresh(campaign).state == State.DELIVERING
    assert len(customer.messages()) == 3


def test_a_broken_sweep_does_not_delay_others() -> None:
    done: list[str] = []

    def breaks() -> int:
        raise ValueError("a mistake of ours")

    def works() -> int:
        done.append("done")
        return 0

    with pytest.raises(ExceptionGroup):
        tasks._repeat(breaks, works)
    assert done == ["done"]
