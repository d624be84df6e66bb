"""The OpenAPI document is valid, complete, public, and consistent with its own examples."""

import gzip
import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator

from imissive.core.errors import STATUS_OF_CODE
from imissive.reference import codes
from imissive.reference.operations import OPERATIONS, TAGS
from imissive.reference.postprocessing import PARAMETERS
from imissive.reference.schema import document
from webhooks.models import EventType

URL = "/v1/openapi.json"
COMMON = {"401", "403", "406", "429", "500", "503"}
client = Client()


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document().schema["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def operation(operation_id: str) -> dict[str, Any]:
    return next(found for _, _, found in operations() if found["operationId"] == operation_id)


# ---------------------------------------------------------------- the schema as a whole


def test_it_is_valid_openapi_3_1() -> None:
    schema = document().schema
    assert schema["openapi"] == "3.1.0"
    assert [str(error) for error in OpenAPIV31SpecValidator(schema).iter_errors()] == []


def test_the_framework_understood_every_view(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", fail_on_warn=True, stdout=StringIO())
    assert capsys.readouterr().err == ""


def test_every_operation_is_known_and_none_is_listed_in_vain() -> None:
    assert {found["operationId"] for _, _, found in operations()} == set(OPERATIONS)


def test_every_operation_says_what_a_reader_needs() -> None:
    for path, method, found in operations():
        name = f"{method} {path}"
        assert found.get("summary"), name
        assert found.get("description"), name
        assert len(found["tags"]) == 1, name
        assert found["tags"][0] in TAGS, name
        assert [list(one) for one in found["security"]] == [["ApiKey"]], name
        assert len(found["security"][0]["ApiKey"]) == 1, name
        assert found["x-rate-limit"] in ("send", "bulk", "calls"), name


def test_tags_and_operations_are_in_their_order() -> None:
    schema = document().schema
    assert [tag["name"] for tag in schema["tags"]] == list(TAGS)
    order = [list(TAGS).index(found["tags"][0]) for _, _, found in operations()]
    assert order == sorted(order)


def test_every_operation_has_the_common_refusals() -> None:
    for path, method, found in operations():
        expected = set(COMMON)
        expected |= {"404"} if "{" in path else set()
        expected |= {"400", "413", "415"} if method in ("post", "patch") else set()
        expected |= {"409", "422"} if method == "post" else set()
        assert expected <= set(found["responses"]), f"{method} {path}"
        assert any(status < "300" for status in found["responses"]), f"{method} {path}"


def test_every_post_takes_an_idempotency_key_and_nothing_else_does() -> None:
    key = {"$ref": "#/components/parameters/IdempotencyKey"}
    assert PARAMETERS["IdempotencyKey"]["name"] == "Idempotency-Key"
    for path, method, found in operations():
        assert (key in found.get("parameters", [])) is (method == "post"), f"{method} {path}"


def test_each_code_is_under_its_status_and_explained() -> None:
    assert set(codes.CODES) == set(STATUS_OF_CODE)
    used = set()
    for path, method, found in operations():
        for status, response in found["responses"].items():
            for code in response.get("x-codes", []):
                assert STATUS_OF_CODE[code] == int(status), f"{method} {path}"
                used.add(code)
    assert used == set(STATUS_OF_CODE) - {"METHOD_NOT_ALLOWED"}


@pytest.mark.parametrize(
    ("name", "status", "its_codes"),
    [
        ("send_message", "402", ["INSUFFICIENT_CREDITS"]),
        ("send_message", "403", ["FORBIDDEN", "INVALID_SENDER", "DESTINATION_BLOCKED"]),
        ("get_message", "404", ["NOT_FOUND"]),
        ("cancel_message", "409", ["NOT_CANCELABLE", "IDEMPOTENCY_IN_PROGRESS"]),
        ("send_otp", "429", ["RATE_LIMITED", "TOO_MANY_ATTEMPTS", "OTP_COOLDOWN"]),
        ("get_balance", "400", None),
    ],
)
def test_refusals_of_an_operation(name: str, status: str, its_codes: list[str] | None) -> None:
    response = operation(name)["responses"].get(status)
    assert (response and response["x-codes"]) == its_codes


def test_headers_are_declared_where_they_come() -> None:
    rate = {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit"}
    found = {
        status: set(response["headers"])
        for status, response in operation("send_message")["responses"].items()
    }
    assert all("X-Request-Id" in headers for headers in found.values())
    assert rate <= found["202"] & found["400"] & found["429"]
    assert not rate & (found["401"] | found["406"] | found["500"] | found["503"])
    assert "Idempotent-Replayed" in found["202"]
    assert "Retry-After" in found["429"] & found["503"]
    assert "WWW-Authenticate" in found["401"]


def test_a_request_is_described_as_it_is_read_and_a_response_as_it_is_written() -> None:
    schemas = document().schema["components"]["schemas"]
    assert schemas["SendBody"]["required"] == ["to", "message"]
    assert schemas["SendBody"]["additionalProperties"] is False
    assert set(schemas["Webhook"]["required"]) == set(schemas["Webhook"]["properties"])
    assert {"type": "null"} in schemas["Webhook"]["properties"]["failing_since"]["anyOf"]


def test_links_use_the_ids_of_responses() -> None:
    links = operation("send_message")["responses"]["202"]["links"]
    assert links["get_message"]["parameters"] == {"message_id": "$response.body#/message_id"}
    there = {found["operationId"] for _, _, found in operations()}
    for _, _, found in operations():
        for response in found["responses"].values():
            assert {link["operationId"] for link in response.get("links", {}).values()} <= there


# ---------------------------------------------------------------- examples


def check(schema: dict[str, Any], value: Any) -> None:
    """Raise where the value does not obey the schema."""
    whole = {"components": document().schema["components"], **schema}
    Draft202012Validator(whole, format_checker=FormatChecker()).validate(value)


def test_every_example_obeys_its_schema() -> None:
    checked = 0
    for path, method, found in operations():
        contents = [found.get("requestBody", {}).get("content", {})]
        contents += [response.get("content", {}) for response in found["responses"].values()]
        for content in contents:
            media = content.get("application/json", {})
            for name, example in media.get("examples", {}).items():
                if "$ref" in example:
                    kind, component = example["$ref"].split("/")[-2:]
                    example = document().schema["components"][kind][component]
                try:
                    check(media["schema"], example["value"])
                except Exception as error:
                    raise AssertionError(f"{method} {path}, {name}") from error
                checked += 1
    assert checked > 100


def test_the_schema_is_the_same_every_day() -> None:
    assert "{today}" not in document().text.decode()
    assert "2026-11-23T" in document().text.decode()


def test_every_event_is_described_with_an_example_that_obeys() -> None:
    webhooks = document().schema["webhooks"]
    assert set(webhooks) == set(EventType.values)
    for name, item in webhooks.items():
        post = item["post"]
        media = post["requestBody"]["content"]["application/json"]
        check(media["schema"], media["examples"][name]["value"])
        headers = {parameter["name"] for parameter in post["parameters"]}
        assert headers == {"webhook-id", "webhook-timestamp", "webhook-signature"}
        assert set(post["responses"]) == {"2XX", "410", "default"}


# ---------------------------------------------------------------- serving it


def test_everybody_may_read_it() -> None:
    response = client.get(URL)
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "public, max-age=300"
    assert response["Access-Control-Allow-Origin"] == "*"
    assert response["X-Request-Id"].startswith("req_")
    assert response.json() == document().schema


def test_the_server_is_the_platforms_own_address(settings: Any) -> None:
    assert document().schema["servers"] == [{"url": settings.PUBLIC_URL}]
    settings.PUBLIC_URL = "https://sms.example.com"
    assert document().schema["servers"] == [{"url": "https://sms.example.com"}]


def test_a_client_that_has_it_gets_304() -> None:
    etag = client.get(URL)["ETag"]
    response = client.get(URL, HTTP_IF_NONE_MATCH=etag)
    assert (response.status_code, response.content) == (304, b"")
    assert client.get(URL, HTTP_IF_NONE_MATCH='"other"').status_code == 200


def test_it_is_sent_compressed() -> None:
    response = client.get(URL, HTTP_ACCEPT_ENCODING="gzip")
    assert response["Content-Encoding"] == "gzip"
    assert len(response.content) < 60_000
    assert json.loads(gzip.decompress(response.content)) == document().schema
    assert client.get(URL, HTTP_IF_NONE_MATCH=response["ETag"]).status_code == 304


def test_head_has_no_body() -> None:
    response = client.head(URL)
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(method: str) -> None:
    response = client.generic(method, URL)
    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD"
    assert response.json()["error"]["code"] == "METHOD_NOT_ALLOWED"
