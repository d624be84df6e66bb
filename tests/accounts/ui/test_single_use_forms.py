"""A single-use form takes effect once; after a failure of the database it can be sent again."""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.cache import cache
from django.db import connection

from accounts.access.page_access import public_id
from imissive.core.sql import READ_ONLY
from imissive.run.programs import ROOT
from messaging.gateway import accounts
from tests.support.factories import Customer, World
from tests.support.faults import failing
from tests.support.people import PLAIN_STATIC, browser, member

ENDPOINT = "https://hooks.example.com/in"


def nothing(_customer: Customer) -> str:
    return ""


def smpp_account(customer: Customer) -> str:
    account, _ = accounts.create_account(
        customer.organization, f"of-{customer.organization.id.hex[-8:]}"
    )
    return f"{account.pk}"


FORMS: dict[str, tuple[str, dict[str, str], str, str, Callable[[Customer], str]]] = {
    "key": ("keys/new/", {"name": "Shop", "kind": "test"}, "accounts_apikey", "INSERT", nothing),
    "key's audit entry": (
        "keys/new/", {"name": "Shop", "kind": "test"}, "accounts_auditentry", "INSERT", nothing,
    ),
    "export": ("messages/exports/new/", {}, "messaging_export", "INSERT", nothing),
    "endpoint": (
        "webhooks/new/", {"mode": "live", "url": ENDPOINT, "description": "x"},
        "webhooks_endpoint", "INSERT", nothing,
    ),
    "SMPP password": (
        "smpp/{}/password/", {"overlap": "24"}, "messaging_smppaccount", "UPDATE", smpp_account,
    ),
    "test message": (
        "test-message/", {"to": "+966500000001", "text": "Hello"}, "messaging_message", "INSERT",
        nothing,
    ),
}  # fmt: skip
"""Forms by name: path, fields, the table in which the action fails, the statement, preparation."""


@pytest.mark.parametrize("form", FORMS)
def test_a_form_that_failed_with_503_can_be_submitted_again(
    committed_world: World, settings, form: str
) -> None:
    settings.STORAGES = PLAIN_STATIC
    cache.clear()
    committed_world.carrier(slug="sandbox", is_sandbox=True)
    customer = committed_world.customer()
    path, fields, table, statement, prepare = FORMS[form]
    url = f"/dashboard/{public_id(customer.organization)}/{path.format(prepare(customer))}"
    owner = browser(member(customer.organization))
    owner.raise_request_exception = False
    body = {"once": "asked", **fields}

    before = written(customer)
    with failing(table, READ_ONLY, on=statement):
        assert owner.post(url, body).status_code == 503
    assert written(customer) == before
    response = owner.post(url, body)
    assert response.status_code in (200, 302)
    after = written(customer)
    assert after != before
    # Then it is used: a double click does nothing.
    assert owner.post(url, body).status_code in (200, 302)
    assert written(customer) == after


def written(customer: Customer) -> list[tuple[object, ...]]:
    """Return what the forms write: the rows of an organization with their latest changes."""
    tables = {
        "accounts_apikey": "digest",
        "accounts_auditentry": "action",
        "messaging_export": "id::text",
        "webhooks_endpoint": "id::text",
        "messaging_smppaccount": "password_hash",
        "messaging_message": "id::text",
    }
    found: list[tuple[object, ...]] = []
    with connection.cursor() as cursor:
        for table, column in tables.items():
            cursor.execute(
                f"SELECT '{table}', {column} FROM {table} WHERE organization_id = %s ORDER BY 2",
                [customer.organization.id],
            )
            found += cursor.fetchall()
    return found


@pytest.mark.parametrize("sqlstate", ["23514", "22001"])
def test_a_form_whose_values_are_refused_stays_used(
    committed_world: World, settings, sqlstate: str
) -> None:
    """An error that is not about the database's state is a bug: nothing says that it is undone."""
    settings.STORAGES = PLAIN_STATIC
    cache.clear()
    customer = committed_world.customer()
    url = f"/dashboard/{public_id(customer.organization)}/messages/exports/new/"
    owner = browser(member(customer.organization))
    owner.raise_request_exception = False
    before = written(customer)
    with failing("messaging_export", sqlstate):
        assert owner.post(url, {"once": "asked"}).status_code == 500
    assert owner.post(url, {"once": "asked"}).status_code == 302
    assert written(customer) == before


def functions_that_check() -> list[tuple[str, str]]:
    """Return the functions that call `is_first`, each with its source."""
    found = []
    for folder in ("accounts", "messaging", "otp", "webhooks", "imissive"):
        for path in (ROOT / folder).rglob("*.py"):
            found += _functions_that_check(path)
    return found


def _functions_that_check(path: Path) -> list[tuple[str, str]]:
    source = path.read_text()
    return [
        (f"{path.relative_to(ROOT)}:{node.name}", ast.get_source_segment(source, node) or "")
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name != "is_first"
        if re.search(r"\.is_first\(\)", ast.get_source_segment(source, node) or "")
    ]


def test_each_single_use_form_is_usable_after_a_failure() -> None:
    found = functions_that_check()
    assert len(found) >= 9
    assert not [where for where, source in found if "usable_after_failure()" not in source]
