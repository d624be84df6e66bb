"""The pages of contacts and their lists: kept, found, imported, exported."""

import csv
import io
import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client

from accounts.access.page_access import public_id
from accounts.models import AuditEntry, StoredFile
from accounts.roles import Role
from messaging.contacts import contacts, forms, imports
from messaging.contacts.contacts import NewContact
from messaging.models import Contact, ContactList, ListEntry
from tests.support.factories import PHONE, Customer, noting
from tests.support.people import PLAIN_STATIC, browser, member

OTHER = "+966501234568"


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def owner(customer: Customer) -> Client:
    return browser(member(customer.organization))


def _url(customer: Customer, path: str = "") -> str:
    return f"/dashboard/{public_id(customer.organization)}/contacts/{path}"


def _contact(customer: Customer, number: str = PHONE, **fields: Any) -> Contact:
    return Contact.objects.create(organization=customer.organization, number=number, **fields)


def _list(customer: Customer, name: str = "Drivers", *on: Contact) -> ContactList:
    made = ContactList.objects.create(organization=customer.organization, name=name)
    for contact in on:
        ListEntry.objects.create(contact_list=made, contact=contact)
    return made


def _stored(customer: Customer) -> dict[str, tuple[str, dict[str, str]]]:
    mine = Contact.objects.filter(organization=customer.organization)
    return {each.number: (each.name, each.fields) for each in mine}


def _on(contact_list: ContactList) -> set[str]:
    return set(contact_list.entries.values_list("contact__number", flat=True))


def _page(client: Client, url: str, fields: dict[str, Any] | None = None) -> str:
    response = client.get(url) if fields is None else client.post(url, fields, follow=True)
    assert response.status_code == 200
    return response.content.decode()


# ---------------------------------------------------------------- one contact


def test_the_empty_page_explains_what_to_do(owner: Client, customer: Customer) -> None:
    page = _page(owner, _url(customer))
    assert "Import contacts" in page
    assert "No lists yet" in _page(owner, _url(customer, "lists/"))


def test_a_contact_is_created_changed_and_removed(owner: Client, customer: Customer) -> None:
    drivers, riders = _list(customer), _list(customer, "Riders")
    fields = {
        "number": "00966 50-123-4567",
        "name": "سارة",
        "fields_text": "city: جدة: الحمراء\n\norder: 7",
        "lists": drivers.public_id,
    }
    assert "سارة is saved." in _page(owner, _url(customer, "new/"), fields)
    assert _stored(customer) == {PHONE: ("سارة", {"city": "جدة: الحمراء", "order": "7"})}
    assert _on(drivers) == {PHONE}
    contact = Contact.objects.get(organization=customer.organization)
    url = _url(customer, f"{contact.public_id}/")
    page = _page(owner, url)
    assert "order: 7" in page
    assert f'value="{drivers.public_id}" id="id_lists_0" checked' in page
    _page(owner, url, {"number": OTHER, "lists": riders.public_id})
    assert _stored(customer) == {OTHER: ("", {})}
    assert (_on(drivers), _on(riders)) == (set(), {OTHER})
    remove = _url(customer, f"{contact.public_id}/remove/")
    assert f"Remove {OTHER}?" in _page(owner, remove)
    _page(owner, remove, {})
    assert _stored(customer) == {}
    entries = AuditEntry.objects.filter(organization=customer.organization)
    acts = [entry.action for entry in entries.order_by("id")]
    assert acts == ["contact.added", "contact.changed", "contact.removed"]
    assert PHONE not in str(list(entries.values()))


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"number": ""}, "This field is required."),
        ({"number": "0401234567"}, "This is not a number of your default country."),
        ({"number": "0501234567"}, "There is a contact with that number already."),
        ({"number": "+966112345678"}, "This is a fixed line, which cannot receive SMS."),
        ({"number": PHONE}, "There is a contact with that number already."),
        ({"name": "x" * 121}, "at most 120 characters"),
        ({"fields_text": "city"}, "Write a name, a colon and a value: city"),
        ({"fields_text": "1st: x"}, "Write a name, a colon and a value"),
        ({"fields_text": "name: x"}, "Write a name, a colon and a value"),
        ({"fields_text": "a: " + "x" * 501}, "The value of a is too long."),
        ({"fields_text": "\n".join(f"f{i}: x" for i in range(21))}, "At most 20 of these."),
        ({"lists": "lst_x"}, "not one of the available choices"),
        ({"name": "a\0"}, "Null characters are not allowed"),
    ],
)
def test_bad_input(owner: Client, customer: Customer, fields: dict[str, Any], error: str) -> None:
    _contact(customer)
    mine = _contact(customer, OTHER, name="Mine")
    _list(customer)
    before = _stored(customer)
    for path in ("new/", f"{mine.public_id}/"):
        filled = {"number": "+966501234569", "name": "Kept as typed"} | fields
        response = owner.post(_url(customer, path), filled)
        assert response.status_code == 200
        page = response.content.decode()
        assert error in page
        assert "name" in fields or "Kept as typed" in page
    assert _stored(customer) == before


