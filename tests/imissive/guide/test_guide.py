"""The guide's page: what customers were told before, every error code, and both languages alike."""

import functools
import json
import re
from collections import Counter
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.utils.html import strip_tags

from accounts.api.idempotency import KEPT, MAX_KEY_LENGTH
from accounts.api.rate_limits import LimitClass
from accounts.roles import Scope
from imissive.core.errors import STATUS_OF_CODE
from imissive.guide import calls
from imissive.guide.page import SECTIONS
from imissive.reference.events import KINDS
from messaging.states import Status
from messaging.text import encoding
from tests.support.markup import Elements, csp_violations
from tests.support.people import PLAIN_STATIC
from webhooks.delivery.retry import RETRY_SECONDS
from webhooks.models import EventType

pytestmark = pytest.mark.django_db

# What stood in the documentation before this guide, in its order.
TITLES = [
    "Quick Start",
    "Authentication",
    "SMS API",
    "OTP API",
    "Webhooks",
    "SMPP Connectivity",
    "Rate Limits",
    "Error Codes",
    "Frequently Asked Questions",
    "Code Examples",
]
SENTENCES = """
API Documentation
Comprehensive guide to integrating iMissive SMS, OTP, Webhooks, and SMPP services into your
Send your first message in just a few minutes
Log in to your dashboard and retrieve your API key from the Settings section.
Use the following code to send your first message:
* Replace YOUR_API_KEY with your actual API key. Production URL provided after onboarding.
All API requests require authentication via Bearer Token
Include this header in all your API requests. API keys are available from your dashboard.
Never share your API key publicly
Use environment variables to store keys
Rotate keys regularly
Always use HTTPS
Send single or bulk SMS messages
Generate and verify one-time passwords
Receive real-time notifications about message status
Configure your webhook URL from the dashboard to receive notifications.
message.queued Message queued for delivery
message.sent Message sent to carrier
message.delivered Message delivered to recipient
message.failed Message delivery failed
Enterprise SMPP v3.4 connectivity for high-volume messaging
* SMPP credentials and connection details available after technical onboarding for qualified
Unicode support for Arabic messages
Long messages (automatic concatenation)
Delivery reports (DLR)
Message scheduling
Multiple binds
Rate limits and throughput depend on the approved account configuration, route, sender type, and
* Contact sales for your account-specific limit details
Reference for common error codes and how to handle them
400 Bad Request Check the request body for validation errors
401 Unauthorized Invalid or missing API key
403 Forbidden You do not have permission for this action
429 Too Many Requests Rate limit exceeded
500 Server Error Try again later
INVALID_PHONE 400 Invalid phone number format
INVALID_SENDER 403 Sender ID not authorized
INSUFFICIENT_CREDITS 402 Not enough credits
MESSAGE_TOO_LONG 400 Message exceeds maximum length
Answers to the most common questions
Quick examples to get you started with integration
Ready to start integrating?
Contact us to get your API keys and start integrating enterprise messaging services
""".strip().splitlines()
CODES = [
    """curl -X POST https://sms.example.com/v1/sms/send \\
-H "Authorization: Bearer YOUR_API_KEY" \\
-H "Content-Type: application/json" \\
-d '{
"to": "+966501234567",
"message": "Hello from iMissive!",
"sender_id": "MyCompany"
}'""",
    "Authorization: Bearer YOUR_API_KEY",
    """{
"to": "+966501234567",
"message": "Your message content here",
"sender_id": "MyCompany",
"scheduled_at": "2024-01-15T10:00:00Z" // optional
}""",
    """{
"messages": [
{ "to": "+966501234567", "message": "Hello User 1" },
{ "to": "+966501234568", "message": "Hello User 2" }
],
"sender_id": "MyCompany"
}""",
    """{
"phone": "+966501234567",
"length": 6, // 4-8 digits
"expiry": 300, // seconds (configurable)
"template": "Your verification code is: {code}"
}""",
    """{
"otp_id": "otp_abc123",
"code": "123456"
}""",
    "POST https://your-server.com/webhook",
    """{
"event": "message.delivered",
"message_id": "msg_abc123xyz",
"timestamp": "2024-01-15T10:01:23Z",
"data": {
"to": "+966501234567",
"status": "delivered",
"delivered_at": "2024-01-15T10:01:22Z"
}
}""",
    """X-RateLimit-Limit: <account_limit>
X-RateLimit-Remaining: <remaining_quota>
X-RateLimit-Reset: <reset_timestamp>""",
]


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.STORAGES = PLAIN_STATIC
    settings.PUBLIC_URL = "https://sms.example.com"


