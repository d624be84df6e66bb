"""Customers' SMPP accounts: passwords, rotation, bind authentication, the operators' pages."""

import re
import threading
import time
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import hashers
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, Organization
from imissive.core.problems import english
from messaging.gateway import (
    accounts,
    bind_auth,
    command_statuses,
    sessions,
)
from messaging.gateway.bind_auth import Denied, Gate
from messaging.gateway.sessions import BindInfo
from messaging.models import SmppAccount, SmppServer, SmppSession
from messaging.smpp.constants import Status
from tests.support.factories import Customer, World, in_threads
from tests.support.people import PLAIN_STATIC, browser, operator
from tests.support.smpp_servers import QUICK_HASHERS


def bind_info(address: str = "127.0.0.1", *, tls: bool = False) -> BindInfo:
    return BindInfo("trx", address, 40000, tls, 0x34, "")


def created(customer: Customer, system_id: str = "acme", **fields) -> tuple[SmppAccount, str]:
    account, password = accounts.create_account(customer.organization, system_id)
    SmppAccount.objects.filter(pk=account.pk).update(**fields)
    account.refresh_from_db()
    return account, password


ARGON2 = django_settings.PASSWORD_HASHERS


@pytest.fixture(autouse=True)
def _quickly(settings) -> None:
    """Start without failed binds, and with a fast hash: only two tests use the slow one."""
    settings.PASSWORD_HASHERS = QUICK_HASHERS
    cache.clear()


@pytest.fixture
def gate(db: None) -> Gate:
    return Gate(sessions.open_server())


def denied(gate: Gate, system_id: str, password: str, who: BindInfo | None = None) -> int:
    with pytest.raises(Denied) as caught:
        gate.admit(system_id, password, who or bind_info())
    return caught.value.status


# -- passwords ---------------------------------------------------------------------------------


def test_password_has_eight_characters_and_is_stored_as_argon2(
    customer: Customer, settings
) -> None:
    settings.PASSWORD_HASHERS = ARGON2
    account, password = created(customer)
    assert re.fullmatch(r"[A-Za-z0-9]{8}", password)
    assert account.password_hash.startswith("argon2")
    assert password not in account.password_hash


def test_rotation_with_and_without_overlap(customer: Customer) -> None:
    account, first = created(customer)
    second = accounts.rotate_password(account, timedelta(hours=1))
    both = accounts.Verifier()
    assert both.verify(account, first)
    assert both.verify(account, second)
    account.previous_until = timezone.now() - timedelta(seconds=1)
    # The cached digest does not outlive the overlap.
    assert not both.verify(account, first)
    third = accounts.rotate_password(account)
    assert not both.verify(account, second)
    assert both.verify(account, third)


def test_correct_password_costs_one_slow_hash(customer: Customer, monkeypatch) -> None:
    account, password = created(customer)
    verifier = accounts.Verifier()
    encoded_hashes = []
    slow = hashers.check_password

    def counted(password: str, encoded: str) -> bool:
        encoded_hashes.append(encoded)
        return slow(password, encoded)

    monkeypatch.setattr(accounts, "check_password", counted)
    assert [verifier.verify(account, password) for _ in range(3)] == [True] * 3
    assert len(encoded_hashes) == 1
    assert not verifier.verify(account, password + "x")
    assert not verifier.verify(None, password)
    assert len(encoded_hashes) == 5  # as slow without an account as for a wrong password


# -- bind authentication -----------------------------------------------------------------------


def test_binds_are_accepted_and_counted(customer: Customer, gate: Gate) -> None:
    account, password = created(customer, max_binds=2)
    first = gate.admit("acme", password, bind_info())
    gate.admit("acme", password, bind_info())
    assert denied(gate, "acme", password) == Status.ESME_RALYBND
    sessions.release([first[1]])
    gate.admit("acme", password, bind_info())
    account.refresh_from_db()
    assert account.last_bind_address == "127.0.0.1"


