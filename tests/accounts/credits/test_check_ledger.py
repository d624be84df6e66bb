"""manage.py check_ledger: exit code 0 where balances and ledgers agree, 1 where they do not.

Tampering requires the triggers to be disabled, which only the tables' owner can do; it is rolled
back.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.credits import ledger
from accounts.models import MICRO
from tests.support.factories import PHONE, Customer

SEND = "/v1/sms/send"


def check() -> str:
    """Return the command's output. Raises CommandError where it exits with 1."""
    output = StringIO()
    call_command("check_ledger", stdout=output, stderr=output)
    return output.getvalue()


def tamper(sql: str, customer: Customer) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # or the table may not be altered
        for table in ("accounts_ledgerentry", "accounts_balance"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(sql, {"organization": customer.id})
        assert cursor.rowcount == 1
        for table in ("accounts_ledgerentry", "accounts_balance"):
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def spend(customer: Customer) -> None:
    """Write a ledger of a top-up, two charges, a refund and a correction."""
    for text in ("one", "م" * 71):
        assert customer.api.post(SEND, {"to": PHONE, "message": text}).status_code == 202
    message = customer.messages()[0]
    ledger.post([ledger.Posting(customer.id, "refund", MICRO, message.id)])
    ledger.adjust(customer.organization, -7, reason="a mistake", actor=None)


def test_a_sound_ledger_is_proved(customer, outsider):
    spend(customer)
    assert customer.balance() == 98 * MICRO - 7
    assert "every balance equals its ledger" in check()


def test_no_organization_at_all_is_sound(db):
    check()


_LAST = "(SELECT max(id) FROM accounts_ledgerentry WHERE organization_id = %(organization)s)"
_FIRST = "(SELECT min(id) FROM accounts_ledgerentry WHERE organization_id = %(organization)s)"
_SECOND = (
    "(SELECT id FROM accounts_ledgerentry WHERE organization_id = %(organization)s"
    " ORDER BY id LIMIT 1 OFFSET 1)"
)

TAMPERING = {
    "a richer balance": (
        "UPDATE accounts_balance SET micro = micro + 1 WHERE organization_id = %(organization)s",
        "the sum differs",
    ),
    "a poorer balance": (
        "UPDATE accounts_balance SET micro = 0 WHERE organization_id = %(organization)s",
        "the sum differs",
    ),
    "no balance": (
        "DELETE FROM accounts_balance WHERE organization_id = %(organization)s",
        "the sum differs",
    ),
    "an amount changed": (
        f"UPDATE accounts_ledgerentry SET amount = amount + 1 WHERE id = {_FIRST}",
        "the sum differs",
    ),
    "the first row deleted": (
        f"DELETE FROM accounts_ledgerentry WHERE id = {_FIRST}",
        "the sum differs",
    ),
    "the last row deleted": (
        f"DELETE FROM accounts_ledgerentry WHERE id = {_LAST}",
        "the sum differs",
    ),
    "a row added": (
        "INSERT INTO accounts_ledgerentry (organization_id, kind, amount, balance_after, reason)"
        " VALUES (%(organization)s, 'top_up', 1, 1, '')",
        "the sum differs",
    ),
    "a row added that changes no sum": (
        "INSERT INTO accounts_ledgerentry (organization_id, kind, amount, balance_after, reason)"
        " VALUES (%(organization)s, 'top_up', 0, 1, '')",
        "the running balance breaks",
    ),
    "a running balance changed": (
        f"UPDATE accounts_ledgerentry SET balance_after = balance_after + 1 WHERE id = {_FIRST}",
        "the running balance breaks",
    ),
    "the last running balance changed": (
        f"UPDATE accounts_ledgerentry SET balance_after = balance_after + 1 WHERE id = {_LAST}",
        "the running balance breaks",
    ),
    "a row moved to another time": (
        "UPDATE accounts_ledgerentry SET id = nextval('accounts_ledgerentry_id_seq')"
        f" WHERE id = {_SECOND}",
        "the running balance breaks",
    ),
}


@pytest.mark.parametrize("case", TAMPERING)
def test_tampering_is_found_and_reported_by_organization(customer, outsider, case):
    spend(customer)
    sql, problem = TAMPERING[case]
    tamper(sql, customer)
    [found] = ledger.discrepancies()
    assert (found.organization_id, found.what) == (customer.id, problem)
    output = StringIO()
    with pytest.raises(CommandError, match="1 discrepancies"):
        call_command("check_ledger", stdout=output, stderr=output)
    assert f"{customer.id}: {problem}" in output.getvalue()
    assert "every balance equals" not in output.getvalue()


def test_a_balance_of_somebody_without_a_ledger_is_found(customer, world):
    other = world.customer()
    tamper("DELETE FROM accounts_ledgerentry WHERE organization_id = %(organization)s", other)
    assert [found.organization_id for found in ledger.discrepancies()] == [other.id]


@pytest.fixture
def as_command(committed_db: None) -> Callable[[], subprocess.CompletedProcess[str]]:
    """Run the command as operators do, on the tests' database."""
    url = settings.DATABASES["default"]
    environment = os.environ | {
        "DATABASE_URL": f"postgresql://{url['USER']}:{url['PASSWORD']}@{url['HOST']}:{url['PORT']}"
        f"/{connection.settings_dict['NAME']}"
    }
    manage = Path(__file__).resolve().parents[3] / "manage.py"
    return lambda: subprocess.run(
        [sys.executable, str(manage), "check_ledger"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_process_exits_with_0_and_with_1(committed_world, as_command):
    customer = committed_world.customer()
    sound = as_command()
    assert (sound.returncode, sound.stderr) == (0, "")
    richer = (
        "UPDATE accounts_balance SET micro = micro %s WHERE organization_id = %%(organization)s"
    )
    tamper(richer % "+ 5", customer)
    try:
        broken = as_command()
    finally:
        tamper(richer % "- 5", customer)
    assert broken.returncode == 1
    assert f"{customer.id}: the sum differs: balance 100.000005, ledger 100" in broken.stderr
