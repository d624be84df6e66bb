"""Pages of templates: list, create, change, remove."""

import pytest
from django.test import Client

from accounts.access.page_access import public_id
from accounts.models import AuditEntry
from accounts.roles import Role
from messaging.compose import template_views
from messaging.models import TextTemplate
from tests.support.factories import Customer
from tests.support.people import PLAIN_STATIC, browser, member


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def owner(customer: Customer) -> Client:
    return browser(member(customer.organization))


def _url(customer: Customer, path: str = "") -> str:
    return f"/dashboard/{public_id(customer.organization)}/templates/{path}"


def _template(customer: Customer, name: str = "Order", text: str = "Order {order}") -> TextTemplate:
    return TextTemplate.objects.create(organization=customer.organization, name=name, text=text)


def _stored(customer: Customer) -> list[tuple[str, str]]:
    mine = TextTemplate.objects.filter(organization=customer.organization)
    return list(mine.order_by("name").values_list("name", "text"))


def test_the_empty_list_says_what_to_do(owner: Client, customer: Customer) -> None:
    page = owner.get(_url(customer)).content.decode()
    assert "Write it once" in page
    assert "New template" in page


def test_a_template_is_created_changed_and_removed(owner: Client, customer: Customer) -> None:
    text = "مرحبًا {الاسم}،\r\nطلبك {order} جاهز"
    response = owner.post(_url(customer, "new/"), {"name": "Ready", "text": text}, follow=True)
    page = response.content.decode()
    assert "Ready is saved." in page
    assert "الاسم" in page
    assert _stored(customer) == [("Ready", text.replace("\r\n", "\n"))]
    template = TextTemplate.objects.get(organization=customer.organization)
    url = _url(customer, f"{template.public_id}/")
    assert 'value="Ready"' in owner.get(url).content.decode()
    owner.post(url, {"name": "ready", "text": "Hi {x}"})
    assert _stored(customer) == [("ready", "Hi {x}")]
    remove = _url(customer, f"{template.public_id}/remove/")
    assert "Remove ready?" in owner.get(remove).content.decode()
    assert _stored(customer) == [("ready", "Hi {x}")]
    assert "ready was removed." in owner.post(remove, follow=True).content.decode()
    assert _stored(customer) == []
    acts = AuditEntry.objects.filter(organization=customer.organization).order_by("id")
    assert [entry.action for entry in acts] == [
        "template.added",
        "template.changed",
        "template.removed",
    ]


def test_a_double_click_creates_one(owner: Client, customer: Customer) -> None:
    fields = {"name": "Order", "text": "Order {order}"}
    for _ in range(2):
        assert owner.post(_url(customer, "new/"), fields).status_code == 302
    assert len(_stored(customer)) == 1
    assert AuditEntry.objects.filter(organization=customer.organization).count() == 1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": ""}, "This field is required."),
        ({"name": "x" * 81}, "at most 80 characters"),
        ({"name": "order"}, "There is a template of that name already."),
        ({"text": ""}, "This field is required."),
        ({"text": " \n"}, "This field is required."),
        ({"text": "a\0"}, "Null characters are not allowed"),
        ({"text": "x" * 1531}, "The message has 11 parts; at most 10 are allowed."),
        ({"text": "x" * 5001}, "at most 5000 characters"),
    ],
)
def test_bad_input(
    owner: Client, customer: Customer, fields: dict[str, str], expected: str
) -> None:
    _template(customer)
    mine = _template(customer, "Mine")
    before = _stored(customer)
    for path in ("new/", f"{mine.public_id}/"):
        filled = {"name": "Another", "text": "Some text"} | fields
        response = owner.post(_url(customer, path), filled)
        assert response.status_code == 200
        assert expected in response.content.decode()
    assert _stored(customer) == before


def test_the_number_of_templates_is_limited(
    owner: Client, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_views, "MOST", 1)
    mine = _template(customer)
    response = owner.post(_url(customer, "new/"), {"name": "More", "text": "x"})
    assert "Remove templates first" in response.content.decode()
    owner.post(_url(customer, f"{mine.public_id}/"), {"name": "Order", "text": "changed"})
    assert _stored(customer) == [("Order", "changed")]


def test_another_organizations_template_is_not_found(
    owner: Client, customer: Customer, outsider: Customer
) -> None:
    theirs = _template(outsider, "Theirs")
    assert "Theirs" not in owner.get(_url(customer)).content.decode()
    for path in (f"{theirs.public_id}/", f"{theirs.public_id}/remove/", "tpl_x/", "x/remove/"):
        assert owner.get(_url(customer, path)).status_code == 404
        assert owner.post(_url(customer, path), {"name": "x", "text": "x"}).status_code == 404
    assert _stored(outsider) == [("Theirs", "Order {order}")]


def test_a_viewer_reads(customer: Customer) -> None:
    _template(customer)
    viewer = browser(member(customer.organization, Role.VIEWER))
    page = viewer.get(_url(customer)).content.decode()
    assert "Order {order}" in page
    assert "/remove/" not in page
