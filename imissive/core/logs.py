"""Structured logging: one line per event, as text or JSON, with secrets and numbers redacted."""

import logging
import re
import sys
from typing import Any

import structlog

# Keys whose values may be a secret, a message's text or a code: they never reach a log.
_SECRET = re.compile(
    r"password|secret|token|authorization|api_key|code$|body$|text$|message_text", re.I
)
_API_KEY = re.compile(r"imk_(live|test)_[A-Za-z0-9]+")
_WEBHOOK_SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]+")
_PHONE = re.compile(r"(\+|%2B)(\d{3,5})\d{2,8}(\d{2})(?!\d)", re.I)
# PostgreSQL's details of an error contain the row, including a message's text.
_DETAIL = re.compile(
    r"\bDETAIL:.*?(?=\n(?:CONTEXT|HINT):|\n\n(?:The above|During handling)|\Z)", re.S
)


def redact(_logger: Any, _method: str, event: structlog.typing.EventDict) -> Any:
    """Redact API keys, secrets and full phone numbers in every value: a structlog processor."""
    for key, value in event.items():
        event[key] = "[redacted]" if _SECRET.search(key) else _masked(value)
    return event


def _masked(value: Any) -> Any:
    """Return the value redacted, together with everything inside it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict):
        return {
            key: "[redacted]" if _SECRET.search(str(key)) else _masked(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(inner) for inner in value]
    return redact_text(repr(value))


def redact_text(text: str) -> str:
    """Return the text without API keys, webhook secrets and rows, and with masked phone numbers.

    A masked number keeps its first digits and its last two, as in +96650…67.
    """
    text = _API_KEY.sub(r"imk_\1_[redacted]", text)
    text = _WEBHOOK_SECRET.sub("whsec_[redacted]", text)
    text = _DETAIL.sub("DETAIL: [redacted]", text)
    return _PHONE.sub(r"\1\2…\3", text)


class FirstLine(logging.Filter):
    """Cut a record to its first line, for loggers that write a stack at each lost connection."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = record.getMessage().partition("\n")[0], ()
        record.exc_info = record.exc_text = None
        return True


def configure(*, level: str, as_json: bool) -> None:
    """Send structlog's and the standard library's records through one chain to standard error.

    `level` is a name such as "INFO". `as_json` writes JSON lines with UTC times instead of text.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if not as_json else "iso", utc=as_json),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer()]
        if as_json
        else [
            structlog.processors.format_exc_info,
            redact,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0),
        ]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # A caller's mistake is in the response; it needs no line in the log.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    # One line for each task and each request is noise at thousands per second.
    for chatty in (
        "celery.app.trace",
        "celery.worker.strategy",
        "kombu",
        "amqp",
        "_granian",
        "psycopg.pool",
        "celery.beat",
    ):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    for wordy in ("celery.beat", "celery.worker.consumer.consumer", "psycopg.pool"):
        logging.getLogger(wordy).addFilter(FirstLine())
