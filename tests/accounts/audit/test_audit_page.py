"""The audit log's page: sentences, filters, pages, the export, and its immutability."""

import csv
import io
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone, translation

from accounts.access.page_access import public_id
from accounts.audit import trail
from accounts.audit.texts import (
    AREAS,
    SENTENCES,
    details,
    sentence,
)
from accounts.models import AuditEntry, User
from accounts.roles import Role
from tests.support.factories import Customer, noting
from tests.support.people import (
    PLAIN_STATIC,
    browser,
    member,
    operator,
)

_ROOT = Path(__file__).parents[3]
_ACTION = re.compile(r'audit\.record\(\s*"([a-z_]+\.[a-z_]+)"')
_VERBS = re.compile(r'(?:_record|_audit|_change)\(\s*(?:request, member, )?"([a-z_]+\.[a-z_]+)"')


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def owner(customer: Customer) -> Client:
    return browser(member(customer.organization))


def _page(customer: Customer, query: str = "", export: bool = False) -> str:
    path = "audit/export/" if export else "audit/"
    return f"/dashboard/{public_id(customer.organization)}/{path}{query}"


def _text(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def _rows(client: Client, url: str) -> list[list[str]]:
    response = client.get(url)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    text = response.getvalue().decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text)))


def _record(customer: Customer, action: str = "apikey.added", **fields) -> AuditEntry:
    fields = {"actor": None, "target": "Shop"} | fields
    return trail.record(action, organization=customer.organization, **fields)


def test_entries_show_actor_action_time_and_address(owner: Client, customer: Customer) -> None:
    colleague = member(customer.organization, Role.ADMIN)
    _record(customer, actor=colleague, address="203.0.113.9", detail={"scopes": ["otp"]})
    _record(customer, "member.role_changed", actor=colleague, target="noor@x.example",
            detail={"from": "viewer", "to": "admin"})  # fmt: skip
    page = _text(owner, _page(customer))
    for shown in (
        "Made the API key Shop", colleague.email, "203.0.113.9", "may be used to:", "otp",
        "Changed the role of noor@x.example", "viewer → admin",
    ):  # fmt: skip
        assert shown in page
    arabic = owner.get(_page(customer), headers={"Accept-Language": "ar"}).content.decode()
    assert "أنشأ مفتاح API Shop" in arabic


def test_support_has_no_name_and_no_address(owner: Client, customer: Customer) -> None:
    who = operator()
    _record(customer, "credits.adjusted", actor=who, address="198.51.100.7")
    _record(customer, "otp.prefix_held", actor=None, target="+96650")
    page = _text(owner, _page(customer))
    assert "Support" in page
    assert "The platform" in page
    export = str(_rows(owner, _page(customer, export=True)))
    for text in (page, export):
        assert who.email not in text
        assert "198.51.100.7" not in text


def test_a_former_operator_stays_support(owner: Client, customer: Customer) -> None:
    who = operator()
    _record(customer, "credits.adjusted", actor=who)
    who.is_staff = who.is_superuser = False
    who.save()
    page = _text(owner, _page(customer))
    assert "Support" in page
    assert who.email not in page


def test_an_operator_who_is_a_member_has_a_name(owner: Client, customer: Customer) -> None:
    both = member(customer.organization)
    both.is_staff = True
    both.save()
    _record(customer, actor=both, target="Mine")
    assert both.email in _text(owner, _page(customer, "?what=keys"))


def test_filters(owner: Client, customer: Customer) -> None:
    colleague = member(customer.organization)
    _record(customer, actor=colleague, target="First")
    _record(customer, "apikey.revoked", actor=operator(), target="Second")
    _record(customer, "otp.prefix_held", target="Third")
    today = timezone.now().date()
    tomorrow = today + timedelta(days=1)
    for query, shown in (
        ("", "First Second Third"),
        (f"?who={colleague.pk}", "First"),
        ("?who=support", "Second"),
        ("?who=platform", "Third"),
        ("?what=keys", "First Second"),
        ("?what=apikey.revoked", "Second"),
        (f"?what=keys&who={colleague.pk}", "First"),
        (f"?since={today}&until={today}", "First Second Third"),
        (f"?since={tomorrow}", ""),
        (f"?until={today - timedelta(days=1)}", ""),
        ("?who=x&what=y&since=z&before=w", "First Second Third"),
    ):
        page = _text(owner, _page(customer, query))
        body = page.partition("<tbody>")[2]
        found = [word for word in ("First", "Second", "Third") if word in body]
        assert found == shown.split(), query
        exported = str(_rows(owner, _page(customer, query, export=True)))
        assert [word for word in ("First", "Second", "Third") if word in exported] == found
    assert "Nothing matches" in _text(owner, _page(customer, f"?since={tomorrow}"))