def test_contacts_of_others_are_not_found(
    owner: Client, customer: Customer, outsider: Customer
) -> None:
    theirs = _contact(outsider, name="Secret")
    list_of_theirs = _list(outsider, "Theirs", theirs)
    _list(customer)
    for path in (
        f"{theirs.public_id}/",
        f"{theirs.public_id}/remove/",
        "con_x/",
        f"lists/{list_of_theirs.public_id}/",
        f"lists/{list_of_theirs.public_id}/remove/",
    ):
        assert owner.get(_url(customer, path)).status_code == 404
        assert owner.post(_url(customer, path), {"name": "x"}).status_code == 404
    for query in ("", f"?list={list_of_theirs.public_id}", "?q=Secret"):
        assert "Secret</bdi>" not in _page(owner, _url(customer) + query)
    fields = {"number": PHONE, "lists": list_of_theirs.public_id}
    assert "not one of the available choices" in _page(owner, _url(customer, "new/"), fields)
    exported = owner.post(_url(customer, "export/"), {"list": list_of_theirs.public_id})
    assert b"Secret" not in b"".join(exported)
    assert _stored(outsider) == {PHONE: ("Secret", {})}


def test_a_double_click_creates_one_contact(owner: Client, customer: Customer) -> None:
    fields = {"number": PHONE, "name": "Sara", "fields_text": "city: Jeddah"}
    for _ in range(2):
        assert owner.post(_url(customer, "new/"), fields).status_code == 302
    assert _stored(customer) == {PHONE: ("Sara", {"city": "Jeddah"})}
    assert owner.post(_url(customer, "new/"), fields | {"name": "Other"}).status_code == 200
    assert AuditEntry.objects.filter(organization=customer.organization).count() == 1


# ---------------------------------------------------------------- many


@pytest.fixture
def many(customer: Customer) -> ContactList:
    """120 contacts, every second one on a list."""
    drivers = _list(customer)
    new = [
        NewContact(f"+9665000{index:05d}", f"Person {index}", {"city": "Riyadh"})
        for index in range(120)
    ]
    contacts.upsert(customer.organization, new[::2], drivers)
    contacts.upsert(customer.organization, new[1::2])
    return drivers


def _numbers(page: str) -> list[str]:
    return [part.split("</bdi>")[0] for part in page.split('<bdi dir="ltr">+')[1:]]


def test_pages(owner: Client, customer: Customer, many: ContactList) -> None:
    url, seen = _url(customer), []
    while True:
        page = _page(owner, url)
        seen += _numbers(page)
        if 'rel="next"' not in page:
            break
        url = _url(customer) + page.split('rel="next" href="')[1].split('"')[0]
    assert len(seen) == len(set(seen)) == 120
    back = _url(customer) + page.split('rel="prev" href="')[1].split('"')[0]
    assert _numbers(_page(owner, back)) == seen[50:100]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("q=%2B966500000007", 1),
        ("q=Person+77", 1),
        ("q=person+11", 11),
        ("q=00011", 11),
        ("q=nobody", 0),
        ("q=%00", 50),
        ("before=x&after=con_x", 50),
    ],
)
def test_searching(
    owner: Client, customer: Customer, many: ContactList, query: str, count: int
) -> None:
    assert len(_numbers(_page(owner, f"{_url(customer)}?{query}"))) == count


def test_a_list_shows_only_its_contacts(
    owner: Client, customer: Customer, many: ContactList
) -> None:
    page = _page(owner, f"{_url(customer)}?list={many.public_id}&q=Person 1")
    shown = _numbers(page)
    assert shown
    assert all(int(number) % 2 == 0 for number in shown)
    assert "Write to this list" in page
    assert ">60<" in _page(owner, _url(customer, "lists/"))


def test_the_number_of_queries_is_fixed(
    owner: Client, customer: Customer, many: ContactList
) -> None:
    def count(query: str) -> int:
        statements: list[str] = []
        with connection.execute_wrapper(noting(statements)):
            _page(owner, _url(customer) + query)
        return len(statements)

    owner.get(_url(customer))
    assert count("?q=Person") == count("?q=Person+77")


# ---------------------------------------------------------------- lists


