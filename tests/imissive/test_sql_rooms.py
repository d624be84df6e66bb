"""Each room's SQL uses its own tables. import-linter only sees imports, not names in strings."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from imissive.run.programs import ROOT
from messaging.states import Status
from tests.support.sql_in_code import Use, files, strings_of, tables, uses_in

HOMES = {
    "accounts_apikey": "accounts/keys",
    "accounts_balance": "accounts/credits",
    "accounts_idempotencyrecord": "accounts/api",
    "accounts_ledgerentry": "accounts/credits",
    "accounts_organization": "accounts/members",
    "messaging_attempt": "messaging/carriers",
    "messaging_batch": "messaging/sending",
    "messaging_carrier": "messaging/carriers",
    "messaging_carriertraffic": "messaging/carriers",
    "messaging_carrierworker": "messaging/carriers",
    "messaging_contact": "messaging/contacts",
    "messaging_earlyreceipt": "messaging/carriers",
    "messaging_listentry": "messaging/contacts",
    "messaging_message": "messaging/sending",
    "messaging_messagepart": "messaging/carriers",
    "messaging_senderid": "messaging/senders",
    "messaging_smppaccount": "messaging/gateway",
    "messaging_smppassembly": "messaging/gateway",
    "messaging_smpphappening": "messaging/gateway",
    "messaging_smppreceipt": "messaging/gateway",
    "messaging_smppserver": "messaging/gateway",
    "messaging_smppsubmit": "messaging/gateway",
    "messaging_suppression": "messaging/contacts",
    "messaging_sweeprun": "messaging/carriers",
    "messaging_usagemark": "messaging/usage",
    "messaging_usageopen": "messaging/usage",
    "messaging_usagesum": "messaging/usage",
    "otp_codesend": "otp/verification",
    "otp_heldprefix": "otp/limits",
    "otp_otpsettings": "otp/limits",
    "otp_verification": "otp/verification",
    "webhooks_delivery": "webhooks/delivery",
    "webhooks_endpoint": "webhooks/endpoints",
    "webhooks_event": "webhooks/events",
    "webhooks_failedattempt": "webhooks/delivery",
}
"""The room of each table that SQL names; this room may read and write it."""

READS = {
    ("accounts/api", "accounts_organization"): "with the key, in the one statement of a request",
    ("imissive/run", "messaging_carrier"): "starts a worker for each, and imports no application",
    ("messaging/campaigns", "messaging_message"): "counts 100,000 messages of a batch",
    ("messaging/gateway", "messaging_message"): "writes a receipt's text with the receipt",
    ("messaging/gateway", "messaging_messagepart"): "writes a receipt's error with the receipt",
    ("messaging/lifecycle", "messaging_message"): "is what other applications may join",
    ("messaging/log", "messaging_message"): "walks the index of senders by steps",
    ("messaging/sending", "messaging_messagepart"): "cancels nothing that a carrier has a part of",
    ("messaging/sending", "messaging_senderid"): "reads what drafts are evaluated by at once",
    ("messaging/sending", "messaging_suppression"): "reads what drafts are evaluated by at once",
    ("messaging/usage", "messaging_message"): "sums messages by hours",
    ("otp/limits", "otp_verification"): "counts codes of a day by prefix",
    ("webhooks/dashboard", "webhooks_delivery"): "the feed is read from the indexes of deliveries",
    ("webhooks/dashboard", "webhooks_endpoint"): "the feed is read from the indexes of deliveries",
    ("webhooks/endpoints", "webhooks_delivery"): "health is read from the indexes of deliveries",
    ("webhooks/events", "webhooks_endpoint"): "an event is kept only where an endpoint wants it",
}
"""Rooms that read another room's table, each with why a function of that room is not enough."""

WRITES = {
    ("accounts/api", "accounts_apikey"): "notes a key's use as the key is read",
    ("accounts/credits", "accounts_organization"): "notes once that a balance has fallen",
    ("imissive/run", "messaging_carrierworker"): "sees workers die, and imports no application",
    ("messaging/carriers", "messaging_message"): "what is queued is the carriers' to move",
    ("otp/verification", "otp_heldprefix"): "its housekeeping deletes all that is old",
    ("webhooks/delivery", "webhooks_endpoint"): "health moves with the delivery's result",
    ("webhooks/delivery", "webhooks_event"): "an event goes with its last delivery",
    ("webhooks/events", "webhooks_delivery"): "an event and its deliveries are one statement",
}
"""Rooms that write another room's table, each with the reason."""

MONEY = ("LedgerEntry", "Balance")
CHANGES = {"create", "bulk_create", "update", "bulk_update", "delete"} | {
    "get_or_create",
    "update_or_create",
}


def all_uses() -> list[Use]:
    known = tables()
    return [use for path in files() for use in uses_in((ROOT / path).read_text(), path, known)]


def is_allowed(use: Use) -> bool:
    if use.place.endswith("/migrations"):
        return use.table.startswith(use.place.removesuffix("migrations").replace("/", "_"))
    key = (use.place, use.table)
    return HOMES.get(use.table) == use.place or key in WRITES or (key in READS and not use.writes)


def test_each_room_names_its_own_tables() -> None:
    foreign = [use for use in all_uses() if not is_allowed(use)]
    assert not [(use.where, use.table, use.writes) for use in foreign]