def test_binds_of_a_dead_server_no_longer_count(customer: Customer, gate: Gate) -> None:
    _, password = created(customer, max_binds=1)
    gate.admit("acme", password, bind_info())
    assert denied(gate, "acme", password) == Status.ESME_RALYBND
    long_ago = timezone.now() - timedelta(seconds=SmppServer.LEASE_SECONDS + 1)
    SmppServer.objects.update(seen_at=long_ago)
    Gate(sessions.open_server()).admit("acme", password, bind_info())


def test_a_wrong_password_costs_the_same_whatever_there_is(
    customer: Customer, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, _ = created(customer)
    hashed: list[str] = []

    def counted(password: str, encoded: str) -> bool:
        hashed.append(encoded)
        return hashers.check_password(password, encoded)

    monkeypatch.setattr(accounts, "check_password", counted)
    costs = []
    for name, overlap in (("nobody", None), ("acme", None), ("acme", timedelta(hours=1))):
        if overlap:
            accounts.rotate_password(account, overlap)
        hashed.clear()
        assert denied(gate, name, "wrong") == Status.ESME_RINVPASWD
        costs.append(len(hashed))
    assert costs == [2, 2, 2]


def test_a_right_password_from_elsewhere_is_counted_as_a_wrong_one(
    customer: Customer, gate: Gate
) -> None:
    _, password = created(customer, networks=["10.0.0.0/8"])
    for _ in range(bind_auth.FAILURES_OF_ACCOUNT):
        assert denied(gate, "acme", password) == Status.ESME_RINVPASWD
    assert denied(gate, "acme", password) == Status.ESME_RBINDFAIL, "locked out"
    gate.admit("acme", password, bind_info("10.9.8.7"))


@pytest.mark.parametrize(
    ("fields", "who", "status"),
    [
        ({"enabled": False}, bind_info(), Status.ESME_RBINDFAIL),
        ({"tls_only": True}, bind_info(), Status.ESME_RBINDFAIL),
        ({"tls_only": True}, bind_info(tls=True), None),
        # As for a wrong password.
        ({"networks": ["10.0.0.0/8"]}, bind_info(), Status.ESME_RINVPASWD),
        ({"networks": ["10.0.0.0/8"]}, bind_info("10.9.8.7"), None),
        ({"networks": ["10.0.0.0/8"]}, bind_info("::ffff:10.9.8.7"), None),
    ],
)
def test_account_settings_restrict_binds(customer, gate, fields, who, status) -> None:
    _, password = created(customer, **fields)
    if status is None:
        gate.admit("acme", password, who)
    else:
        assert denied(gate, "acme", password, who) == status


def test_suspended_organization_may_not_bind(customer: Customer, gate: Gate) -> None:
    _, password = created(customer)
    Organization.objects.update(status=Organization.Status.SUSPENDED)
    assert denied(gate, "acme", password) == Status.ESME_RBINDFAIL


def test_unknown_account_and_wrong_password_look_alike(customer: Customer, gate: Gate) -> None:
    created(customer)
    assert denied(gate, "acme", "wrong") == Status.ESME_RINVPASWD
    assert denied(gate, "nobody", "wrong") == Status.ESME_RINVPASWD


def test_lockout_of_an_account_and_of_an_address(customer: Customer, gate: Gate, caplog) -> None:
    _, password = created(customer)
    for _ in range(bind_auth.FAILURES_OF_ACCOUNT):
        assert denied(gate, "acme", "wrong") == Status.ESME_RINVPASWD
    assert denied(gate, "acme", password) == Status.ESME_RBINDFAIL
    # Other accounts at that address, and the account from other addresses, may bind.
    gate.admit("acme", password, bind_info("192.0.2.1"))
    _, other = created(customer, "other")
    gate.admit("other", other, bind_info())
    for number in range(bind_auth.FAILURES_OF_ADDRESS):
        denied(gate, f"guess{number}", "wrong")
    assert denied(gate, "other", other) == Status.ESME_RBINDFAIL


@pytest.mark.usefixtures("cache_without_redis")
def test_without_redis_this_process_locks_an_account_out(customer: Customer, gate: Gate) -> None:
    _, password = created(customer)
    for _ in range(bind_auth.FAILURES_OF_ACCOUNT):
        assert denied(gate, "acme", "wrong") == Status.ESME_RINVPASWD
    assert denied(gate, "acme", password) == Status.ESME_RBINDFAIL
    gate.admit("acme", password, bind_info("192.0.2.1"))


class SlowClock:
    """They race between counting the binds and registering one."""

    @staticmethod
    def now() -> datetime:
        time.sleep(0.05)
        return timezone.now()


def test_concurrent_binds_never_exceed_the_maximum(committed_world: World, monkeypatch) -> None:
    monkeypatch.setattr(sessions, "clock", SlowClock)
    account, password = created(committed_world.customer(), "racing", max_binds=3)
    gate = Gate(sessions.open_server())

    def ask() -> bool:
        try:
            gate.admit("racing", password, bind_info())
        except Denied:
            return False
        return True

    try:
        assert sum(in_threads([ask] * 8)) == 3
        assert sessions.live().filter(account=account).count() == 3
    finally:
        SmppServer.objects.all().delete()
        account.delete()


def test_bind_and_report_do_not_deadlock(committed_world: World) -> None:
    """Each holds the lock of its first row when the other locks its second one."""
    account, password = created(committed_world.customer(), "meeting", max_binds=3)
    gate = Gate(sessions.open_server())
    _, session_id = gate.admit("meeting", password, bind_info())
    now = timezone.now()
    row = sessions.Report(
        session_id, account.id, bind_info(), now, 5, 1, 2, 3, 4, 6, 7.5, now, [], []
    )
    SmppSession.objects.all().delete()  # so that the report inserts it again, with its references
    both = threading.Barrier(2, timeout=20)

    def meeting(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if sql.startswith('INSERT INTO "messaging_smppsession"'):
            both.wait()
        return execute(sql, parameters, many, context)

    def bind() -> UUID | None:
        with connection.execute_wrapper(meeting):
            return sessions.register(gate.server_id, account, bind_info())

    def report() -> None:
        with connection.execute_wrapper(meeting):
            sessions.report(gate.server_id, now, [row])

    try:
        bound, _ = in_threads([bind, report])
        found = SmppSession.objects.filter(account=account).values_list("id", flat=True)
        assert set(found) == {session_id, bound}
    finally:
        SmppServer.objects.all().delete()
        account.delete()


def test_successor_removes_dead_servers_of_its_machine(customer: Customer) -> None:
    now = timezone.now()
    host = sessions.own_name().rpartition(":")[0]
    long_ago = now - timedelta(hours=1)
    for name, started in (
        (f"{host}:999999", now),  # no such process
        (sessions.own_name(), long_ago),  # this process has its number now
        ("elsewhere:1", now),
        (sessions.own_name(), now),
    ):
        SmppServer.objects.create(name=name, started_at=started, seen_at=now)
    mine = sessions.open_server()
    left = SmppServer.objects.exclude(pk=mine).values_list("name", "started_at")
    assert set(left) == {("elsewhere:1", now), (sessions.own_name(), now)}


def test_report_updates_a_server_and_its_changed_binds(customer: Customer, gate: Gate) -> None:
    account, password = created(customer)
    _, session_id = gate.admit("acme", password, bind_info())
    now = timezone.now()
    row = sessions.Report(
        session_id, account.id, bind_info(), now, 5, 1, 2, 3, 4, 6, 7.5, now, [{"one": 1}], []
    )
    SmppServer.objects.all().delete()  # deleted meanwhile, with its sessions
    assert sessions.report(gate.server_id, now, [row])
    assert not sessions.report(gate.server_id, now, [])
    found = SmppSession.objects.get()
    assert (found.submits, found.outstanding, found.pdus) == (5, 6, [{"one": 1}])
    assert sessions.live().count() == 1
    sessions.close_server(gate.server_id)
    assert not SmppSession.objects.exists()


# -- the table of statuses ---------------------------------------------------------------------


def test_account_has_its_own_statuses() -> None:
    assert command_statuses.status_of("INSUFFICIENT_CREDITS", {}) == Status.ESME_RSUBMITFAIL
    assert (
        command_statuses.status_of("INSUFFICIENT_CREDITS", {"INSUFFICIENT_CREDITS": 1030}) == 1030
    )
    assert command_statuses.status_of("SOMETHING_NEW", {}) == Status.ESME_RSUBMITFAIL


@pytest.mark.parametrize(
    "own", [[], {"NOPE": 1}, {"FORBIDDEN": 0}, {"FORBIDDEN": "8"}, {"FORBIDDEN": True}]
)
def test_invalid_table_of_statuses(own) -> None:
    problem = command_statuses.problem_with(own)
    assert problem is not None
    assert english(problem)


# -- the operators' pages ----------------------------------------------------------------------


@pytest.fixture
def admin(db: None, settings) -> Client:
    settings.STORAGES = PLAIN_STATIC
    return browser(operator())


def fields(customer: Customer, **more) -> dict[str, object]:
    return {
        "organization": str(customer.id),
        "system_id": "acme",
        "name": "Acme",
        "enabled": "on",
        "networks": "203.0.113.7",
        "max_binds": 2,
        "throughput": 0,
        "window": 10,
        "receipt_format": "both",
        "receipt_window": 10,
        "receipt_hours": 24,
        "id_format": "public",
        "default_coding": "gsm",
        "ascii_coding": "ascii",
        "statuses": "{}",
        "sessions-TOTAL_FORMS": 0,
        "sessions-INITIAL_FORMS": 0,
        **more,
    }


def shown_password(answer: Any, admin: Client) -> re.Match[str]:
    """Return the match of a password that is in this response only, not in a cookie or session."""
    found = re.search(r'<code id="secret">(\w{8})</code>', answer.content.decode())
    assert found, answer.content
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    assert found[1] not in str(answer.headers) + str(admin.cookies) + str(dict(admin.session))
    assert found[1] not in admin.get(reverse("admin:index")).content.decode()
    return found


def test_operator_creates_an_account_and_sees_its_password_once(admin, customer, gate) -> None:
    url = reverse("admin:messaging_smppaccount_add")
    found = shown_password(admin.post(url, fields(customer)), admin)
    account, _ = gate.admit("acme", found[1], bind_info("203.0.113.7"))
    assert account.networks[0].startswith("203.0.113.7")
    assert found[1] not in admin.get(url).content.decode()
    assert AuditEntry.objects.filter(action="smppaccount.added").exists()
    assert found[1] not in str(list(AuditEntry.objects.values_list("detail", "target")))


@pytest.mark.parametrize(
    "wrong",
    [
        {"networks": "somewhere"},
        {"statuses": '{"NOPE": 1}'},
        {"system_id": "has space"},
        {"max_binds": 0},
        {"country_code": "0966"},
    ],
)
def test_invalid_values_are_reported(admin, customer, wrong) -> None:
    response = admin.post(reverse("admin:messaging_smppaccount_add"), fields(customer, **wrong))
    assert response.status_code == 200
    assert not SmppAccount.objects.exists()


def test_operator_rotates_a_password(admin, customer, gate) -> None:
    account, password = created(customer)
    url = reverse("admin:messaging_smppaccount_rotate", args=(account.pk,))
    found = shown_password(admin.post(url, {"overlap": "24"}), admin)
    gate.admit("acme", found[1], bind_info())
    gate.admit("acme", password, bind_info())
    entry = AuditEntry.objects.get(action="smpp_account.password_rotated")
    assert entry.organization == customer.organization


def test_console_shows_live_binds_only(admin, customer, gate) -> None:
    _, password = created(customer)
    gate.admit("acme", password, bind_info("192.0.2.77"))
    url = reverse("admin:messaging_smppsession_changelist")
    assert "192.0.2.77" in admin.get(url).content.decode()
    SmppServer.objects.update(seen_at=timezone.now() - timedelta(minutes=1))
    assert "192.0.2.77" not in admin.get(url).content.decode()