@pytest.mark.parametrize("zone", ["", "Pacific/Kiritimati", "America/Los_Angeles"])
def test_the_ends_of_the_calendar(customer: Customer, zone: str) -> None:
    someone = member(customer.organization)
    User.objects.filter(pk=someone.pk).update(time_zone=zone)
    client = browser(someone)
    _record(customer, target="Always")
    for query in ("?since=0001-01-01&until=9999-12-31", "?since=9999-12-31", "?until=0001-01-01"):
        for export in (False, True):
            assert client.get(_page(customer, query, export)).status_code == 200, query
    assert "Always" in _text(client, _page(customer, "?since=0001-01-01&until=9999-12-31"))


def test_pages(owner: Client, customer: Customer, monkeypatch) -> None:
    monkeypatch.setattr("accounts.audit.views.PAGE", 2)
    for number in range(5):
        _record(customer, target=f"Key-{number}")
    seen: list[str] = []
    url = _page(customer, "?what=keys")
    for _ in range(3):
        page = _text(owner, url)
        seen += re.findall(r"Made the API key (Key-\d)", page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        url = _page(customer, older[1].replace("&amp;", "&")) if older else ""
    assert (seen, url) == ([f"Key-{number}" for number in (4, 3, 2, 1, 0)], "")


def test_the_export_computes_nothing(owner: Client, customer: Customer) -> None:
    _record(customer, target='=HYPERLINK("https://evil.example")', detail={"name": "@SUM(A1)"})
    head, row = _rows(owner, _page(customer, export=True))
    assert head[:4] == ["time", "who", "email", "action"]
    assert row[head.index("target")].startswith("'=HYPERLINK")
    assert not any(cell.startswith(("=", "@", "+", "-")) for cell in row)


def test_a_long_log_is_exported_whole(owner: Client, customer: Customer) -> None:
    AuditEntry.objects.bulk_create(
        AuditEntry(organization=customer.organization, action="member.left", target=str(number))
        for number in range(2_001)
    )
    rows = _rows(owner, _page(customer, export=True))[1:]
    assert [row[5] for row in rows] == [str(number) for number in reversed(range(2_001))]


def test_another_organizations_entries_are_not_shown(
    owner: Client, customer: Customer, outsider: Customer
) -> None:
    theirs = member(outsider.organization)
    _record(outsider, actor=theirs, target="Theirs")
    for query in ("", f"?who={theirs.pk}"):
        page = _text(owner, _page(customer, query))
        assert "Theirs" not in page
        assert theirs.email not in page
    assert "Theirs" not in str(_rows(owner, _page(customer, export=True)))


def test_markup_is_text(owner: Client, customer: Customer) -> None:
    _record(customer, target="<script>x</script>", detail={"name": "<img src=x>"})
    page = _text(owner, _page(customer))
    assert "<script>x" not in page
    assert "<img src=x" not in page


def test_the_number_of_queries_is_fixed(owner: Client, customer: Customer) -> None:
    owner.get(_page(customer))
    counts = []
    for more in (1, 20):
        for _ in range(more):
            _record(customer, actor=member(customer.organization))
        statements: list[str] = []
        with connection.execute_wrapper(noting(statements)):
            owner.get(_page(customer))
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 10


def test_every_action_has_its_sentence() -> None:
    """Actions are found as literals in the code; one without a sentence is shown as its name."""
    found = set()
    for app in ("accounts", "messaging", "otp", "webhooks"):
        for file in (_ROOT / app).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            found |= set(_ACTION.findall(text)) | set(_VERBS.findall(text))
    assert len(found) > 20
    without_organization = {"carrier.switched"}
    assert found - without_organization - set(SENTENCES) == set()


@pytest.mark.parametrize("language", ["en", "ar"])
def test_every_sentence_can_be_said(language: str) -> None:
    with translation.override(language):
        for action in SENTENCES:
            said = sentence(action, "T-9")
            assert "%" not in said
            assert ("T-9" in said) == ("%(target)s" in str(SENTENCES[action]))
        assert all(str(name) for name, _ in AREAS.values())
    assert sentence("new.thing", "x") == "new.thing x"
    target = "snd_01m8d22sssejrs9207js4w8rnf NAJD"
    with translation.override("en"):
        assert sentence("sender_id.approved", target) == "Approved the sender ID NAJD"


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ({"from": "viewer", "to": "admin"}, [("", "viewer → admin")]),
        ({"name": {"from": "A", "to": "B"}}, [("name", "A → B")]),
        ({"networks": [[], ["203.0.113.7"]]}, [("addresses", "— → 203.0.113.7")]),
        ({"values": {"send_per_minute": [None, 5]}}, [("send_per_minute", "— → 5")]),
        ({"id": "key_1", "reason": "", "x": "y" * 200}, [("x", "y" * 120 + "…")]),
        ({"test": True}, [("test", "yes")]),
        ({"until": "2026-11-27T23:12:11.925273+00:00"}, [("until", "2026-11-27 23:12:11 UTC")]),
        ({}, []),
    ],
)
def test_details(detail: dict, expected: list[tuple[str, str]]) -> None:
    assert details(detail) == expected
