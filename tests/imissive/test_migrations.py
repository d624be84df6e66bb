"""Migrations can be reversed and reapplied; docs/database.md lists triggers and constraints.

The test's transaction rolls everything back, since PostgreSQL creates and drops tables in one too.
"""

import re
from collections.abc import Iterator

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from messaging.models import Campaign
from messaging.models.campaign_states import State
from tests.support import campaigns
from tests.support.factories import World

OURS = ("accounts", "messaging", "webhooks", "otp")
# Other tests may add rules of their own under names with this prefix.
BY_TESTS = "test_"

# Everything in `public`, as PostgreSQL itself writes it.
CATALOGUE = """
SELECT 'column', format('%s %s', attrelid::regclass, attnum),
       concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, attidentity,
                 pg_get_expr(adbin, adrelid))
  FROM pg_attribute
  JOIN pg_class ON pg_class.oid = attrelid
  LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
 WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'table', relname, coalesce(reloptions::text, '')
  FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
UNION ALL
SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid)
  FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
 WHERE relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'constraint', format('%s %s', conrelid::regclass, conname), pg_get_constraintdef(oid)
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 't'
UNION ALL
SELECT 'trigger', tgname, pg_get_triggerdef(pg_trigger.oid)
  FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
 WHERE relnamespace = 'public'::regnamespace AND NOT tgisinternal
UNION ALL
SELECT 'function', format('%s(%s)', proname, oidvectortypes(proargtypes)), pg_get_functiondef(oid)
  FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL
SELECT 'rule', country, concat_ws(' ', sender_suffix, opens, closes, time_zone, enabled)
  FROM messaging_sendingrule
"""
WITHOUT_ROWS = CATALOGUE.rpartition("UNION ALL")[0]

Catalogue = dict[tuple[str, str], str]


def catalogue(query: str = CATALOGUE) -> Catalogue:
    """Return the definition of everything in the database, by its kind and name."""
    with connection.cursor() as cursor:
        cursor.execute(query)
        rows = [row for row in cursor.fetchall() if not row[1].startswith(BY_TESTS)]
    found = {(kind, name): definition for kind, name, definition in rows}
    assert len(found) == len(rows)
    return found


def names(kind: str) -> set[str]:
    return {name for is_kind, name in catalogue() if is_kind == kind}


def migrate(*target: str) -> None:
    call_command("migrate", *target, verbosity=0)
    with connection.cursor() as cursor:
        # Deferred constraints would forbid the next change of a table in this transaction.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_migrations_are_undone_and_done_again(db: None) -> None:
    before = catalogue()
    tables = {
        model._meta.db_table for app in OURS for model in apps.get_app_config(app).get_models()
    }
    assert len(tables) > 50
    assert {("table", table) for table in tables} <= before.keys()

    # Reversing accounts reverses the applications that depend on it first.
    migrate("accounts", "zero")
    left = catalogue(WITHOUT_ROWS)
    assert not [name for kind, name in left if kind in ("trigger", "function")]
    assert not [name for _, name in left if name.startswith(tuple(f"{app}_" for app in OURS))]

    migrate()
    assert catalogue() == before


def test_rules_are_undone_and_done_again(db: None) -> None:
    """Without the rules, the tables are as the models declare them."""
    for app in ("messaging", "accounts"):
        migrate(app, "0002_rules")
    before = catalogue()
    for app in ("messaging", "accounts"):
        migrate(app, "0001_initial")
    without = catalogue()
    assert without.keys() <= before.keys()
    undone = {key for key, definition in before.items() if without.get(key) != definition}
    assert undone == {key for key in before if key[0] in ("trigger", "function", "rule")} | {
        ("table", "accounts_balance")
    }
    for app in ("messaging", "accounts"):
        migrate(app, "0002_rules")
    assert catalogue() == before


@pytest.mark.parametrize(
    ("code", "state", "country"),
    [
        (966, State.READY, "SA"),
        (971, State.FINISHED, "AE"),
        (1, State.DRAFT, "US"),
        (None, State.READY, ""),
        (None, State.DRAFT, "SA"),
    ],
)
def test_a_campaigns_calling_code_becomes_its_country(
    world: World, code: int | None, state: State, country: str
) -> None:
    campaign = campaigns.made(world.customer(), [("0501234567", "Sara")], text="")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    migrate("messaging", "0004_sender_coding")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE messaging_campaign SET calling_code = %s, state = %s", [code, state.value]
        )
    migrate()
    assert Campaign.objects.get(pk=campaign.pk).country == country


def rows_listed(title: str) -> Iterator[str]:
    """Yield the names in the first column of the table under that title of the page."""
    page = (settings.BASE_DIR / "docs" / "database.md").read_text()
    section = re.split(r"^## ", page, flags=re.M)
    [mine] = [part for part in section if part.startswith(f"{title}\n")]
    yield from re.findall(r"^\| `([^`]+)` \|", mine, re.M)


def names_listed(title: str) -> set[str]:
    listed = list(rows_listed(title))
    assert len(listed) == len(set(listed)) > 0
    return set(listed)


@pytest.mark.parametrize(("title", "kind"), [("Triggers", "trigger"), ("Functions", "function")])
def test_the_page_lists_each(db: None, title: str, kind: str) -> None:
    assert {name.replace("()", "") for name in names_listed(title)} == {
        name.replace("()", "") for name in names(kind)
    }


def test_the_page_lists_each_named_constraint(db: None) -> None:
    constraints = {
        constraint.name
        for app in OURS
        for model in apps.get_app_config(app).get_models()
        for constraint in model._meta.constraints
    }
    listed = [*rows_listed("Checks"), *rows_listed("Unique keys")]
    assert sorted(listed) == sorted(constraints)
    in_database = {
        name.split()[-1] for kind, name in catalogue() if kind in ("constraint", "index")
    }
    assert constraints <= in_database
