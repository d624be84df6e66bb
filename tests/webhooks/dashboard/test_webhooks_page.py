"""The webhooks' pages: create, change, test and replay; deliveries; the live feed."""

import json
import re
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.access.page_access import public_id
from accounts.models import AuditEntry, User
from accounts.roles import Role
from imissive.core import ids
from tests.support.factories import Customer, World, noting
from tests.support.people import PLAIN_STATIC, browser, member
from webhooks.models import Delivery, Endpoint, Event, EventType

SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{43}=")
URL = "https://hooks.example.com/in/s3cret-path"


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC
    cache.clear()


@pytest.fixture
def developer(customer: Customer) -> Client:
    return browser(member(customer.organization, Role.DEVELOPER))


def _page(customer: Customer, path: str = "") -> str:
    return f"/dashboard/{public_id(customer.organization)}/webhooks/{path}"


def _text(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, response
    return response.content.decode()


def _once(client: Client, url: str) -> str:
    found = re.search(r'name="once" value="([^"]+)"', _text(client, url))
    assert found
    return found[1]


def _create(client: Client, customer: Customer, **fields: object) -> tuple[Endpoint, str]:
    url = _page(customer, "new/")
    plain = {"mode": "live", "url": URL, "description": "Orders", "once": _once(client, url)}
    form = {**plain, **fields}
    found = SECRET.search(client.post(url, form).content.decode())
    assert found
    return Endpoint.objects.get(organization=customer.organization, deleted_at=None), found[0]


def _delivery(
    endpoint: Endpoint, kind: str = "message.sent", *, ago: timedelta = timedelta(), **fields
) -> Delivery:
    """Create a delivery that long ago."""
    body = json.dumps({"event": kind, "data": {}})
    event = Event.objects.create(organization=endpoint.organization, type=kind, body=body)
    id_bits = ids.first_id_at(timezone.now() - ago).int | (ids.new_uuid().int & ((1 << 62) - 1))
    return Delivery.objects.create(
        id=type(event.id)(int=id_bits), event=event, endpoint=endpoint, event_type=kind, **fields
    )


def _failed(endpoint: Endpoint, **fields) -> Delivery:
    now = timezone.now()
    return _delivery(
        endpoint, status="failed", attempts=10, finished_at=now, attempted_at=now,
        response_status=500, response_body="<b>out of order</b>", duration_ms=41, **fields,
    )  # fmt: skip


def _actions(customer: Customer) -> list[str]:
    rows = AuditEntry.objects.filter(organization=customer.organization).order_by("id")
    return list(rows.values_list("action", flat=True))


# ---------------------------------------------------------------- endpoints


def test_an_endpoint_is_created_and_its_secret_shown_once(
    developer: Client, customer: Customer
) -> None:
    events = ["message.failed", "balance.low"]
    endpoint, secret = _create(developer, customer, events=events)
    assert (endpoint.url, endpoint.description, endpoint.events) == (URL, "Orders", events)
    assert (endpoint.enabled, endpoint.secret) == (True, secret)
    for page in ("", "new/", f"{endpoint.public_id}/", f"{endpoint.public_id}/edit/"):
        assert secret not in _text(developer, _page(customer, page))
    entry = AuditEntry.objects.get(organization=customer.organization)
    assert (entry.action, entry.target) == ("webhook.added", "https://hooks.example.com")
    for hidden in (secret, "s3cret-path"):
        assert hidden not in str(entry.detail)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "This field is required"),
        ("http://example.com/x", "The URL must begin with https://."),
        ("ftp://example.com/x", "The URL must begin with https://."),
        ("https://", "The URL has no host."),
        ("https://a b.example", "has a character that is not allowed"),
        ("https://user:pw@example.com/", "must not have a user name or password"),
        ("https://localhost/x", "not posted to loopback addresses"),
        ("https://169.254.169.254/latest", "not posted to that address"),
        ("https://[::1]/", "not posted to that address"),
        (f"https://example.com/{'x' * 500}", "more than 500 characters"),
    ],
)
def test_refused_urls(
    developer: Client, customer: Customer, url: str, message: str, settings
) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = False
    page = _page(customer, "new/")
    response = developer.post(
        page, {"mode": "live", "url": url, "description": "Kept", "once": _once(developer, page)}
    ).content.decode()
    assert message in response
    assert 'value="Kept"' in response
    assert not Endpoint.objects.filter(organization=customer.organization).exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"events": ["message.sent", "x"]},
        {"description": "d" * 201},
        {"once": ""},
        {"mode": "x"},
        {"mode": ""},
    ],
)
def test_other_invalid_input(
    developer: Client, customer: Customer, fields: dict[str, object]
) -> None:
    page = _page(customer, "new/")
    form = {"mode": "live", "url": URL, "once": _once(developer, page), **fields}
    assert developer.post(page, form).status_code == 200
    assert not Endpoint.objects.filter(organization=customer.organization).exists()


