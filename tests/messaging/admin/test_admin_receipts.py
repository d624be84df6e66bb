"""Unused delivery receipts in the admin: counts, mapping of status words, export, settings."""

import csv
import io
from datetime import timedelta
from typing import Any

import openpyxl
import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry
from messaging.carriers import receipts
from messaging.carriers.receipts import Reason, UnusedReceipt
from messaging.carriers.unused_receipts import check_words
from messaging.models import Carrier, EarlyReceipt
from messaging.states import Status
from tests.accounts.operators.test_admin import CARRIER
from tests.support.factories import Customer, World
from tests.support.people import (
    PLAIN_STATIC,
    browser,
    member,
    operator,
)

LIST = "/admin/messaging/earlyreceipt/"
EXPORT = "/admin/messaging/earlyreceipt/export/"


@pytest.fixture(autouse=True)
def _plain_static(settings: Any) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def admin(db: None) -> Client:
    return browser(operator())


def change_url(carrier: Carrier) -> str:
    return reverse("admin:messaging_carrier_change", args=(carrier.pk,))


def map_url(carrier: Carrier) -> str:
    return reverse("admin:messaging_carrier_map_word", args=(carrier.pk,))


def keep(carrier: Carrier, *unused: UnusedReceipt) -> None:
    receipts.apply(carrier.id, list(unused))


def unknown(word: str, message_id: str = "7") -> UnusedReceipt:
    raw = f"deliver_sm esm_class=0x04 id:{message_id} stat:{word}"
    return UnusedReceipt(Reason.UNKNOWN_WORD, message_id, "", word, word, raw)


def test_carrier_s_page_counts_them_by_reason(admin: Client, carrier: Carrier) -> None:
    page = admin.get(change_url(carrier)).content.decode()
    assert "None: each receipt that came belongs to a message." in page
    assert map_url(carrier) not in page
    keep(carrier, unknown("NODLV"), unknown("NODLV"), unknown("PARKED"))
    keep(carrier, *[UnusedReceipt(Reason.UNMARKED, "9", "delivered")] * 4)
    old = EarlyReceipt.objects.filter(reason="unmarked").first()
    assert old is not None
    EarlyReceipt.objects.filter(pk=old.pk).update(received_at=timezone.now() - timedelta(hours=2))
    response = admin.get(change_url(carrier))
    assert [(row.reason, row.hour, row.day, row.kept) for row in response.context["unused"]] == [
        ("unmarked", 3, 4, 4),
        ("unknown_word", 3, 3, 3),
    ]
    assert [(row.word, row.count) for row in response.context["unknown_words"]] == [
        ("NODLV", 2),
        ("PARKED", 1),
    ]
    page = response.content.decode()
    link = f"{LIST}?carrier__id__exact={carrier.pk}&amp;reason__exact=unmarked"
    assert link in page
    assert f"{map_url(carrier)}?word=NODLV" in page
    listed = admin.get(link.replace("&amp;", "&"))
    assert listed.status_code == 200
    assert listed.context["cl"].result_count == 4


def test_word_is_mapped_once_and_kept_receipts_count(
    admin: Client, carrier: Carrier, customer: Customer, world: World
) -> None:
    message = world.message(customer, carrier, status=Status.SENT)
    world.part(message, "7")
    keep(carrier, unknown("NODLV"))
    form = admin.get(map_url(carrier) + "?word=NODLV")
    assert 'value="NODLV"' in form.content.decode()
    assert admin.post(map_url(carrier), {"word": "nodlv", "meaning": "failed"}).status_code == 302
    carrier.refresh_from_db()
    assert carrier.receipt_words == {"NODLV": "failed"}
    entry = AuditEntry.objects.get(action="carrier.word_mapped")
    assert entry.detail == {"word": "NODLV", "meaning": "failed"}
    assert receipts.use_kept() == 1
    message.refresh_from_db()
    assert (message.status, message.error_code) == ("failed", "NODLV")
    # No unknown word is left.
    assert map_url(carrier) not in admin.get(change_url(carrier)).content.decode()


