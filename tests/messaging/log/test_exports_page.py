"""Exports of the message log: request, writing in steps, download, cancel."""

import csv
import io
import re
from datetime import timedelta

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from accounts.access.page_access import public_id
from accounts.models import AuditEntry, FileChunk, StoredFile
from accounts.ui import stored_files
from messaging import tasks
from messaging.log import exports
from messaging.log import query as message_query
from messaging.models import Carrier, Export
from messaging.states import Status
from tests.support.factories import Customer, World, in_threads
from tests.support.people import PLAIN_STATIC, browser, member


@pytest.fixture(autouse=True)
def _plain_static(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def owner(customer: Customer) -> Client:
    return browser(member(customer.organization))


def _home(customer: Customer) -> str:
    return f"/dashboard/{public_id(customer.organization)}/messages/"


def _ask(client: Client, customer: Customer, query: str = "", **more):
    page = client.get(f"{_home(customer)}?{query}").content.decode()
    once = re.search(r'name="once" value="([^"]+)"', page)
    assert once
    url = f"{_home(customer)}exports/new/?{query}"
    return client.post(url, {"once": once[1]} | more, follow=True)


def _export(customer: Customer) -> Export:
    return Export.objects.get(organization=customer.organization)


def _finish() -> int:
    steps = 0
    while exports.step():
        steps += 1
    return steps


def _fetch(client: Client, customer: Customer, export: Export | None = None) -> list[dict]:
    export = export or _export(customer)
    response = client.get(f"{_home(customer)}exports/{export.public_id}/")
    assert response.status_code == 200, response["Location"]
    assert response["Content-Disposition"].startswith("attachment")
    text = b"".join(response).decode("utf-8-sig")
    assert "\ufeff" not in text
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def many(world: World, customer: Customer, outsider: Customer, carrier: Carrier) -> list[str]:
    """Create 25 messages, some failed, and one of another organization; return their ids.

    The newest is first.
    """
    for index in range(25):
        status = Status.FAILED if index % 5 == 0 else Status.DELIVERED
        world.message(customer, carrier, to=f"+9665000{index:05d}", status=status)
    world.message(outsider, carrier)
    return [message.public_id for message in reversed(customer.messages())]


def test_the_whole_log_as_a_file(
    owner: Client, customer: Customer, many: list[str], wakes: list
) -> None:
    response = _ask(owner, customer)
    assert "The whole log" in response.content.decode()
    assert "hx-get" in response.content.decode(), "its progress shows up by itself"
    assert ("messaging.tasks.write_exports", "default", ()) in wakes or not wakes
    assert _finish() == 1
    rows = _fetch(owner, customer)
    assert [row["message_id"] for row in rows] == many
    assert set(rows[0]) == set(exports.COLUMNS)
    page = owner.get(f"{_home(customer)}exports/").content.decode()
    assert f'exports/{_export(customer).public_id}/"' in page
    assert f"exports/{_export(customer).public_id}/?format=xlsx" in page
    assert "hx-get" not in page


@pytest.mark.parametrize("size", [1, 7, 25, 26])
def test_it_is_written_in_steps(
    owner: Client,
    customer: Customer,
    many: list[str],
    size: int,
    monkeypatch: pytest.MonkeyPatch,
    world: World,
    carrier: Carrier,
) -> None:
    monkeypatch.setattr(exports, "STEP", size)
    _ask(owner, customer)
    exports.step()
    # Messages that are accepted meanwhile are not in it.
    world.message(customer, carrier)
    export = _export(customer)
    assert (export.total, export.written) == (25, min(size, 25))
    assert 1 + _finish() == -(-25 // size)
    assert [row["message_id"] for row in _fetch(owner, customer)] == many
    export.refresh_from_db()
    assert (export.status, export.written) == (Export.Status.DONE, 25)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("status=failed", 5),
        ("number=%2B966500000003", 1),
        ("number=0002", 6),
        ("country=AE", 0),
        ("country=SA&source=api&mode=live", 25),
        ("since=2020-01-01&until=2020-01-02", 0),
    ],
)
def test_only_what_the_log_was_narrowed_to(
    owner: Client,
    customer: Customer,
    many: list[str],
    query: str,
    count: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exports, "STEP", 3)
    monkeypatch.setattr(message_query, "SEARCHED", 4)
    _ask(owner, customer, query)
    _finish()
    rows = _fetch(owner, customer)
    assert len(rows) == count
    assert [row["message_id"] for row in rows] == sorted(r["message_id"] for r in rows)[::-1]
    assert _export(customer).total == count