def test_refusals_are_shown_in_arabic(developer: Client, customer: Customer) -> None:
    page = _page(customer, "new/")
    form = {"mode": "live", "url": "http://example.com", "once": _once(developer, page)}
    response = developer.post(page, form, headers={"Accept-Language": "ar"}).content.decode()
    assert "يجب أن يبدأ" in response


def test_a_double_click_creates_one_endpoint(developer: Client, customer: Customer) -> None:
    page = _page(customer, "new/")
    form = {"mode": "live", "url": URL, "once": _once(developer, page)}
    assert SECRET.search(developer.post(page, form).content.decode())
    again = developer.post(page, form, follow=True).content.decode()
    assert not SECRET.search(again)
    assert "done already" in again
    assert Endpoint.objects.filter(organization=customer.organization).count() == 1


def test_an_endpoint_is_changed(developer: Client, customer: Customer) -> None:
    endpoint, secret = _create(developer, customer)
    page = _page(customer, f"{endpoint.public_id}/edit/")
    assert URL in _text(developer, page)
    form = {"url": "https://new.example.com/", "description": "", "events": ["otp.verified"],
            "once": _once(developer, page)}  # fmt: skip
    assert "Saved." in developer.post(page, form, follow=True).content.decode()
    endpoint.refresh_from_db()
    assert (endpoint.url, endpoint.description) == ("https://new.example.com/", "")
    assert (endpoint.events, endpoint.secret) == (["otp.verified"], secret)
    developer.post(page, form)
    assert _actions(customer) == ["webhook.added", "webhook.changed"]


@pytest.mark.parametrize(("overlap", "old_signs"), [("24", True), ("1", True), ("0", False)])
def test_the_secret_is_rotated(
    developer: Client, customer: Customer, overlap: str, old_signs: bool
) -> None:
    endpoint, old = _create(developer, customer)
    page = _page(customer, f"{endpoint.public_id}/rotate/")
    form = {"overlap": overlap, "once": _once(developer, page)}
    found = SECRET.search(developer.post(page, form).content.decode())
    assert found
    endpoint.refresh_from_db()
    assert endpoint.secret == found[0] != old
    assert endpoint.previous_secret == (old if old_signs else "")
    assert not SECRET.search(developer.post(page, form, follow=True).content.decode())
    endpoint.refresh_from_db()
    assert endpoint.secret == found[0]
    assert _actions(customer) == ["webhook.added", "webhook.secret_rotated"]


def test_an_endpoint_is_disabled_and_enabled(developer: Client, customer: Customer) -> None:
    endpoint, _ = _create(developer, customer)
    page = _page(customer, f"{endpoint.public_id}/switch/")
    for value, enabled in (("0", False), ("0", False), ("1", True)):
        developer.post(page, {"enabled": value})
        endpoint.refresh_from_db()
        assert endpoint.enabled is enabled
    assert _actions(customer) == ["webhook.added", "webhook.disabled", "webhook.enabled"]


def test_an_endpoint_is_deleted_after_asking(developer: Client, customer: Customer) -> None:
    endpoint, _ = _create(developer, customer)
    page = _page(customer, f"{endpoint.public_id}/delete/")
    assert "cannot be undone" in _text(developer, page)
    kept = Endpoint.objects.filter(pk=endpoint.pk, deleted_at=None)
    assert kept.exists()
    assert developer.post(page).status_code == 302
    assert not kept.exists()
    assert developer.get(_page(customer, f"{endpoint.public_id}/")).status_code == 404
    assert "Be told when something happens" in _text(developer, _page(customer))