def test_a_list_is_created_renamed_and_removed(owner: Client, customer: Customer) -> None:
    _page(owner, _url(customer, "lists/"), {"name": "Drivers"})
    made = ContactList.objects.get(organization=customer.organization)
    again = _page(owner, _url(customer, "lists/"), {"name": "drivers"})
    assert "There is a list of that name already." in again
    url = _url(customer, f"lists/{made.public_id}/")
    assert 'value="Drivers"' in _page(owner, url)
    _page(owner, url, {"name": "Riders"})
    made.refresh_from_db()
    assert made.name == "Riders"
    assert "This field is required." in _page(owner, url, {"name": " "})
    contact = _contact(customer)
    ListEntry.objects.create(contact_list=made, contact=contact)
    assert "its contacts stay" in _page(owner, f"{url}remove/")
    _page(owner, f"{url}remove/", {})
    assert not ContactList.objects.filter(organization=customer.organization).exists()
    assert _stored(customer) == {PHONE: ("", {})}


def test_a_viewer_cannot_create_anything(customer: Customer) -> None:
    _list(customer, "Drivers", _contact(customer, name="Sara"))
    viewer = browser(member(customer.organization, Role.VIEWER))
    assert "Sara" in _page(viewer, _url(customer))
    page = _page(viewer, _url(customer, "lists/"), {"name": "Mine"})
    assert "Make a list" not in page
    assert ContactList.objects.filter(organization=customer.organization).count() == 1


# ---------------------------------------------------------------- import


def _upload(client: Client, customer: Customer, content: str | bytes) -> Any:
    """Upload bytes or paste a text, and return the response."""
    name = "upload" if isinstance(content, bytes) else "pasted"
    given = SimpleUploadedFile("contacts.csv", content) if isinstance(content, bytes) else content
    return client.post(_url(customer, "import/"), {name: given}, follow=True)


def _filled(page: str) -> dict[str, str]:
    """Return the values of a form's fields on its page."""
    found = dict(re.findall(r'<input type="\w+" name="(\w+)" value="([^"]*)"', page))
    for name, options in re.findall(r'<select name="(\w+)".*?>(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)" selected', options)
        found[name] = chosen[1] if chosen else ""
    if re.search(r'name="has_header"[^>]* checked', page):
        found["has_header"] = "on"
    return {name: value for name, value in found.items() if name != "csrfmiddlewaretoken"}


def _words(page: str) -> str:
    """Return the text of a page without its tags."""
    return " ".join(re.sub(r"<[^>]*>", "", page).split())


def _import(client: Client, customer: Customer, content: str | bytes, **fields: Any) -> str:
    """Go both steps of an import, as they are filled in but for `fields`."""
    response = _upload(client, customer, content)
    page = response.content.decode()
    if not response.redirect_chain:
        return page
    path = response.redirect_chain[-1][0]
    return _page(client, path, _filled(page) | fields | {"act": "import"})


_CSV = "Mobile,Name,City\n+966501234567,سارة,جدة\n+966501234568,Omar,\n"


@pytest.mark.parametrize(
    "content",
    [
        _CSV,
        _CSV.encode(),
        _CSV.encode("utf-8-sig"),
        _CSV.replace(",", ";").encode("cp1256"),
        _CSV.replace(",", "\t").encode("utf-16"),
    ],
)
def test_importing(owner: Client, customer: Customer, content: str | bytes) -> None:
    page = _import(owner, customer, content, new_list="Drivers")
    assert "2 contacts are new" in page
    assert _stored(customer) == {PHONE: ("سارة", {"city": "جدة"}), OTHER: ("Omar", {})}
    made = ContactList.objects.get(organization=customer.organization)
    assert _on(made) == {PHONE, OTHER}
    entry = AuditEntry.objects.get(organization=customer.organization)
    assert (entry.action, entry.detail["added"]) == ("contacts.imported", 2)


def test_existing_contacts_are_updated(owner: Client, customer: Customer) -> None:
    _contact(customer, name="Sara", fields={"city": "Jeddah", "order": "1"})
    drivers = _list(customer)
    content = f"number,name,order\n{PHONE},,2\n"
    for _ in range(2):
        page = _import(owner, customer, content, contact_list=drivers.public_id)
        assert "1 was known already" in page
    assert _stored(customer) == {PHONE: ("Sara", {"city": "Jeddah", "order": "2"})}
    assert _on(drivers) == {PHONE}


def test_without_a_heading(owner: Client, customer: Customer) -> None:
    _import(owner, customer, f"Sara,{PHONE}\nOmar,{OTHER}")
    assert _stored(customer) == {PHONE: ("Sara", {}), OTHER: ("Omar", {})}


