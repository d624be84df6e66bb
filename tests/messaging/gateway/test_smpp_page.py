"""The SMPP pages: the live console, and a new password that is displayed once."""

import re
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from accounts.access.page_access import public_id
from accounts.models import AuditEntry
from accounts.roles import Role
from messaging.gateway import accounts, history, sessions
from messaging.gateway.bind_auth import Denied, Gate
from messaging.gateway.console import Console
from messaging.gateway.sessions import BindInfo
from messaging.models import SmppAccount, SmppServer, SmppSession
from messaging.smpp import pdus
from tests.support.factories import Customer
from tests.support.people import (
    PLAIN_STATIC,
    browser,
    member,
    operator,
)
from tests.support.smpp_servers import QUICK_HASHERS, submit

PASSWORD = re.compile(r'id="the-secret">(\w{8})<')
BIND_INFO = BindInfo("trx", "203.0.113.9", 40000, True, 0x34, "")


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC
    settings.PASSWORD_HASHERS = QUICK_HASHERS
    cache.clear()


@pytest.fixture
def developer(customer: Customer) -> Client:
    return browser(member(customer.organization, Role.DEVELOPER))


@pytest.fixture
def account(customer: Customer) -> SmppAccount:
    return accounts.create_account(customer.organization, "acme")[0]


def _smpp(customer: Customer, path: str = "") -> str:
    return f"/dashboard/{public_id(customer.organization)}/smpp/{path}"


def _home(customer: Customer) -> str:
    return f"/dashboard/{public_id(customer.organization)}/"


def _text(client: Client, url: str, **headers: str) -> str:
    return client.get(url, headers=headers).content.decode()


def bind(account: SmppAccount, console: Console | None = None, **fields: object) -> SmppSession:
    """Create a live bind, as its server reports it."""
    console = console or Console()
    now = timezone.now()
    server = SmppServer.objects.create(name="there:1", started_at=now, seen_at=now)
    values = {
        "kind": "trx", "address": "203.0.113.9", "port": 40000, "interface_version": 0x34,
        "bound_at": now, "reported_at": now, "heard_at": now,
        "pdus": console.lines(), "errors": console.error_lines(), **fields,
    }  # fmt: skip
    return SmppSession.objects.create(account=account, server=server, **values)


# -- the console -------------------------------------------------------------------------------


def test_page_without_an_account_explains_how_to_get_one(developer, customer: Customer) -> None:
    page = _text(developer, _smpp(customer))
    assert "Ask support" in page
    assert "hx-get" not in page
    assert f'href="{_smpp(customer)}"' not in _text(developer, _home(customer))


def test_menu_entry_depends_on_the_setting(
    developer, customer: Customer, account, outsider: Customer
) -> None:
    assert f'href="{_smpp(customer)}"' in _text(developer, _home(customer))
    theirs = browser(member(outsider.organization))
    assert "/smpp/" not in _text(theirs, _home(outsider))


def test_page_shows_host_and_ports(developer, customer: Customer, account, settings) -> None:
    settings.SMPP_PUBLIC_HOST, settings.SMPP_PORT = "smpp.example.com", 27755
    SmppAccount.objects.update(networks=["198.51.100.0/24"], throughput=1500)
    page = _text(developer, _smpp(customer))
    for displayed in ("smpp.example.com", "27755", "acme", "198.51.100.0/24", "1,500", "Not bound"):
        assert displayed in page, displayed
    assert "Port with TLS" not in page
    settings.SMPP_TLS_CERT, settings.SMPP_TLS_PORT = "cert.pem", 35500
    assert "35500" in _text(developer, _smpp(customer))
    SmppAccount.objects.update(tls_only=True)
    assert "27755" not in _text(developer, _smpp(customer))


def test_binds_with_their_window_pace_and_throttles(developer, customer, account) -> None:
    bind(account, pending=14, submits=4821, pace=41.5, throttled=90, receipts=777, outstanding=3)
    bind(account, kind="rx", port=40001)
    page = _text(developer, _smpp(customer))
    for displayed in (
        "2</bdi> of", "203.0.113.9:40000", "14 / 100", "41.5", "4,821", "90</bdi> throttled",
        "777", "3</bdi> under way", "Receiver",
    ):  # fmt: skip
        assert displayed in page, displayed


def test_a_dead_servers_binds_are_not_shown(developer, customer, account) -> None:
    bind(account)
    SmppServer.objects.update(seen_at=timezone.now() - timedelta(minutes=1))
    page = _text(developer, _smpp(customer))
    assert "203.0.113.9" not in page
    assert "Nobody is bound" in page


def test_pdus_and_errors_are_decoded_and_masked(developer, customer, account) -> None:
    console = Console()
    console.note("<", pdus.BindTransceiver("acme", "pass1234", sequence=1))
    request = submit(b"\x05\x00\x03\x11\x03\x02the secret text", "966509999999", esm_class=0x40)
    request.sequence = 2
    console.note("<", request)
    console.note_response(request, 0x0B)
    receipt = pdus.DeliverSm(
        "", 1, 1, "966509999999", 5, 0, "MyCompany", 4, sequence=3,
        short_message=b"id:abc123 stat:DELIVRD err:000 text:the secret text",
    )  # fmt: skip
    console.note(">", receipt)
    console.note_silence(receipt)
    bind(account, console)
    page = _text(developer, _smpp(customer))
    for displayed in (
        "bind_transceiver #1", "submit_sm #2", "destination_addr=96650…99", "part=2/3",
        "ESME_RINVDSTADR", "id=abc123 stat=DELIVRD", "no answer in time", "text=••••",
    ):  # fmt: skip
        assert displayed in page, displayed
    for hidden in ("the secret", "966509999999", "pass1234"):
        assert hidden not in page, hidden