@pytest.mark.parametrize(
    "values", [{"word": "", "meaning": "failed"}, {"word": "NODLV", "meaning": "lost"}]
)
def test_invalid_mapping_is_refused(
    admin: Client, carrier: Carrier, values: dict[str, str]
) -> None:
    assert admin.post(map_url(carrier), values).status_code == 200
    carrier.refresh_from_db()
    assert carrier.receipt_words == {}


def test_settings_of_receipts_are_saved_and_audited(admin: Client) -> None:
    add = reverse("admin:messaging_carrier_add")
    assert admin.post(add, CARRIER).status_code == 302
    carrier = Carrier.objects.get(slug="gulf")
    assert carrier.receipt_words == {}
    values = CARRIER | {
        "receipts_by_data_sm": "on",
        "receipts_unmarked": "on",
        "receipt_text_first": "on",
        "receipt_words": '{"nodlv": "failed"}',
    }
    assert admin.post(change_url(carrier), values).status_code == 302
    carrier.refresh_from_db()
    assert (carrier.receipts_by_data_sm, carrier.receipts_unmarked) == (True, True)
    assert (carrier.receipt_text_first, carrier.receipt_words) == (True, {"NODLV": "failed"})
    changed = AuditEntry.objects.get(action="carrier.changed")
    assert changed.detail["values"]["receipts_unmarked"] == [False, True]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ('["NODLV"]', "write an object"),
        ('{"NODLV": "lost"}', "is not one of delivered, failed, expired, enroute"),
        ('{"": "failed"}', "1 to 20 characters"),
        ('{"%s": "failed"}' % ("X" * 21), "1 to 20 characters"),
    ],
)
def test_invalid_table_is_refused(admin: Client, words: str, expected: str) -> None:
    values = CARRIER | {"receipt_words": words}
    response = admin.post(reverse("admin:messaging_carrier_add"), values)
    (error,) = response.context["adminform"].form.errors["receipt_words"]
    assert expected in error
    assert not Carrier.objects.filter(slug="gulf").exists()


def test_table_of_words_is_normalized_to_upper_case() -> None:
    assert check_words({" nodlv ": "failed", "OK": "delivered"}) == {
        "NODLV": "failed",
        "OK": "delivered",
    }


def test_export_has_the_filtered_receipts(admin: Client, carrier: Carrier) -> None:
    keep(carrier, unknown("=NODLV", "+9"), UnusedReceipt(Reason.UNMARKED, "9", "delivered"))
    assert EXPORT in admin.get(LIST).content.decode()
    response = admin.get(EXPORT + "?reason__exact=unknown_word")
    assert response["Content-Disposition"] == 'attachment; filename="receipts-not-used.csv"'
    written = b"".join(response.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    (row,) = csv.DictReader(io.StringIO(written))
    assert row.pop("received_at").startswith(f"{timezone.now():%Y-}")
    response = admin.get(EXPORT + "?reason__exact=unknown_word&format=xlsx")
    content = b"".join(response.streaming_content)  # type: ignore[attr-defined]
    sheet = openpyxl.load_workbook(io.BytesIO(content)).worksheets[0]
    assert [str(cell.value) for cell in sheet[2]][1:4] == [carrier.slug, "unknown_word", "+9"]
    assert sheet.max_row == 2
    assert row == {
        "carrier": carrier.slug,
        "reason": "unknown_word",
        "carrier_message_id": "+9",
        "status_word": "'=NODLV",
        "would_end_as": "",
        "error_code": "'=NODLV",
        "as_it_came": "deliver_sm esm_class=0x04 id:+9 stat:=NODLV",
    }
    entries = AuditEntry.objects.filter(action="receipts.exported")
    filters = {"filters": "reason__exact=unknown_word"}
    assert [entry.detail for entry in entries] == [filters, filters]
    everything = b"".join(admin.get(EXPORT).streaming_content)  # type: ignore[attr-defined]
    assert everything.count(b"\r\n") == 3


def test_export_is_for_operators(customer: Customer) -> None:
    client = browser(member(customer.organization))
    assert client.get(EXPORT, follow=True).status_code == 403