def test_national_numbers(owner: Client, customer: Customer) -> None:
    _import(owner, customer, "number\n0501234567\n501234568\n", country="SA")
    assert set(_stored(customer)) == {PHONE, OTHER}


def test_every_invalid_row_is_listed(owner: Client, customer: Customer) -> None:
    content = f"number,name\n{PHONE},Sara\n12345,Omar\n00966501234567,Again\n=1+1,Evil\n"
    page = _import(owner, customer, content)
    assert "1 contact is new" in page
    assert "The same number as in row 2" in page
    assert "Not imported" in page
    assert set(_stored(customer)) == {PHONE}
    found = StoredFile.objects.get(organization=customer.organization)
    response = owner.get(_url(customer, f"not-imported/{found.id}/?download"))
    rows = list(csv.reader(io.StringIO(b"".join(response).decode("utf-8-sig"))))
    assert rows[0] == ["Row", "Problem", "number", "name"]
    assert [(row[0], *row[2:]) for row in rows[1:4]] == [
        ("3", "12345", "Omar"),
        ("4", "00966501234567", "Again"),
        ("5", "'=1+1", "Evil"),
    ]
    for name in ("Omar", "Again", "Evil"):
        assert name in page, "the people whose rows failed are named"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", "Paste something, or choose a file."),
        ("name,city\nSara,Jeddah\n", "No column of phone numbers was found."),
        (b"PK\x03\x04" + b"x" * 50, "That workbook cannot be read"),
        (b"%PDF-1.7 " + b"x" * 50, "That is a PDF, not a CSV or XLSX file."),
        (b"", "The submitted file is empty."),
    ],
)
def test_invalid_imports(
    owner: Client, customer: Customer, content: str | bytes, error: str
) -> None:
    page = _import(owner, customer, content, new_list="New")
    assert error in page
    assert _stored(customer) == {}
    assert not ContactList.objects.filter(organization=customer.organization).exists()


def test_contacts_are_limited(
    owner: Client, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contacts, "MOST_CONTACTS", 3)
    numbers = [f"+9665000000{index:02d}" for index in range(4)]
    assert "at most 3 contacts" in _import(owner, customer, "\n".join(numbers))
    assert _stored(customer) == {}
    _import(owner, customer, "\n".join(numbers[:3]))
    assert len(_stored(customer)) == 3
    # Known ones are updated still, others are not added, by either way.
    assert "at most" not in _import(owner, customer, "\n".join(numbers[:2]))
    assert "at most 3 contacts" in _import(owner, customer, numbers[3])
    page = owner.post(_url(customer, "new/"), {"number": numbers[3]}).content.decode()
    assert "at most 3 contacts" in page
    assert len(_stored(customer)) == 3


def test_an_import_is_atomic(
    owner: Client, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "MOST_ROWS", 60)
    monkeypatch.setattr(contacts, "_STEP", 10)
    content = "number\n" + "".join(f"+9665000{index:05d}\n" for index in range(61))
    assert "more than 60 rows" in _import(owner, customer, content, new_list="New")
    assert _stored(customer) == {}
    monkeypatch.setattr(forms, "MAX_UPLOAD", 1024**2)
    assert "larger than 1 MB" in _import(owner, customer, content.encode() + b"\n" * 1024**2)
    assert _stored(customer) == {}


def test_an_import_of_others_is_not_found(
    owner: Client, customer: Customer, outsider: Customer
) -> None:
    theirs = imports.keep_rejected(outsider.organization, [])
    assert owner.get(_url(customer, f"not-imported/{theirs.id}/")).status_code == 404


# ---------------------------------------------------------------- export


def test_exporting(owner: Client, customer: Customer) -> None:
    sara = _contact(customer, name="=cmd()", fields={"city": "جدة"})
    _contact(customer, OTHER, fields={"order": "1"})
    drivers = _list(customer, "Drivers", sara)
    response = owner.post(_url(customer, "export/"))
    assert "attachment" in response["Content-Disposition"]
    rows = list(csv.reader(io.StringIO(b"".join(response).decode("utf-8-sig"))))
    assert rows == [
        ["number", "name", "city", "order"],
        ["+966 50 123 4568", "", "", "1"],
        ["+966 50 123 4567", "'=cmd()", "جدة", ""],
    ]
    response = owner.post(_url(customer, "export/"), {"list": drivers.public_id})
    assert b"+966 50 123 4568" not in b"".join(response)
    acts = AuditEntry.objects.filter(organization=customer.organization)
    assert {entry.action for entry in acts} == {"contacts.exported"}


# ---------------------------------------------------------------- the format of a file