def test_refused_binds_are_listed_with_their_reason(developer, customer, account) -> None:
    gate = Gate(sessions.open_server())
    with pytest.raises(Denied):
        gate.admit("acme", "wrong", BIND_INFO)
    page = _text(developer, _smpp(customer))
    assert "ESME_RINVPASWD" in page
    assert "Wrong password." in page
    history.ended(account.id, BIND_INFO, "closed by us: whatever")
    history.ended(account.id, BIND_INFO, "unbound by the peer")
    page = _text(developer, _smpp(customer))
    assert "Closed by us." in page
    assert "You unbound." in page


def test_a_hundred_history_entries_are_kept(account, monkeypatch) -> None:
    monkeypatch.setattr(history, "KEPT", 3)
    for _ in range(5):
        history.bound(account.id, BIND_INFO)
    history.refused(account.id, BIND_INFO, 0x0E, history.PASSWORD)
    kept = list(account.smpphappening_set.order_by("id").values_list("what", flat=True))
    assert kept == ["bound", "bound", "refused"]


def test_page_refreshes_only_changed_fragments(developer, customer, account) -> None:
    url = _smpp(customer)
    seen = re.search(r"seen=(\w+)", _text(developer, url))
    assert seen
    again = f"{url}?seen={seen[1]}"
    assert developer.get(again, headers={"HX-Request": "true"}).status_code == 204
    bind(account)
    page = _text(developer, again, **{"HX-Request": "true"})
    assert "203.0.113.9:40000" in page
    assert "<html" not in page


def test_number_of_queries_is_constant_with_many_binds(
    developer, customer, account, django_assert_max_num_queries
) -> None:
    bind(account)
    developer.get(_smpp(customer))
    for number in range(3):
        other = accounts.create_account(customer.organization, f"acme{number}")[0]
        bind(other, port=number)
        bind(other, port=number + 10)
    with django_assert_max_num_queries(12):
        developer.get(_smpp(customer))


# -- a new password ----------------------------------------------------------------------------


def _rotate(client: Client, url: str, **fields: str) -> str:
    found = re.search(r'name="once" value="([^"]+)"', _text(client, url))
    assert found
    response = client.post(url, {"once": found[1], "overlap": "24", **fields}, follow=True)
    return response.content.decode()


def test_new_password_is_shown_once_and_the_old_one_stays_valid(
    developer, customer: Customer, account
) -> None:
    old = accounts.rotate_password(account)
    url = _smpp(customer, f"{account.pk}/password/")
    found = PASSWORD.search(_rotate(developer, url, overlap="1"))
    assert found
    gate = Gate(sessions.open_server())
    for password in (old, found[1]):
        gate.admit("acme", password, BIND_INFO)
    for path in (_smpp(customer), url):
        assert found[1] not in _text(developer, path)
    entry = AuditEntry.objects.get(action="smpp_account.password_rotated")
    assert (entry.target, entry.detail) == ("acme", {"overlap_hours": 1})
    assert "still works until" in _text(developer, url)


def test_a_leaked_password_is_revoked_immediately(developer, customer: Customer, account) -> None:
    old = accounts.rotate_password(account)
    assert PASSWORD.search(
        _rotate(developer, _smpp(customer, f"{account.pk}/password/"), overlap="0")
    )
    with pytest.raises(Denied):
        Gate(sessions.open_server()).admit("acme", old, BIND_INFO)


def test_double_click_creates_one_password(developer, customer: Customer, account) -> None:
    url = _smpp(customer, f"{account.pk}/password/")
    form = {"once": "the-same", "overlap": "24"}
    assert PASSWORD.search(developer.post(url, form).content.decode())
    created = SmppAccount.objects.get(pk=account.pk).password_hash
    again = developer.post(url, form, follow=True).content.decode()
    assert "made already" in again
    assert SmppAccount.objects.get(pk=account.pk).password_hash == created


@pytest.mark.parametrize("fields", [{"overlap": "1000"}, {"overlap": ""}, {"once": ""}])
def test_invalid_form_changes_nothing(developer, customer: Customer, account, fields) -> None:
    url = _smpp(customer, f"{account.pk}/password/")
    assert not PASSWORD.search(_rotate(developer, url, **fields))
    before = account.password_hash
    assert SmppAccount.objects.get(pk=account.pk).password_hash == before


def test_another_organizations_account_is_not_found(developer, customer, outsider) -> None:
    theirs = accounts.create_account(outsider.organization, "theirs")[0]
    url = _smpp(customer, f"{theirs.pk}/password/")
    assert developer.get(url).status_code == developer.post(url).status_code == 404
    assert "theirs" not in _text(developer, _smpp(customer))


# -- the operators' console --------------------------------------------------------------------


def test_operator_sees_the_same_and_ends_a_bind(account, settings) -> None:
    admin = browser(operator())
    console = Console()
    request = submit(b"the secret text", "966509999999")
    console.note("<", request)
    console.note_response(request, 0x58)
    session = bind(account, console)
    page = _text(admin, f"/admin/messaging/smppaccount/{account.pk}/console/")
    for displayed in ("203.0.113.9:40000", "ESME_RTHROTTLED", "96650…99", "every 4s"):
        assert displayed in page, displayed
    assert "secret text" not in page
    url = f"/admin/messaging/smppsession/{session.pk}/end/"
    assert url in page
    assert "bind again at once" in _text(admin, url)
    assert sessions.asked_to_end(session.server_id) == set()
    assert admin.post(url).status_code == 302
    assert sessions.asked_to_end(session.server_id) == {session.pk}
    assert AuditEntry.objects.filter(action="smpp_bind.ended", target="acme").exists()