def test_at_most_fifty_endpoints(developer: Client, customer: Customer, world: World) -> None:
    for _ in range(50):
        world.endpoint(customer)
    page = _page(customer, "new/")
    form = {"mode": "live", "url": URL, "once": _once(developer, page)}
    text = developer.post(page, form, follow=True).content.decode()
    assert "at most 50 webhook endpoints" in text
    assert Endpoint.objects.filter(organization=customer.organization).count() == 50
    assert "New endpoint" in text, "those of test mode are counted separately"
    for _ in range(50):
        world.endpoint(customer, test=True)
    assert "New endpoint" not in developer.get(_page(customer)).content.decode()


def test_an_endpoint_of_test_mode(developer: Client, customer: Customer) -> None:
    endpoint, _ = _create(developer, customer, mode="test")
    assert endpoint.test
    assert ">Test</span>" in developer.get(_page(customer)).content.decode()
    url = _page(customer, f"{endpoint.public_id}/edit/")
    assert 'name="mode"' not in developer.get(url).content.decode(), "it never changes"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "Not used yet"),
        ({"enabled": False}, "Disabled"),
        ({"enabled": False, "disabled_reason": "GONE"}, "410 Gone"),
        ({"failing_since": timezone.now()}, "Failing"),
        ({"paused_until": timezone.now() + timedelta(hours=1)}, "Resting"),
        ({"paused_until": timezone.now() - timedelta(hours=1)}, "Not used yet"),
    ],
)
def test_the_health_of_an_endpoint(
    developer: Client, customer: Customer, world: World, fields: dict[str, object], text: str
) -> None:
    endpoint = world.endpoint(customer)
    Endpoint.objects.filter(pk=endpoint.pk).update(**fields)
    for page in ("", f"{endpoint.public_id}/"):
        assert text in _text(developer, _page(customer, page))


def test_health_is_counted_by_endpoint(
    developer: Client, customer: Customer, outsider: Customer, world: World
) -> None:
    one, other, theirs = (
        world.endpoint(customer),
        world.endpoint(customer),
        world.endpoint(outsider),
    )
    for milliseconds in (10, 20, 90):
        _delivery(one, status="delivered", duration_ms=milliseconds, finished_at=timezone.now())
    _failed(one)
    _delivery(one)
    for each in (other, theirs):
        _failed(each)
    page = _text(developer, _page(customer))
    rows = [row for row in page.split("<tr>") if "hook" in row][1:]
    assert ">3</bdi> of" in rows[0].replace(" ", " ")
    assert "20 ms" in rows[0]
    assert "90 ms" not in rows[0]
    assert ">0</bdi> of" in rows[1]
    assert len(rows) == 2


# ---------------------------------------------------------------- deliveries


def _ids(page: str) -> list[str]:
    return re.findall(r'id="(dlv_[^"]+)"', page)


def test_deliveries_are_filtered(developer: Client, customer: Customer, world: World) -> None:
    endpoint = world.endpoint(customer)
    day = timedelta(days=1)
    old = _failed(endpoint, ago=3 * day)
    sent = _delivery(endpoint, ago=day, status="delivered", finished_at=timezone.now())
    waits = _delivery(
        endpoint, "balance.low", ago=timedelta(hours=1), next_attempt_at=timezone.now()
    )
    about = ids.new_uuid()
    Event.objects.filter(pk=sent.event_id).update(message_id=about)
    message = ids.public_id(ids.MESSAGE, about)
    page = _page(customer, f"{endpoint.public_id}/")
    at = f"{timezone.now() - 2 * day:%Y-%m-%dT%H:%M}"
    for query, found in (
        ("", [waits, sent, old]),
        ("?status=failed", [old]),
        ("?status=pending", [waits]),
        ("?event=balance.low", [waits]),
        (f"?message={message}", [sent]),
        (f"?since={at}", [waits, sent]),
        (f"?until={at}", [old]),
        (f"?before={sent.public_id}", [old]),
        ("?status=x&event=y&message=z&since=now&before=w", [waits, sent, old]),
        ("?status=delivered&event=balance.low", []),
    ):
        text = _text(developer, page + query)
        assert _ids(text) == [row.public_id for row in found], query
    assert "This is no id of a message." in _text(developer, f"{page}?message=z")