def test_a_preview_stores_nothing(owner: Client, customer: Customer) -> None:
    content = f"order,phone,name\n1000001,{PHONE},Sara\n1000002,,Omar\n1000003,0112345678,Noor\n"
    page = _upload(owner, customer, content).content.decode()
    assert "1 contact can be imported. 2 rows will be skipped." in _words(page)
    for shown in ("Sara", "Omar", "Noor", "This is a fixed line, which cannot receive SMS."):
        assert shown in page
    assert _stored(customer) == {}
    assert _filled(page)["number_column"] == "1", "a blank phone makes no other column the one"


def test_columns_and_the_country_are_chosen(owner: Client, customer: Customer) -> None:
    content = "who;to;second\nSara;0501234567;0551234567\n"
    response = _upload(owner, customer, content.encode())
    path, page = response.redirect_chain[-1][0], response.content.decode()
    assert _filled(page) | {"number_column": "1", "country": "SA"} == _filled(page)
    chosen = _filled(page) | {"number_column": "2", "name_column": "0", "country": "AE"}
    page = _page(owner, path, chosen | {"act": "read"})
    assert "+971551234567" in page
    assert _stored(customer) == {}
    _page(owner, path, chosen | {"act": "import"})
    assert _stored(customer) == {"+971551234567": ("Sara", {"to": "0501234567"})}
    again = owner.post(path, chosen | {"act": "import"})
    assert again["Location"].endswith("/contacts/import/"), "imported once, the file is gone"


def test_the_shape_of_an_import_can_be_changed(owner: Client, customer: Customer) -> None:
    response = _upload(owner, customer, f"name|number\nSara|{PHONE}\n".encode())
    path, page = response.redirect_chain[-1][0], response.content.decode()
    merged = _page(owner, path, _filled(page) | {"delimiter": str(ord(";")), "act": "import"})
    assert "name|number" in merged
    assert _stored(customer) == {}, "other columns are shown before anything is taken in"
    page = _page(owner, path, _filled(merged) | {"delimiter": str(ord("|"))})
    assert _filled(page)["number_column"] == "1"
    headless = _page(owner, path, _filled(page) | {"has_header": ""})
    assert "column2" in headless
    _page(owner, path, _filled(headless) | {"act": "import"})
    assert _stored(customer) == {PHONE: ("Sara", {})}, (
        "not as it was detected, but as it was chosen"
    )


def test_a_country_is_suggested(owner: Client, customer: Customer) -> None:
    response = _upload(owner, customer, "number\n0501234567\n0501234568\n")
    path, page = response.redirect_chain[-1][0], response.content.decode()
    assert "2 contacts can be imported." in _words(page)
    page = _page(owner, path, _filled(page) | {"country": "", "act": "read"})
    assert "2 rows can be read as numbers of Saudi Arabia" in _words(page)
    page = _page(owner, path, _filled(page) | {"country": "SA", "act": "read"})
    assert "can be read as" not in page


def test_skipped_rows_can_be_corrected_and_imported(owner: Client, customer: Customer) -> None:
    content = f"الجوال,الاسم,city\n{PHONE},سارة,جدة\n050123456,عمر,=1+1\n"
    _import(owner, customer, content)
    assert set(_stored(customer)) == {PHONE}
    kept = StoredFile.objects.get(organization=customer.organization)
    left = b"".join(owner.get(_url(customer, f"not-imported/{kept.id}/?download"))).decode()
    assert "عمر" in left
    _import(owner, customer, left.replace("050123456", OTHER))
    assert _stored(customer)[OTHER] == ("عمر", {"city": "=1+1"})


def test_a_file_of_others_is_not_read(
    owner: Client, customer: Customer, outsider: Customer
) -> None:
    theirs = imports.keep(outsider.organization, lambda: [f"number\n{PHONE}\n".encode()])
    response = owner.post(_url(customer, f"import/{theirs.id}/"), {"act": "import"})
    assert response["Location"].endswith("/contacts/import/")
    assert _stored(customer) == _stored(outsider) == {}


def test_an_export_can_be_imported_unchanged(owner: Client, customer: Customer) -> None:
    _contact(customer, name="=cmd()", fields={"city": "'=quoted", "contact": "-AD", "note": "@x"})
    _contact(customer, OTHER, fields={"customer": "No name", "city": "+1+1"})
    before = _stored(customer)
    content = b"".join(owner.post(_url(customer, "export/")))
    shown = content.decode("utf-8-sig")
    assert "+966 50 123 4567" in shown, "Excel would show +966501234567 as 9.66501E+11"
    Contact.objects.all().delete()
    _import(owner, customer, content)
    assert _stored(customer) == before