@functools.cache
def read(language: str = "en") -> str:
    """The page, asked for once: it says the same to everybody without a key."""
    client = Client()
    client.cookies["django_language"] = language
    response = client.get("/docs")
    assert response.status_code == 200
    return response.content.decode()


@functools.cache
def plain(html: str) -> str:
    """The text of HTML, each run of white space being one space."""
    spaced = re.sub(r"(</(?:td|th|dt|dd|li|span|code|p)>)", r"\1 ", html)
    return " ".join(unescape(strip_tags(spaced)).split())


@functools.cache
def blocks(html: str) -> list[str]:
    """The code blocks of a page, without the indentation of their lines."""
    found = re.findall(r"<pre[^>]*>(.*?)</pre>", html, re.S)
    codes = [unescape(strip_tags(block)).strip() for block in found]
    return ["\n".join(line.strip() for line in code.splitlines()) for code in codes]


# ---------------------------------------------------------------- what was documented before


def test_every_section_is_there_in_its_order() -> None:
    headings = re.findall(r"<h2 id=[^>]*>(.*?)</h2>", read())
    assert [heading for heading in headings if heading in TITLES] == TITLES


@pytest.mark.parametrize("sentence", SENTENCES)
def test_every_sentence_is_there(sentence: str) -> None:
    assert sentence in plain(read()).replace(" .", ".").replace(" ,", ",")


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("language", ["en", "ar"])
def test_every_body_is_there_as_printed(language: str, code: str) -> None:
    assert code in blocks(read(language))


# ---------------------------------------------------------------- it holds together


@pytest.mark.parametrize("language", ["en", "ar"])
def test_every_error_code_has_its_anchor(language: str) -> None:
    html = read(language)
    for code, status in STATUS_OF_CODE.items():
        line = re.search(rf'<div class="fault" id="{code}"><dt>(.*?)</dt>', html)
        assert line, code
        assert strip_tags(line[1]).split() == [code, str(status)]


@pytest.mark.parametrize("language", ["en", "ar"])
def test_every_link_within_leads_somewhere(language: str) -> None:
    elements = Elements(read(language))
    ids = Counter(elements.values("id"))
    assert [id for id, count in ids.items() if count > 1] == []
    links = {link[1:] for link in elements.values("href") if link.startswith("#")}
    assert links - set(ids) == set()
    assert set(SECTIONS) - links == set()


@pytest.mark.parametrize("language", ["en", "ar"])
def test_every_call_is_on_the_page_with_what_it_uses(language: str) -> None:
    elements = Elements(read(language))
    shown = set(elements.values("data-name"))
    assert shown == set(calls.names())
    for uses in elements.values("data-uses"):
        for source in json.loads(uses).values():
            assert source.split(".")[0] in shown


def test_nothing_on_it_needs_a_wider_policy() -> None:
    assert csp_violations(read()) == []


def test_it_is_for_everybody_and_in_nobodys_cache() -> None:
    response = Client().get("/docs")
    assert response["Cache-Control"] == "private, no-store"
    assert "YOUR_API_KEY" in response.content.decode()
    assert Client().post("/docs").status_code == 405
    assert Client().get("/docs/")["Location"] == "/docs"