@pytest.mark.parametrize("zone", ["", "Pacific/Kiritimati", "America/Los_Angeles"])
def test_dates_at_the_ends_of_the_calendar(customer: Customer, world: World, zone: str) -> None:
    someone = member(customer.organization)
    User.objects.filter(pk=someone.pk).update(time_zone=zone)
    client = browser(someone)
    endpoint = world.endpoint(customer)
    delivery = _failed(endpoint, ago=timedelta(minutes=5))
    page = _page(customer, f"{endpoint.public_id}/")
    first, last = "0001-01-01T00:00", "9999-12-31T23:59"
    assert _ids(_text(client, f"{page}?since={first}&until={last}")) == [delivery.public_id]
    assert _ids(_text(client, f"{page}?since={last}")) == []
    form = {"since": first, "until": last, "status": "all", "once": _once(client, f"{page}replay/")}
    assert client.post(f"{page}replay/", form).status_code == 302


def test_deliveries_are_listed_in_pages(
    developer: Client, customer: Customer, world: World, monkeypatch
) -> None:
    monkeypatch.setattr("webhooks.dashboard.views.PAGE", 2)
    endpoint = world.endpoint(customer)
    rows = [_delivery(endpoint, ago=timedelta(minutes=ago)).public_id for ago in (5, 4, 3)]
    page = _page(customer, f"{endpoint.public_id}/")
    first = _text(developer, page)
    assert _ids(first) == [rows[2], rows[1]]
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older
    second = _text(developer, page + older[1])
    assert _ids(second) == [rows[0]]
    assert "hx-get" not in second


def test_one_delivery(developer: Client, customer: Customer, world: World) -> None:
    endpoint = world.endpoint(customer)
    delivery = _failed(endpoint)
    page = _text(developer, _page(customer, f"deliveries/{delivery.public_id}/"))
    for shown in (
        "message.sent", "Given up", "Answered", ">500<", "41 ms",
        "&lt;b&gt;out of order&lt;/b&gt;", "webhook-id", "User-Agent",
        "&quot;data&quot;: {}", "Deliver it again",
    ):  # fmt: skip
        assert shown in page, shown
    assert "hx-get" not in page


def test_a_delivery_refreshes_until_it_is_finished(
    developer: Client, customer: Customer, world: World
) -> None:
    delivery = _delivery(world.endpoint(customer), next_attempt_at=timezone.now())
    page = _page(customer, f"deliveries/{delivery.public_id}/")
    found = re.search(r'hx-get="([^"]+)"', _text(developer, page))
    assert found
    htmx = {"HX-Request": "true"}
    assert developer.get(found[1], headers=htmx).status_code == 204
    Delivery.objects.filter(pk=delivery.pk).update(
        status="delivered", attempts=1, attempted_at=timezone.now(), response_status=200,
        response_body="thank you", finished_at=timezone.now(), next_attempt_at=None,
    )  # fmt: skip
    part = developer.get(found[1], headers=htmx).content.decode()
    assert "thank you" in part
    assert "Received" in part
    assert "<html" not in part
    assert "hx-get" not in part


