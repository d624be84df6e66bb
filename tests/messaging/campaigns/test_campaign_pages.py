"""The way to a campaign, page by page, and the page of one that was sent."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.access.page_access import public_id
from accounts.credits import ledger
from accounts.models import MICRO, AuditEntry, Organization, StoredFile
from accounts.roles import Role
from imissive.core import ids
from imissive.core.problems import english
from messaging.campaigns import results, scheduler
from messaging.models import (
    Campaign,
    Carrier,
    Contact,
    ContactList,
    ListEntry,
    Message,
    SenderId,
    TextTemplate,
)
from messaging.models.campaign_states import State
from messaging.numbers.reasons import NumberReason
from messaging.states import Status
from tests.support import campaigns
from tests.support.campaigns import (
    checked,
    fresh,
    numbers,
    run,
    running_one,
)
from tests.support.factories import Customer, World, advance
from tests.support.people import PLAIN_STATIC, browser, member

PEOPLE = "phone,name,order\n0501234567,Sara,1\n0501234568,نورة,2\n12345,Nobody,3\n"


@pytest.fixture(autouse=True)
def _plain(settings: Any) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def customer(world: World, carrier: Carrier) -> Customer:
    return world.customer()


@pytest.fixture
def developer(customer: Customer) -> Client:
    return browser(member(customer.organization, Role.DEVELOPER))


def _home(customer: Customer, *path: str) -> str:
    return "/".join(["/dashboard", public_id(customer.organization), "campaigns", *path, ""])


def _page(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, (url, response.status_code)
    return response.content.decode()


def _hidden(client: Client, url: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', _page(client, url))
    assert found
    return found[1].replace("&#x27;", "'")


def _file(content: str | bytes = PEOPLE, name: str = "people.csv") -> SimpleUploadedFile:
    data = content.encode() if isinstance(content, str) else content
    return SimpleUploadedFile(name, data, "text/csv")


def _upload(client: Client, customer: Customer, content: str | bytes = PEOPLE, **fields: Any):
    url = _home(customer, "new")
    data = {"campaign_id": _hidden(client, url, "campaign_id"), "file": _file(content), **fields}
    return client.post(url, data)


def _only(customer: Customer) -> Campaign:
    return fresh(Campaign.objects.get(organization=customer.organization))


def _columns(**fields: Any) -> dict[str, Any]:
    usual = {
        "number_column": "0",
        "country": "SA",
        "encoding": "utf-8",
        "delimiter": str(ord(",")),
        "has_header": "on",
    }
    return usual | fields


def _ready(client: Client, customer: Customer, text: str = "Hello {name}") -> Campaign:
    """A campaign that went through the pages up to its check."""
    _upload(client, customer)
    campaign = _only(customer)
    client.post(_home(customer, campaign.public_id, "columns"), _columns())
    client.post(_home(customer, campaign.public_id, "text"), {"sender": "MyCompany", "text": text})
    scheduler.run(0)
    return fresh(campaign)


def _start(client: Client, customer: Customer, campaign: Campaign, **fields: Any):
    url = _home(customer, campaign.public_id, "start")
    return client.post(url, {"seen": _hidden(client, url, "seen"), "when": "now", **fields})


def test_from_the_file_to_the_messages(developer: Client, customer: Customer) -> None:
    assert "Begin a campaign" in _page(developer, _home(customer))
    response = _upload(developer, customer, name="May offers")
    campaign = _only(customer)
    assert response["Location"] == _home(customer, campaign.public_id, "columns")
    assert (campaign.name, campaign.columns) == ("May offers", ["phone", "name", "order"])
    page = _page(developer, response["Location"])
    for shown in ("0501234567", "نورة", "UTF-8", "Saudi Arabia (+966)"):
        assert shown in page
    response = developer.post(
        _home(customer, campaign.public_id, "columns"), _columns(reference_column="2")
    )
    assert response["Location"] == _home(customer, campaign.public_id, "text")
    assert "{name}" in _page(developer, response["Location"]).replace("&#123;", "{").replace(
        "&#125;", "}"
    )
    response = developer.post(
        response["Location"], {"sender": "MyCompany", "text": "Hello {name}\r\nBye"}
    )
    assert response["Location"] == _home(customer, campaign.public_id, "check")
    assert "being checked" in _page(developer, response["Location"])
    scheduler.run(0)
    page = _page(developer, response["Location"])
    for shown in ("Hello Sara\nBye", "Hello نورة", "+966501234567", "12345", "Not a mobile number"):
        assert shown in page
    campaign = fresh(campaign)
    assert (campaign.good, campaign.price) == (2, 2 * MICRO)
    assert customer.stored()["messages"] == 0
    assert "Send 2 messages" in _page(developer, _home(customer, campaign.public_id, "start"))
    response = _start(developer, customer, campaign)
    assert response["Location"] == _home(customer, campaign.public_id)
    scheduler.run(0)
    messages = {message.to: (message.text, message.reference) for message in customer.messages()}
    assert messages == {
        "+966501234567": ("Hello Sara\nBye", "1"),
        "+966501234568": ("Hello نورة\nBye", "2"),
    }
    page = _page(developer, response["Location"])
    for shown in ("May offers", "Delivering", "Queued", ids.public_id(ids.BATCH, _batch(campaign))):
        assert shown in page
    assert "May offers" in _page(developer, _home(customer))
    actions = AuditEntry.objects.filter(organization=customer.organization)
    assert [entry.action for entry in actions] == ["campaign.started"]


def _batch(campaign: Campaign):
    batch_id = fresh(campaign).batch_id
    assert batch_id is not None
    return batch_id


# ---------------------------------------------------------------- the file


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", "The file is empty"),
        ("\n\n", "The file is empty"),
        ("phone,name\n", "a heading, but no row"),
        (b"PK\x03\x04" + bytes(100), "That workbook cannot be read"),
        (b"%PDF-1.7 " + bytes(100), "a PDF"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "an image"),
        (b"\x7fELF" + bytes(range(200)), "a program"),
        (bytes(range(256)) * 4, "not a text file"),
        ("0501234567\n" * 100_001, "more than 100,000 rows"),
        (b"0501234567\n" * 2_000_000, "larger than 20 MB"),
    ],
)
def test_invalid_files_are_refused(
    developer: Client, customer: Customer, content: str | bytes, error: str
) -> None:
    """Whatever their names and content types are."""
    response = _upload(developer, customer, content, name="Kept")
    assert response.status_code == 200
    page = response.content.decode()
    assert error in page
    assert 'value="Kept"' in page
    assert not Campaign.objects.filter(organization=customer.organization).exists()
    assert not StoredFile.objects.filter(organization=customer.organization).exists()


def test_recipients_are_required(developer: Client, customer: Customer) -> None:
    url = _home(customer, "new")
    form = {"campaign_id": _hidden(developer, url, "campaign_id")}
    assert "Choose a CSV or XLSX file." in developer.post(url, form).content.decode()


def test_an_upload_of_100_mb_is_refused_before_it_is_read(
    developer: Client, customer: Customer
) -> None:
    class Endless(io.RawIOBase):
        """A body of which not one byte may be read."""

        def read(self, size: int = -1) -> bytes:
            raise AssertionError("the body was read")

    unread: dict[str, Any] = {"CONTENT_LENGTH": str(100 * 1024 * 1024), "wsgi.input": Endless()}
    kind = "multipart/form-data; boundary=x"
    response = developer.generic("POST", _home(customer, "new"), b"", kind, **unread)
    assert response.status_code == 413
    assert "too large" in response.content.decode()


def test_a_form_posted_twice_creates_one_campaign(developer: Client, customer: Customer) -> None:
    url = _home(customer, "new")
    campaign_id = _hidden(developer, url, "campaign_id")
    for content in (PEOPLE, "mobile\n0509999999\n"):
        response = developer.post(url, {"campaign_id": campaign_id, "file": _file(content)})
        assert response.status_code == 302
    campaign = _only(customer)
    # After a return by the back button, the form replaces the file.
    assert campaign.columns == ["mobile"]
    assert StoredFile.objects.filter(organization=customer.organization).count() == 1
    run(campaigns.started(campaign, text="Hello", sender="MyCompany"))
    assert len(customer.messages()) == 0 or fresh(campaign).state != State.DRAFT
    response = developer.post(url, {"campaign_id": campaign_id, "file": _file()})
    assert response["Location"] == _home(customer, campaign.public_id)
    assert fresh(campaign).columns == ["mobile"]


def test_another_organizations_id_creates_nothing(
    developer: Client, customer: Customer, outsider: Customer
) -> None:
    theirs = campaigns.made(outsider, [("0501234567", "Sara")])
    url = _home(customer, "new")
    response = developer.post(url, {"campaign_id": theirs.public_id, "file": _file()})
    assert response["Location"] == _home(customer)
    assert fresh(theirs).columns == ["phone", "name"]
    for page in ("", "columns", "text", "check", "start", "cancel", "problems.csv"):
        path = _home(customer, theirs.public_id, *filter(None, [page]))
        assert developer.get(path.removesuffix("/") if "." in page else path).status_code == 404


def test_a_campaign_to_contact_lists(developer: Client, customer: Customer) -> None:
    mine = customer.organization
    listed = ContactList.objects.create(organization=mine, name="VIP")
    person = Contact.objects.create(
        organization=mine, number="+966501234567", name="Sara", fields={"city": "Jeddah"}
    )
    ListEntry.objects.create(contact_list=listed, contact=person)
    url = _home(customer, "new")
    form: dict[str, Any] = {"lists": [listed.public_id]}
    form["campaign_id"] = _hidden(developer, url, "campaign_id")
    response = developer.post(url, form)
    campaign = _only(customer)
    assert campaign.name == "VIP"
    assert response["Location"] == _home(customer, campaign.public_id, "text")
    developer.post(response["Location"], {"sender": "MyCompany", "text": "{name}, {city}"})
    scheduler.run(0)
    _start(developer, customer, campaign)
    scheduler.run(0)
    assert [message.text for message in customer.messages()] == ["Sara, Jeddah"]
    form |= {"file": _file(), "campaign_id": _hidden(developer, url, "campaign_id")}
    assert "not both" in developer.post(url, form).content.decode()


# ---------------------------------------------------------------- columns and text


def test_the_shape_of_the_file_can_be_changed(developer: Client, customer: Customer) -> None:
    data = "الجوال;الاسم\n0501234567;سارة\n".encode("windows-1256")
    _upload(developer, customer, data)
    campaign = _only(customer)
    url = _home(customer, campaign.public_id, "columns")
    assert (campaign.encoding, campaign.delimiter) == ("windows-1256", ";")
    assert campaign.columns == ["الجوال", "الاسم"]
    wrong = _columns(encoding="windows-1252", delimiter=str(ord(";")))
    assert developer.post(url, wrong)["Location"] == url
    assert fresh(campaign).columns[0] != "الجوال"
    assert "ÇáÌæÇá" in _page(developer, url)
    bare = _columns(encoding="windows-1256", delimiter=str(ord(";")), has_header="")
    assert developer.post(url, bare)["Location"] == url
    assert fresh(campaign).columns == ["column1", "column2"]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"number_column": ""}, "This field is required"),
        ({"number_column": "7"}, "not one of the available choices"),
        ({"country": "1234"}, "not one of the available choices"),
        ({"encoding": "rot13"}, "not one of the available choices"),
        ({"delimiter": "0"}, "not one of the available choices"),
    ],
)
def test_invalid_columns_are_refused(
    developer: Client, customer: Customer, fields: dict[str, str], error: str
) -> None:
    _upload(developer, customer)
    before = _only(customer)
    url = _home(customer, before.public_id, "columns")
    response = developer.post(url, _columns(**fields))
    assert response.status_code == 200
    assert error in response.content.decode()
    assert fresh(before).country == customer.organization.default_country == "SA"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"text": ""}, "This field is required"),
        ({"text": "x" * 5001}, "at most 5000 characters"),
        ({"text": "Hi {nmae} {other}"}, "There is no column for {nmae}, {other}."),
        ({"sender": "Stranger"}, "not one of the available choices"),
    ],
)
def test_invalid_texts_are_refused(
    developer: Client, customer: Customer, fields: dict[str, str], error: str
) -> None:
    campaign = campaigns.made(customer, [("0501234567", "Sara")])
    url = _home(customer, campaign.public_id, "text")
    response = developer.post(url, {"sender": "MyCompany", "text": "Hi"} | fields)
    assert response.status_code == 200
    assert error in response.content.decode()
    assert fresh(campaign).state == State.DRAFT


def test_a_template_fills_the_form(developer: Client, customer: Customer) -> None:
    template = TextTemplate.objects.create(
        organization=customer.organization, name="Greeting", text="Welcome {name}!"
    )
    campaign = campaigns.made(customer, [("0501234567", "Sara")])
    url = _home(customer, campaign.public_id, "text")
    form = {"act": "template", "template": template.public_id, "sender": "MyCompany", "text": ""}
    assert "Welcome {name}!" in developer.post(url, form).content.decode()
    assert fresh(campaign).text == campaigns.TEXT


def test_the_page_without_a_sender_explains_what_to_do(
    developer: Client, customer: Customer
) -> None:
    SenderId.objects.filter(organization=customer.organization).delete()
    campaign = campaigns.made(customer, [("0501234567", "Sara")])
    page = _page(developer, _home(customer, campaign.public_id, "text"))
    assert "No sender ID is approved yet" in page


# ---------------------------------------------------------------- check and start


def test_earlier_steps_can_be_changed(developer: Client, customer: Customer) -> None:
    campaign = _ready(developer, customer)
    url = _home(customer, campaign.public_id, "start")
    seen = _hidden(developer, url, "seen")
    # Another tab changes and checks the text; the first tab is outdated now.
    developer.post(
        _home(customer, campaign.public_id, "text"), {"sender": "MyCompany", "text": "Bye {name}"}
    )
    assert developer.get(url)["Location"] == _home(customer, campaign.public_id, "check")
    scheduler.run(0)
    response = developer.post(url, {"seen": seen, "when": "now"}, follow=True)
    assert "changed meanwhile" in response.content.decode()
    assert fresh(campaign).state == State.READY
    _start(developer, customer, campaign)
    scheduler.run(0)
    assert {message.text for message in customer.messages()} == {"Bye Sara", "Bye نورة"}


def test_a_double_click_sends_once_and_the_back_button_leads_to_its_page(
    developer: Client, customer: Customer
) -> None:
    campaign = _ready(developer, customer)
    url = _home(customer, campaign.public_id, "start")
    form = {"seen": _hidden(developer, url, "seen"), "when": "now"}
    for _ in range(2):
        assert developer.post(url, form)["Location"] == _home(customer, campaign.public_id)
    scheduler.run(0)
    developer.post(url, form)
    assert len(customer.messages()) == 2
    for page in ("recipients", "columns", "text", "check", "start"):
        path = _home(customer, campaign.public_id, page)
        for response in (developer.get(path), developer.post(path, {})):
            assert response.status_code in (302, 405)
    changed = {"sender": "MyCompany", "text": "Other"}
    developer.post(_home(customer, campaign.public_id, "text"), changed)
    assert fresh(campaign).text == "Hello {name}"
    developer.post(_home(customer, campaign.public_id, "delete"))
    assert fresh(campaign).state == State.DELIVERING


def test_a_scheduled_campaign(developer: Client, customer: Customer) -> None:
    campaign = _ready(developer, customer)
    at = (datetime.now(UTC) + timedelta(days=2)).replace(second=0, microsecond=0)
    clock_time = (at + timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M")
    _start(
        developer, customer, campaign, when="later", at=clock_time, zone="Asia/Riyadh",
        per_minute="300", validity="3600",
    )  # fmt: skip
    campaign = fresh(campaign)
    assert (campaign.state, campaign.scheduled_at) == (State.SCHEDULED, at)
    assert (campaign.per_minute, campaign.validity) == (300, 3600)
    scheduler.run(0)
    assert customer.messages() == []
    assert "Credits are taken then" in _page(developer, _home(customer, campaign.public_id))
    developer.post(_home(customer, campaign.public_id, "change"))
    campaign = fresh(campaign)
    assert (campaign.state, campaign.scheduled_at, campaign.due_at) == (State.READY, None, None)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"when": "later", "at": ""}, "Choose a day and a time"),
        ({"when": "later", "at": "soon"}, "Choose a day and a time"),
        ({"when": "later", "at": "2020-01-01T10:00"}, "The time has passed"),
        ({"when": "later", "at": "2099-01-01T10:00"}, "90 days"),
        ({"when": "later", "at": "2099-01-01T10:00", "zone": "Mars/Olympus"}, "no such time zone"),
        ({"when": "never"}, "not one of the available choices"),
        ({"per_minute": "7"}, "not one of the available choices"),
        ({"validity": "1"}, "not one of the available choices"),
    ],
)
def test_invalid_starts_are_refused(
    developer: Client, customer: Customer, fields: dict[str, str], error: str
) -> None:
    campaign = checked(campaigns.made(customer, [("0501234567", "Sara")]))
    response = _start(developer, customer, campaign, **fields)
    assert response.status_code == 200
    assert error in response.content.decode()
    assert fresh(campaign).state == State.READY


def test_starting_without_enough_credits_needs_confirmation(world: World, carrier: Carrier) -> None:
    poor = world.customer(credits=1)
    owner = browser(member(poor.organization))
    campaign = checked(campaigns.made(poor, [(number, "Sara") for number in numbers(3)]))
    assert "does not cover" in _page(owner, _home(poor, campaign.public_id, "check"))
    response = _start(owner, poor, campaign)
    assert "This field is required" in response.content.decode()
    assert fresh(campaign).state == State.READY
    _start(owner, poor, campaign, uncovered="on")
    scheduler.run(0)
    page = _page(owner, _home(poor, campaign.public_id))
    assert "The credits did not suffice" in page
    assert 'About <bdi dir="ltr">2</bdi> credits are missing' in page
    ledger.adjust(poor.organization, 5 * MICRO, reason="paid", actor=None)
    owner.post(_home(poor, campaign.public_id, "resume"))
    scheduler.run(0)
    assert len(poor.messages()) == 3


def test_a_suspended_organization_starts_nothing(developer: Client, customer: Customer) -> None:
    campaign = checked(campaigns.made(customer, [("0501234567", "Sara")]))
    Organization.objects.filter(pk=customer.id).update(status=Organization.Status.SUSPENDED)
    _start(developer, customer, campaign)
    assert fresh(campaign).state == State.READY


# ---------------------------------------------------------------- running campaigns


def test_pause_resume_and_cancel(developer: Client, customer: Customer) -> None:
    campaign = running_one(customer, 3)
    home = _home(customer, campaign.public_id)
    for _ in range(2):
        developer.post(f"{home}pause/")
        assert fresh(campaign).state == State.PAUSED
    assert "Somebody paused" in _page(developer, home)
    scheduler.run(0)
    assert customer.messages() == []
    for _ in range(2):
        developer.post(f"{home}resume/")
    scheduler.run(0)
    assert len(customer.messages()) == 3
    assert "come back" in _page(developer, f"{home}cancel/")
    assert fresh(campaign).state == State.DELIVERING
    for _ in range(2):
        developer.post(f"{home}cancel/")
    scheduler.run(1)
    assert fresh(campaign).state == State.CANCELED
    assert {message.status for message in customer.messages()} == {Status.CANCELED}
    assert customer.balance() == 100 * MICRO
    developer.post(f"{home}resume/")
    assert fresh(campaign).state == State.CANCELED
    actions = AuditEntry.objects.filter(organization=customer.organization).order_by("id")
    assert [entry.action for entry in actions] == [
        "campaign.paused", "campaign.resumed", "campaign.canceled",
    ]  # fmt: skip


def test_a_viewer_sees_the_campaign_without_actions(customer: Customer) -> None:
    viewer = browser(member(customer.organization, Role.VIEWER))
    campaign = running_one(customer, 3)
    page = _page(viewer, _home(customer, campaign.public_id))
    assert "Cancel the campaign" not in page
    assert "Pause" not in page
    draft = campaigns.made(customer, [("0501234567", "Sara")])
    assert "Draft" in _page(viewer, _home(customer, draft.public_id))


def test_results(developer: Client, customer: Customer) -> None:
    campaign = run(running_one(customer, 3))
    first, second, _ = customer.messages()
    advance(Message.objects.filter(pk=first.pk), Status.DELIVERED, due_at=None)
    advance(Message.objects.filter(pk=second.pk), Status.FAILED, error_code="UNDELIV", due_at=None)
    Campaign.objects.filter(pk=campaign.pk).update(due_at=datetime.now(UTC))
    results.count(campaign.id)
    page = _page(developer, _home(customer, campaign.public_id))
    for shown in ("50.0%", "could not deliver the message", "UNDELIV", "Delivered"):
        assert shown in page


def test_the_live_page_sends_nothing_without_changes(developer: Client, customer: Customer) -> None:
    campaign = running_one(customer, 3)
    url = _home(customer, campaign.public_id)
    seen = re.search(r"seen=([0-9a-f]+)", _page(developer, url))
    assert seen
    response = developer.get(url, {"seen": seen[1]}, headers={"HX-Request": "true"})
    assert response.status_code == 204
    run(campaign)
    response = developer.get(url, {"seen": seen[1]}, headers={"HX-Request": "true"})
    assert "Delivering" in response.content.decode()
    assert "<html" not in response.content.decode()


def test_a_draft_is_deleted_with_its_file(developer: Client, customer: Customer) -> None:
    _upload(developer, customer)
    campaign = _only(customer)
    url = _home(customer, campaign.public_id, "delete")
    assert "Delete people?" in _page(developer, url)
    assert developer.post(url)["Location"] == _home(customer)
    assert not Campaign.objects.filter(pk=campaign.pk).exists()
    assert not StoredFile.objects.filter(organization=customer.organization).exists()


# ---------------------------------------------------------------- files


def _csv(client: Client, url: str) -> list[list[str]]:
    response: Any = client.get(url)
    assert response.status_code == 200
    assert "attachment" in response["Content-Disposition"]
    assert response["X-Content-Type-Options"] == "nosniff"
    text = b"".join(response.streaming_content).decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline="")))


def test_the_file_of_problems_is_safe_to_open(developer: Client, customer: Customer) -> None:
    rows = [
        ("12345", '=HYPERLINK("http://x.example")'),
        ("0501234567", "Sara"),
        ("0501234567", "@Again"),
        ("+966509999999", ""),
    ]
    content = io.StringIO()
    csv.writer(content).writerows([("phone", "name"), *rows])
    campaign = checked(campaigns.uploaded(customer, [content.getvalue().encode()]))
    url = _home(customer, campaign.public_id, "problems.csv").removesuffix("/")
    assert _csv(developer, url) == [
        ["Row", "Number", "Status", "Reason", "Code", "phone", "name"],
        ["2", "12345", "Not sent", english(NumberReason.TOO_SHORT.problem()), "", "12345",
         "'=HYPERLINK(\"http://x.example\")"],
        ["4", "0501234567", "Not sent", "The same number as in row 3", "", "0501234567", "'@Again"],
        ["5", "+966509999999", "Not sent", "No value for {name}", "", "+966509999999", ""],
    ]  # fmt: skip


def test_the_file_of_failures(developer: Client, customer: Customer) -> None:
    rows = [("12345", "Bad"), *((number, "Sara") for number in numbers(3))]
    campaign = run(campaigns.started(campaigns.made(customer, rows)))
    mine = {message.to: message for message in customer.messages()}
    Message.objects.filter(pk=mine[numbers(3)[1]].pk).update(
        status=Status.FAILED, error_code="UNDELIV", due_at=None
    )
    url = _home(customer, campaign.public_id, "failures.csv").removesuffix("/")
    found = _csv(developer, url)
    assert [row[:3] + row[4:] for row in found[1:]] == [
        ["2", "12345", "Not sent", "", "12345", "Bad"],
        ["4", numbers(3)[1], "Failed", "UNDELIV", numbers(3)[1], "Sara"],
    ]
    assert "could not deliver" in found[2][3]
    # Without the file, the stored columns of the rows are still exported.
    assert campaign.file is not None
    campaign.file.delete()
    assert [row[:2] for row in _csv(developer, url)[1:]] == [
        ["2", "12345"], ["4", numbers(3)[1]],
    ]  # fmt: skip


def test_pages_of_many_campaigns(developer: Client, customer: Customer) -> None:
    made = [campaigns.made(customer, [("0501234567", "x")], name=f"C{i}") for i in range(27)]
    newest = _page(developer, _home(customer))
    older = re.search(r"\?before=(cam_\w+)", newest)
    assert older
    rest = _page(developer, f"{_home(customer)}?before={older[1]}")
    shown = [f'href="{_home(customer, campaign.public_id)}"' for campaign in made]
    assert sum(each in newest for each in shown) == 25
    assert sum(each in rest for each in shown) == 2


def test_a_fixed_number_of_queries(
    developer: Client, customer: Customer, django_assert_max_num_queries: Any
) -> None:
    for index in range(6):
        campaigns.made(customer, [("0501234567", "x")], name=f"C{index}")
    campaign = run(running_one(customer, 20))
    draft = checked(campaigns.made(customer, [(number, "Sara") for number in numbers(50)]))
    for url in (
        _home(customer),
        _home(customer, campaign.public_id),
        _home(customer, draft.public_id, "check"),
        _home(customer, draft.public_id, "text"),
        _home(customer, draft.public_id, "columns"),
    ):
        _page(developer, url)
        with django_assert_max_num_queries(16):
            _page(developer, url)


def test_an_organization_with_a_running_campaign_is_not_closed(customer: Customer) -> None:
    owner = browser(member(customer.organization))
    campaign = running_one(customer, 3)
    url = f"/dashboard/{public_id(customer.organization)}/settings/close/"
    response = owner.post(url, {"name": customer.organization.name})
    assert "A campaign is not over yet" in response.content.decode()
    Campaign.objects.filter(pk=campaign.pk).update(state=State.CANCELED, due_at=None)
    assert owner.post(url, {"name": customer.organization.name}).status_code == 302
