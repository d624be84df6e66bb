"""Logs contain no key, secret, text, code or full number, wherever it comes from."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from imissive.core import logs
from imissive.core.logs import redact, redact_text
from tests.support.factories import PHONE, SENDER

KEY = "imk_live_" + "0123456789abcdef" * 4
HOOK = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def direct(logger: logging.Logger, output: io.StringIO) -> None:
    [handler] = logger.handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(output)


@pytest.fixture(params=[True, False], ids=["json", "people"])
def written(request) -> Iterator[io.StringIO]:
    """Return the output of the process's own logging, in both of its forms."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    logs.configure(level="DEBUG", as_json=request.param)
    output = io.StringIO()
    direct(root, output)
    yield output
    logs.configure(level=settings.LOG_LEVEL, as_json=settings.LOG_JSON)
    root.handlers = handlers
    root.setLevel(level)


# ---------------------------------------------------------------- the processor

SAFE = "[redacted]"


@pytest.mark.parametrize(
    "name",
    [
        "password", "PASSWORD", "carrier_password", "secret", "secret_key", "previous_secret",
        "token", "csrf_token", "authorization", "Authorization", "HTTP_AUTHORIZATION", "api_key",
        "code", "otp_code", "body", "response_body", "text", "message_text",
    ],
)  # fmt: skip
def test_values_under_sensitive_keys_are_never_logged(name):
    assert redact(None, "info", {"event": "x", name: "hunter2"}) == {"event": "x", name: SAFE}
    assert redact(None, "info", {"event": "x", name: {"deep": "hunter2"}})[name] == SAFE


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"got {KEY}.", "got imk_live_[redacted]."),
        ("imk_test_ab12 and imk_live_cd34", "imk_test_[redacted] and imk_live_[redacted]"),
        (f"signed with {HOOK}", "signed with whsec_[redacted]"),
        ("whsec_a+b/c==", "whsec_[redacted]"),
        ("to +966501234567", "to +96650…67"),
        ("to=+966501234567,", "to=+96650…67,"),
        ("('+966501234567',)", "('+96650…67',)"),
        ("+966501234567+201001234567", "+96650…67+20100…67"),
        ("GET /v1/sms?to=%2B966501234567&x", "GET /v1/sms?to=%2B96650…67&x"),
        ("to +2975612345", "to +29756…45"),
        ("to +6834012", "to +683…12"),
        ("no number: 12345 of 20000 in 1.234567 s", "no number: 12345 of 20000 in 1.234567 s"),
        ("2026-05-01T12:00:00Z", "2026-05-01T12:00:00Z"),
        ("msg_06f4zb1q9s3v5x7y9a1c3e5g7j", "msg_06f4zb1q9s3v5x7y9a1c3e5g7j"),
    ],
)
def test_keys_secrets_and_numbers_are_masked_in_any_text(text, shown):
    assert redact_text(text) == shown


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True), st.text(" ,;:()'\"=", max_size=3))
def test_no_full_number_survives(number, around):
    assert number[1:] not in redact_text(f"{around}{number}{around}")


@pytest.mark.parametrize(
    "value",
    [
        ["+966501234567"],
        ("x", KEY),
        {"to": "+966501234567", "password": "hunter2"},
        {"deep": [{"secret": HOOK}]},
        ValueError(f"bad key {KEY} for +966501234567"),
        b"+966501234567",
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_inside_values_are_masked_too(value):
    shown = repr(redact(None, "info", {"event": "x", "detail": value})["detail"])
    for secret in ("501234567", KEY, HOOK, "hunter2"):
        assert secret not in shown


def test_the_databases_details_of_a_row_are_redacted(written, customer, carrier, world):
    """PostgreSQL's error contains the refused row, and so a message's text."""
    message = world.message(customer, carrier, text="the code is 4711")
    with pytest.raises(IntegrityError, match="4711") as caught, transaction.atomic():
        type(message).objects.filter(id=message.id).update(parts=11)
    message_text = str(caught.value).strip()
    structlog.get_logger("test").error("failed", exc_info=caught.value, error=message_text)
    logging.getLogger("lib").error("failed too", exc_info=caught.value)
    out = written.getvalue()
    assert "message_parts" in out
    assert out.count("DETAIL: [redacted]") >= 4
    assert "4711" not in out


def test_other_values_are_logged_unchanged():
    event = {"event": "submitted", "count": 5, "at": 1.5, "missing": None, "slugs": ["a", "b"]}
    assert redact(None, "info", dict(event)) == event


# ---------------------------------------------------------------- the whole chain


def test_our_own_lines_are_masked(written):
    log = structlog.get_logger("test")
    log.warning("refused %s", KEY, to="+966501234567", secret=HOOK, detail={"key": KEY})
    out = written.getvalue()
    assert "refused" in out
    for secret in (KEY, HOOK, "501234567"):
        assert secret not in out


def test_the_librarys_lines_are_masked(written):
    logging.getLogger("lib").warning("no such %s for %s", KEY, "+966501234567")
    out = written.getvalue().replace(r"\u2026", "…")
    assert "no such imk_live_[redacted] for +96650…67" in out


def test_tracebacks_are_masked(written):
    try:
        raise RuntimeError(f"cannot send to +966501234567 with {KEY}")
    except RuntimeError as error:
        structlog.get_logger("test").error("failed", exc_info=error)
        logging.getLogger("lib").exception("failed too")
    out = written.getvalue()
    assert out.count("RuntimeError: cannot send to") == 2
    assert KEY not in out
    assert "501234567" not in out


def test_json_has_one_object_per_line():
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    try:
        logs.configure(level="INFO", as_json=True)
        output = io.StringIO()
        direct(root, output)
        structlog.get_logger("test").info("one\ntwo", count=1)
        logging.getLogger("lib").info("three")
        first, second = map(json.loads, output.getvalue().splitlines())
    finally:
        logs.configure(level=settings.LOG_LEVEL, as_json=settings.LOG_JSON)
        root.handlers = handlers
        root.setLevel(level)
    assert (first["event"], first["count"], first["level"]) == ("one\ntwo", 1, "info")
    assert second["event"] == "three"


def test_a_failing_request_logs_neither_text_nor_number(api, written, monkeypatch, customer):
    def broken(*_args):
        raise RuntimeError(f"could not send 'the code is 4711' to {PHONE}")

    monkeypatch.setattr("messaging.sending.accept.evaluate", broken)
    body = {"to": PHONE, "message": "the code is 4711", "sender_id": SENDER}
    response = api.post("/v1/sms/send", body)
    assert response.status_code == 500
    out = written.getvalue()
    assert response["X-Request-Id"] in out
    for secret in (PHONE, api.secret):
        assert secret not in out


def test_a_refused_request_logs_neither_body_nor_key(api, written):
    api.post("/v1/sms/send", {"to": "+966501234567", "message": "the code is 4711", "x": 1})
    out = written.getvalue()
    for secret in ("501234567", "4711", api.secret):
        assert secret not in out