def test_other_organizations_endpoints_are_not_found(
    developer: Client, customer: Customer, outsider: Customer, world: World
) -> None:
    theirs = world.endpoint(outsider)
    delivery = _failed(theirs)
    for path in ("", "edit/", "rotate/", "delete/", "replay/"):
        for webhook in (theirs.public_id, "whk_x", "nothing"):
            assert developer.get(_page(customer, f"{webhook}/{path}")).status_code == 404
    for path in ("switch/", "test/", "delete/", "replay/", "edit/", "rotate/"):
        assert developer.post(_page(customer, f"{theirs.public_id}/{path}")).status_code == 404
    for page in (delivery.public_id, "dlv_x"):
        assert developer.get(_page(customer, f"deliveries/{page}/")).status_code == 404
        assert developer.post(_page(customer, f"deliveries/{page}/replay/")).status_code == 404
    theirs.refresh_from_db()
    assert (theirs.enabled, theirs.deleted_at, theirs.secret) == (True, None, "whsec_c2VjcmV0")
    assert Delivery.objects.filter(endpoint=theirs).count() == 1
    assert delivery.public_id not in _text(developer, _page(customer, "events/"))


# ---------------------------------------------------------------- test events and replays


def test_a_test_event_leads_to_its_delivery(
    developer: Client, customer: Customer, world: World, wakes
) -> None:
    endpoint = world.endpoint(customer, "balance.low")
    response = developer.post(_page(customer, f"{endpoint.public_id}/test/"))
    delivery = Delivery.objects.get(endpoint=endpoint)
    assert delivery.event_type == EventType.WEBHOOK_TEST
    assert response["Location"].endswith(f"/webhooks/deliveries/{delivery.public_id}/")
    assert "Not posted yet" in _text(developer, response["Location"])


def test_no_test_event_to_a_disabled_endpoint(
    developer: Client, customer: Customer, world: World
) -> None:
    endpoint = world.endpoint(customer)
    Endpoint.objects.filter(pk=endpoint.pk).update(enabled=False)
    page = _page(customer, f"{endpoint.public_id}/test/")
    assert "Enable it first." in developer.post(page, follow=True).content.decode()
    assert not Delivery.objects.filter(endpoint=endpoint).exists()


def test_test_events_are_limited(developer: Client, customer: Customer, world: World) -> None:
    endpoint = world.endpoint(customer)
    page = _page(customer, f"{endpoint.public_id}/test/")
    assert {developer.post(page).status_code for _ in range(20)} == {302}
    assert developer.post(page).status_code == 429
    assert Delivery.objects.filter(endpoint=endpoint).count() == 20


def test_a_delivery_is_replayed(developer: Client, customer: Customer, world: World) -> None:
    old = _failed(world.endpoint(customer))
    page = _page(customer, f"deliveries/{old.public_id}/replay/")
    response = developer.post(page)
    new = Delivery.objects.get(event=old.event_id, status="pending")
    assert response["Location"].endswith(f"/{new.public_id}/")
    assert "still on its way" in developer.post(page, follow=True).content.decode()
    assert Delivery.objects.filter(event=old.event_id).count() == 2
    assert _actions(customer) == ["webhook.replayed"]


def test_a_period_is_replayed(developer: Client, customer: Customer, world: World) -> None:
    endpoint = world.endpoint(customer)
    day = timedelta(days=1)
    _failed(endpoint, ago=3 * day)
    failed = [_failed(endpoint, ago=timedelta(hours=hours)) for hours in (5, 4)]
    _failed(endpoint, kind="balance.low", ago=timedelta(hours=3))
    _delivery(endpoint, ago=timedelta(hours=2), status="delivered", finished_at=timezone.now())
    page = _page(customer, f"{endpoint.public_id}/replay/")
    now = timezone.now()
    form = {
        "since": f"{now - day:%Y-%m-%dT%H:%M}", "until": f"{now:%Y-%m-%dT%H:%M}",
        "status": "failed", "events": ["message.sent"], "once": _once(developer, page),
    }  # fmt: skip
    text = developer.post(page, form, follow=True).content.decode()
    assert "2 events are on their way again." in text
    replays = Delivery.objects.filter(endpoint=endpoint, status="pending")
    assert set(replays.values_list("event", flat=True)) == {one.event_id for one in failed}
    assert "done already" in developer.post(page, form, follow=True).content.decode()
    assert replays.count() == 2


