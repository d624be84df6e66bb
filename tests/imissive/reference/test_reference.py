"""The reference's pages: everything that the schema says, for everybody, from this server alone."""

import functools
import re
from collections import Counter
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.utils.html import strip_tags

from accounts.roles import Scope
from imissive.core.errors import STATUS_OF_CODE
from imissive.reference.page import EVENTS, reference
from imissive.reference.schema import document
from tests.support.markup import Elements, csp_violations
from tests.support.people import PLAIN_STATIC

pytestmark = pytest.mark.django_db

OVERVIEW = "/docs/reference"
SLUGS = [tag.slug for tag in reference().tags]
PAGES = [OVERVIEW, *(f"{OVERVIEW}/{slug}" for slug in [*SLUGS, EVENTS])]


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.STORAGES = PLAIN_STATIC
    settings.PUBLIC_URL = "https://sms.example.com"


@functools.cache
def read(path: str, language: str = "en") -> str:
    """The page as nobody sees it, asked for once."""
    client = Client()
    client.cookies["django_language"] = language
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode()


def section(html: str, anchor: str) -> str:
    """The part of a page under that heading."""
    [found] = [
        part
        for part in html.split('<section class="guide-section"')[1:]
        if part.startswith(f' aria-labelledby="{anchor}"')
    ]
    return found


def text(html: str) -> str:
    return " ".join(unescape(strip_tags(html)).split())


def operations() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(page, method, path, operation) of all."""
    slugs = {tag.name: tag.slug for tag in reference().tags}
    for path, methods in document().schema["paths"].items():
        for method, operation in methods.items():
            yield f"{OVERVIEW}/{slugs[operation['tags'][0]]}", method.upper(), path, operation


def fields_of(schema: dict[str, Any]) -> set[str]:
    """The names of a body's own fields; of each of several bodies."""
    if "$ref" in schema:
        schema = document().schema["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    several = schema.get("anyOf", schema.get("oneOf"))
    if several:
        return {name for one in several for name in fields_of(one)}
    return set(schema.get("properties", ()))


def named(html: str) -> set[str]:
    """What stands in code, without marks."""
    return {text(code) for code in re.findall(r"<code>(.*?)</code>", html, re.S)}


# ---------------------------------------------------------------- all of the schema is there


def test_every_operation_is_shown_with_all_that_it_takes_and_answers() -> None:
    for page, method, path, operation in operations():
        shown = section(read(page), operation["operationId"])
        assert f"{method} {path}" in text(shown).replace("{ ", "{"), path
        expected = {
            given.get("name") or given["$ref"].rpartition("/")[2]
            for given in operation.get("parameters", [])
        } - {"IdempotencyKey"}
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        expected |= fields_of(body["schema"]) if body else set()
        for status, response in operation["responses"].items():
            assert re.search(rf'<span class="pill \w+">{status}</span>', shown), (path, status)
            content = response.get("content", {}).get("application/json")
            if "x-codes" in response:
                expected |= set(response["x-codes"])
            elif content:
                expected |= fields_of(content["schema"])
            expected |= set(response.get("headers", ()))
        expected |= set(operation["security"][0]["ApiKey"])
        missing = {name for name in expected if name not in named(shown)}
        assert missing == set(), path


def test_every_post_shows_its_idempotency_key() -> None:
    for page, method, _, operation in operations():
        shown = section(read(page), operation["operationId"])
        assert ("Headers of the call" in shown and "Idempotency-Key" in named(shown)) is (
            method == "POST"
        )


def test_the_overview_leads_to_every_operation_scope_and_code() -> None:
    html = read(OVERVIEW)
    links = Elements(html).values("href")
    for page, _, _, operation in operations():
        assert f"{page}#{operation['operationId']}" in links
    assert set(STATUS_OF_CODE) | set(Scope.values) <= named(html)


def test_every_event_is_shown_with_its_body() -> None:
    html = read(f"{OVERVIEW}/{EVENTS}")
    for name, item in document().schema["webhooks"].items():
        post = item["post"]
        shown = section(html, post["operationId"])
        body = post["requestBody"]["content"]["application/json"]["schema"]
        assert {name} | fields_of(body) <= named(shown), name
        assert post["description"].split("`")[0] in text(shown)
    assert {"webhook-id", "webhook-timestamp", "webhook-signature"} <= named(html)


# ---------------------------------------------------------------- the pages as such


@pytest.mark.parametrize("language", ["en", "ar"])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_needs_nothing_from_elsewhere(page: str, language: str) -> None:
    html = read(page, language)
    assert csp_violations(html) == []
    assert f'<html lang="{language}"' in html
    twice = {id for id, count in Counter(Elements(html).values("id")).items() if count > 1}
    assert twice == set()


def test_every_link_leads_somewhere() -> None:
    anchors = {page: set(Elements(read(page)).values("id")) for page in [*PAGES, "/docs"]}
    for page in PAGES:
        for link in Elements(read(page)).values("href"):
            path, _, anchor = link.partition("#")
            if anchor and (path or page) in anchors:
                assert anchor in anchors[path or page], (page, link)


def test_addresses() -> None:
    client = Client()
    assert client.get(f"{OVERVIEW}/")["Location"] == OVERVIEW
    assert client.get(f"{OVERVIEW}/nothing").status_code == 404
    for page in PAGES:
        assert client.post(page).status_code == 405
        compressed = client.get(page, headers={"Accept-Encoding": "gzip"})
        assert compressed["Content-Encoding"] == "gzip"