def test_it_is_compressed_for_who_takes_that() -> None:
    response = Client().get("/docs", headers={"Accept-Encoding": "gzip"})
    assert response["Content-Encoding"] == "gzip"
    assert len(response.content) < 100_000


# ---------------------------------------------------------------- both languages alike


def _prose(html: str) -> str:
    return re.sub(r"<(pre|textarea).*?</\1>", "", html, flags=re.S)


def _codes(section: str) -> Counter[str]:
    return Counter(re.findall(r"<code>(.*?)</code>", section))


def test_both_languages_have_the_same_in_the_same_order() -> None:
    english, arabic = Elements(read("en")), Elements(read("ar"))
    for attribute in ("id", "data-name", "data-language"):
        assert english.values(attribute) == arabic.values(attribute)
    inside = [
        [link for link in page.values("href") if link.startswith("#")] for page in (english, arabic)
    ]
    assert Counter(inside[0]) == Counter(inside[1])


def test_both_languages_name_the_same_things() -> None:
    """Fields, codes and numbers that a customer types; their order may follow the language."""
    split = re.compile(r'<section class="guide-section"')
    pairs = zip(split.split(read("en"))[1:], split.split(read("ar"))[1:], strict=True)
    for slug, (english, arabic) in zip(SECTIONS, pairs, strict=True):
        assert _codes(_prose(english)) == _codes(_prose(arabic)), slug


def test_arabic_is_arabic() -> None:
    html = read("ar")
    assert '<html lang="ar" dir="rtl"' in html
    prose = strip_tags(_prose(html))
    latin = re.findall(r"[A-Za-z]{4,} [A-Za-z]{2,} [A-Za-z]{2,}", prose)
    # Names of things, and the languages of the tabs.
    assert [words for words in latin if words.split()[0] not in {"Python", "JavaScript"}] == []


# ---------------------------------------------------------------- what it says is so


def _rows(html: str, anchor: str) -> list[list[str]]:
    """The first table after an anchor, as text."""
    table = re.search(rf'id="{anchor}".*?<tbody>(.*?)</tbody>', html, re.S)
    assert table
    return [
        [strip_tags(cell).strip() for cell in re.findall(r"<td>(.*?)</td>", row, re.S)]
        for row in re.findall(r"<tr>(.*?)</tr>", table[1], re.S)
    ]


def test_tables_list_all_there_is() -> None:
    html = read()
    assert [row[0] for row in _rows(html, "keys")] == list(Scope.values)
    assert {row[0] for row in _rows(html, "statuses")} == {status.value for status in Status}
    assert [row[0] for row in _rows(html, "event-types")] == list(EventType.values)
    assert list(calls.events()) == list(EventType.values)
    assert [row[0] for row in _rows(html, "rate-limits")] == [
        limit_class.value for limit_class in LimitClass
    ]


def test_every_event_fits_its_model() -> None:
    models = {kind.event.value: kind.model() for kind in KINDS}
    for event, body in calls.events().items():
        read = models[event].model_validate(body)
        assert read.model_dump(mode="json", exclude_unset=True) == body


def test_the_retries_are_the_real_ones() -> None:
    def spoken(seconds: int) -> str:
        for unit, length in (("h", 3600), ("min", 60)):
            if seconds % length == 0:
                return f"{seconds // length} {unit}"
        return f"{seconds} s"

    rows = _rows(read(), "webhook-retries")
    assert [row[1] for row in rows] == [spoken(seconds) for seconds in RETRY_SECONDS]


def test_limits_are_the_real_ones() -> None:
    page = plain(read())
    assert _rows(read(), "text")[0][1:3] == [str(encoding.SINGLE_SEPTETS), "153"]
    assert _rows(read(), "text")[1][1:3] == [str(encoding.SINGLE_UNITS), "67"]
    assert f"The key is up to {MAX_KEY_LENGTH} printable ASCII characters" in page
    assert f"It is kept for {KEPT.total_seconds() / 3600:.0f} hours" in page