def test_a_step_that_dies_leaves_nothing_and_the_next_goes_on(
    owner: Client, customer: Customer, many: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like a worker that is killed between its write and its commit."""
    monkeypatch.setattr(exports, "STEP", 10)
    _ask(owner, customer)
    exports.step()
    before = Export.objects.filter(pk=_export(customer).pk).values().get()
    chunks = FileChunk.objects.filter(file=before["file_id"]).count()

    class Killed(BaseException):
        pass

    def killed(*args, **kwargs):
        append(*args, **kwargs)
        raise Killed

    append = stored_files.append
    with monkeypatch.context() as patch:
        patch.setattr(stored_files, "append", killed)
        with pytest.raises(Killed):
            exports.step()
    assert Export.objects.filter(pk=before["id"]).values().get() == before
    assert FileChunk.objects.filter(file=before["file_id"]).count() == chunks
    tasks.write_exports()
    assert [row["message_id"] for row in _fetch(owner, customer)] == many


def test_a_step_that_breaks_is_tried_again_and_then_given_up(
    owner: Client, customer: Customer, many: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "STEP", 10)
    monkeypatch.setattr(exports, "RETRY_AFTER", timedelta(0))
    _ask(owner, customer)
    exports.step()

    def broken(*args, **kwargs):
        raise RuntimeError("no")

    with monkeypatch.context() as patch:
        patch.setattr(stored_files, "append", broken)
        exports.step()
        assert (_export(customer).failures, _export(customer).written) == (1, 10)
    exports.step()
    assert (_export(customer).failures, _export(customer).written) == (0, 20)
    with monkeypatch.context() as patch:
        patch.setattr(stored_files, "append", broken)
        assert _finish() == exports.FAILURES_AT_MOST
    assert _export(customer).status == Export.Status.FAILED
    assert not StoredFile.objects.filter(organization=customer.organization).exists()
    assert "If it fails again" in owner.get(f"{_home(customer)}exports/").content.decode()


def test_two_workers_write_two_exports(committed_world: World) -> None:
    """The second worker takes the other export, and neither waits."""
    carrier, customer = committed_world.serve(), committed_world.customer()
    committed_world.message(customer, carrier)
    person = member(customer.organization)
    asker = person.memberships.get()
    try:
        for _ in range(2):
            exports.request_export(asker, message_query.Filter(), "", None)
        with transaction.atomic():
            held = (
                Export.objects.select_for_update().filter(organization=customer.id).earliest("id")
            )
            assert in_threads([exports.step, exports.step]) in ([True, False], [False, True])
            held.refresh_from_db()
            assert held.written == 0
        exports.step()
        done = Export.objects.filter(organization=customer.id, status="done")
        assert done.count() == 2
    finally:
        Export.objects.filter(organization=customer.id).delete()
        StoredFile.objects.filter(organization=customer.id).delete()


def test_cells_compute_nothing_and_codes_are_masked(
    owner: Client, world: World, customer: Customer, carrier: Carrier
) -> None:
    formula = '=HYPERLINK("http://evil.example","x")'
    world.message(customer, carrier, text=formula, reference="@SUM(A1)")
    world.message(
        customer, carrier, source="otp", text="Code 908172", masked_text="Code ••••••", test=True
    )
    world.message(customer, carrier, text='سطر\nثان, "مقتبس"', price=1_500_000)
    _ask(owner, customer)
    _finish()
    third, second, first = _fetch(owner, customer)
    assert (first["text"], first["reference"]) == (f"'{formula}", "'@SUM(A1)")
    assert first["to"] == "+966501234567"
    assert (second["text"], second["live"], second["source"]) == ("Code ••••••", "no", "otp")
    assert (third["text"], third["credits"]) == ('سطر\nثان, "مقتبس"', "1.5")


def test_requests_and_downloads_are_audited(
    owner: Client, customer: Customer, many: list[str]
) -> None:
    _ask(owner, customer, "number=%2B966500000003&status=delivered")
    _finish()
    _fetch(owner, customer)
    rows = AuditEntry.objects.filter(organization=customer.organization, action__contains="export")
    exported, fetched = rows.order_by("id")
    assert (exported.action, fetched.action) == ("messages.exported", "messages.export_fetched")
    assert exported.actor == fetched.actor is not None
    assert exported.detail["status"] == "delivered"
    assert "966500000003" not in str(exported.detail)


def test_a_double_click_starts_one_and_few_are_in_progress(
    owner: Client, customer: Customer, many: list[str]
) -> None:
    _ask(owner, customer, once="the-same")
    _ask(owner, customer, once="the-same")
    mine = Export.objects.filter(organization=customer.organization)
    assert mine.count() == 1
    for _ in range(3):
        response = _ask(owner, customer)
    assert "3 exports are under way already" in response.content.decode()
    assert mine.count() == exports.OPEN_AT_MOST
    _finish()
    _ask(owner, customer)
    assert mine.count() == exports.OPEN_AT_MOST + 1


def test_a_canceled_export_leaves_no_file(
    owner: Client, customer: Customer, many: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "STEP", 10)
    _ask(owner, customer)
    exports.step()
    url = f"{_home(customer)}exports/{_export(customer).public_id}/"
    assert "no file" in owner.get(url, follow=True).content.decode()
    assert "Stop this export?" in owner.get(f"{url}cancel/").content.decode()
    assert "The export was stopped" in owner.post(f"{url}cancel/", follow=True).content.decode()
    assert "over already" in owner.post(f"{url}cancel/", follow=True).content.decode()
    assert not exports.step()
    assert _export(customer).status == Export.Status.CANCELED
    assert not StoredFile.objects.filter(organization=customer.organization).exists()
    assert "no file" in owner.get(url, follow=True).content.decode()


@pytest.mark.parametrize("query", ["since=x", "batch=1", "since=2026-02-02&until=2026-02-01"])
def test_an_invalid_filter_starts_no_export(owner: Client, customer: Customer, query: str) -> None:
    url = f"{_home(customer)}exports/new/?{query}"
    response = owner.post(url, {"once": "x"}, follow=True)
    assert "was not begun" in response.content.decode()
    assert "was not begun" in owner.post(url.split("?")[0], follow=True).content.decode()
    assert not Export.objects.filter(organization=customer.organization).exists()


def test_nobody_elses_file(
    owner: Client, customer: Customer, outsider: Customer, many: list[str]
) -> None:
    _ask(owner, customer)
    _finish()
    export = _export(customer)
    stranger = browser(member(outsider.organization))
    for where in (customer, outsider):
        for what in ("", "cancel/"):
            url = f"{_home(where)}exports/{export.public_id}/{what}"
            assert stranger.get(url).status_code == 404
            assert stranger.post(url).status_code in (404, 405)


def test_files_expire_before_their_exports(
    owner: Client, customer: Customer, many: list[str]
) -> None:
    _ask(owner, customer)
    _finish()
    export = _export(customer)
    StoredFile.objects.filter(organization=customer.organization).update(expires_at=timezone.now())
    url = f"{_home(customer)}exports/{export.public_id}/"
    assert "kept no longer" in owner.get(url, follow=True).content.decode()
    stored_files.purge()
    assert "kept no longer" in owner.get(f"{_home(customer)}exports/").content.decode()
    tasks.purge_exports()
    assert Export.objects.filter(pk=export.pk).exists()
    Export.objects.filter(pk=export.pk).update(ended_at=timezone.now() - timedelta(days=31))
    tasks.purge_exports()
    assert not Export.objects.filter(pk=export.pk).exists()


def test_an_empty_page_says_how(owner: Client, customer: Customer) -> None:
    assert "Narrow the message log" in owner.get(f"{_home(customer)}exports/").content.decode()