def test_each_exception_is_needed() -> None:
    found = all_uses()
    assert set(HOMES) == {use.table for use in found if not use.place.endswith("/migrations")}
    assert set(READS) <= {(use.place, use.table) for use in found}
    assert set(WRITES) <= {(use.place, use.table) for use in found if use.writes}
    assert not {key for key in (*READS, *WRITES) if HOMES[key[1]] == key[0]}
    assert not set(READS) & set(WRITES)


def test_table_names_are_literal() -> None:
    """A search for a table would not find a statement that is composed from `_meta.db_table`."""
    composed = [
        str(path)
        for path in files()
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "db_table"
    ]
    assert not composed


INSERT = "INSERT INTO accounts_ledgerentry (amount) SELECT 1"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("A = 'SELECT micro FROM accounts_balance'", {("accounts_balance", False)}),
        (f"def f():\n    run('{INSERT}')", {("accounts_ledgerentry", True)}),
        (f"A = f'''WITH a AS ({INSERT}) {{b}}'''", {("accounts_ledgerentry", True)}),
        ("A = ('UPDATE accounts_'\n 'balance b SET micro = 0')", {("accounts_balance", True)}),
        ("A = f'UPDATE accounts_balance SET {b}' + c", {("accounts_balance", True)}),
        ("A = 'DELETE FROM ONLY accounts_' + 'balance'", {("accounts_balance", True)}),
        ("A = f'{x(\"FROM accounts_balance\")}'", {("accounts_balance", False)}),
        (
            "A = 'UPDATE messaging_batch b SET a = 1 FROM accounts_balance'",
            {("messaging_batch", True), ("accounts_balance", False)},
        ),
        ("A = 'SELECT 1 FROM accounts_balance FOR UPDATE'", {("accounts_balance", False)}),
        ("def f():\n    'Move accounts_balance.'\n    # UPDATE accounts_balance", set()),
        ("A = 'accounts_balances', 'my_accounts_balance'", set()),
        ("class Meta:\n    db_table = 'accounts_balance'", set()),
    ],
)
def test_tables_in_strings_are_found(source: str, found: set[tuple[str, bool]]) -> None:
    uses = list(uses_in(source, Path("messaging/sending/new.py"), tables()))
    assert {(use.table, use.writes) for use in uses} == found
    assert {use.place for use in uses} <= {"messaging/sending"}
    foreign = [use for use in uses if use.table.startswith("accounts")]
    assert not any(is_allowed(use) for use in foreign)


def test_a_room_that_may_read_may_not_write() -> None:
    reading, writing = (
        next(uses_in(f"A = '{sql}'", Path("messaging/usage/new.py"), tables()))
        for sql in ("SELECT 1 FROM messaging_message", "DELETE FROM messaging_message")
    )
    assert is_allowed(reading)
    assert not is_allowed(writing)


# -- money ------------------------------------------------------------------------------------


def moves_of_money(source: str) -> Iterator[int]:
    """Yield the lines that create or change ledger entries or balances with their models."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        named = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        root: ast.AST = node.func
        while isinstance(root, ast.Attribute | ast.Call):
            root = root.func if isinstance(root, ast.Call) else root.value
        created = isinstance(node.func, ast.Name)
        if isinstance(root, ast.Name) and root.id in MONEY and (created or named in CHANGES):
            yield node.lineno


def test_only_the_ledger_moves_money() -> None:
    """No other room writes the ledger or balances: not with SQL (above), and not with models."""
    homes = ("accounts/credits/", "accounts/models/", "accounts/migrations/")
    others = [path for path in files() if not str(path).startswith(homes)]
    moved = [(str(p), line) for p in others for line in moves_of_money((ROOT / p).read_text())]
    assert not moved
    assert not [use.where for use in all_uses() if use.table in ("accounts_ledgerentry",
                "accounts_balance") and not use.place.startswith("accounts/")]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "moves"),
    [
        ("LedgerEntry.objects.create(amount=1)", True),
        ("LedgerEntry.objects.filter(id=1).update(amount=1)", True),
        ("LedgerEntry(amount=1).save()", True),
        ("Balance.objects.filter(micro=1).select_for_update().delete()", True),
        ("LedgerEntry.objects.filter(kind=LedgerEntry.Kind.REFUND).first()", False),
        ("Balance.objects.get(pk=1)", False),
        ("ledger.post([ledger.Posting(1, LedgerEntry.Kind.REFUND, 1)])", False),
    ],
)
def test_moves_of_money_are_found(source: str, moves: bool) -> None:
    assert bool(list(moves_of_money(source))) is moves


# -- statuses ---------------------------------------------------------------------------------


def test_statements_take_a_message_s_statuses_from_the_table() -> None:
    """No statement with a literal status changes a message's status (`messaging.states.swap`)."""
    literals = tuple(f"'{status}'" for status in Status)
    changing = [
        (use.where, use.text)
        for use in all_uses()
        if use.table == "messaging_message"
        and use.writes
        and "SET status" in " ".join(use.text.split())
    ]
    assert len(changing) >= 8
    assert not [where for where, text in changing if any(word in text for word in literals)]


def test_pieces_of_a_string_are_joined() -> None:
    source = "a = f('x' 'y', f'{b}z' + 'c')\nclass D:\n    'doc'\n    e = 'f'"
    assert list(strings_of(ast.parse(source))) == [(1, "xy"), (1, "{}zc"), (4, "f")]