def test_a_long_period_continues_where_it_stopped(
    developer: Client, customer: Customer, world: World, monkeypatch
) -> None:
    monkeypatch.setattr("webhooks.delivery.replay.MOST", 2)
    endpoint = world.endpoint(customer)
    for minutes in (9, 8, 7):
        _failed(endpoint, ago=timedelta(minutes=minutes))
    page = _page(customer, f"{endpoint.public_id}/replay/")
    now = timezone.now()
    form = {
        "since": f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M}", "until": f"{now:%Y-%m-%dT%H:%M}",
        "status": "failed", "once": _once(developer, page),
    }  # fmt: skip
    response = developer.post(page, form)
    more = _text(developer, response["Location"])
    assert "There is more in this time." in more
    filled = dict(re.findall(r'name="(since|until|cursor|once)" value="([^"]+)"', more))
    assert filled["since"] == form["since"]
    text = developer.post(page, filled | {"status": "failed"}, follow=True).content.decode()
    assert "1 event is on its way again." in text
    assert Delivery.objects.filter(endpoint=endpoint, status="pending").count() == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"since": ""}, "This field is required"),
        ({"since": "yesterday"}, "Enter a valid date/time."),
        ({"until": "2020-01-01T00:00"}, "This must be later than the beginning."),
        ({"status": "none"}, "not one of the available choices"),
        ({"events": ["x"]}, "not one of the available choices"),
    ],
)
def test_refused_periods(
    developer: Client, customer: Customer, world: World, fields: dict[str, object], message: str
) -> None:
    endpoint = world.endpoint(customer)
    _failed(endpoint, ago=timedelta(minutes=5))
    page = _page(customer, f"{endpoint.public_id}/replay/")
    form = {"since": "2021-01-01T00:00", "until": "2099-01-01T00:00", "status": "failed",
            "once": _once(developer, page), **fields}  # fmt: skip
    assert message in developer.post(page, form).content.decode()
    assert not Delivery.objects.filter(endpoint=endpoint, status="pending").exists()


# ---------------------------------------------------------------- the live feed


def test_the_feed_has_each_event_once_with_all_its_deliveries(
    developer: Client, customer: Customer, world: World
) -> None:
    one, other = world.endpoint(customer), world.endpoint(customer)
    first = _delivery(one, ago=timedelta(minutes=2), status="delivered", finished_at=timezone.now())
    second = Delivery.objects.create(
        event=first.event, endpoint=other, event_type=first.event_type, attempts=1
    )
    low = _delivery(one, "balance.low", ago=timedelta(minutes=1))
    page = _page(customer, "events/")
    text = _text(developer, page)
    events = [ids.public_id(ids.EVENT, row.event_id) for row in (second, low)]
    assert re.findall(r'<details id="(evt_[^"]+)"', text) == events
    for delivery in (first, second, low):
        assert f"deliveries/{delivery.public_id}/" in text
    narrowed = _text(developer, f"{page}?event=balance.low")
    assert re.findall(r'<details id="(evt_[^"]+)"', narrowed) == events[1:]
    assert "hx-get" in text
    assert "hx-get" not in _text(developer, f"{page}?live=off")
    older = _text(developer, f"{page}?before={low.public_id}")
    assert re.findall(r'<details id="(evt_[^"]+)"', older) == events[:1]


def test_an_empty_feed_says_what_to_do(developer: Client, customer: Customer, world: World) -> None:
    page = _page(customer, "events/")
    assert "Make an endpoint" in _text(developer, page)
    world.endpoint(customer)
    assert "Send a test message or a test event" in _text(developer, page)
    assert "No such event yet." in _text(developer, f"{page}?event=otp.failed")


@pytest.mark.parametrize("path", ["", "{endpoint}/", "events/", "deliveries/{delivery}/"])
def test_the_number_of_queries_is_fixed(
    developer: Client, customer: Customer, world: World, path: str
) -> None:
    endpoint = world.endpoint(customer)
    delivery = _failed(endpoint)
    page = _page(customer, path.format(endpoint=endpoint.public_id, delivery=delivery.public_id))
    counts = []
    for more in (0, 12):
        for _ in range(more):
            _failed(endpoint)
            _failed(world.endpoint(customer))
        developer.get(page)
        statements: list[str] = []
        with connection.execute_wrapper(noting(statements)):
            developer.get(page)
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 12
