"""Texts of codes: templates, default texts, and the last line for autofill. Pure.

A text is stored with the placeholder `{code}`, which may occur twice: in the template, and in the
line for browsers.
"""

import re
from typing import Final, Literal

from pydantic import JsonValue

from imissive.core.errors import ApiError
from messaging.text.encoding import measure
from otp.verification.reasons import VerificationReason

Locale = Literal["en", "ar"]

MARK: Final = "{code}"
HIDDEN: Final = "•"
DEFAULTS: Final[dict[Locale, str]] = {
    "en": "Your verification code is {code}. Do not share it with anyone.",
    "ar": "رمز التحقق الخاص بك هو {code}. لا تشاركه مع أحد.",
}
RETRIEVER_OCTETS: Final = 140
"""Maximum length of a message that Android's SMS Retriever reads."""

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST: Final = re.compile(rf"(?=.{{4,253}}\Z)(?:{_LABEL}\.)+(?![0-9]+\Z){_LABEL}")
_SCHEME: Final = "https://"
_ANY_CASE: Final = _LABEL.replace("a-z", "A-Za-z")
HOST_SCHEMA: Final[dict[str, JsonValue]] = {
    "minLength": 4,
    "maxLength": 253,
    "pattern": rf"^(?:{_ANY_CASE}\.)+(?![0-9]+$){_ANY_CASE}$",
}
"""JSON schema of the values that `host` accepts."""


def compose(
    template: str | None, locale: Locale, *, app_hash: str | None, origin: str | None
) -> str:
    """Return the text to send, with the placeholder `{code}`.

    `origin` appends the line of an origin-bound one-time code (WICG, SMS One-Time Codes),
    `@host #code`; `app_hash` appends the line of Android's SMS Retriever. Each must be the last
    line, so both together are refused. Raises ApiError: INVALID_TEMPLATE, INVALID_REQUEST.
    """
    if template is None:
        template = DEFAULTS[locale]
    elif template.count(MARK) != 1:
        if MARK not in template:
            raise ApiError(VerificationReason.NO_PLACE_FOR_CODE, "template")
        count = template.count(MARK)
        raise ApiError(VerificationReason.SEVERAL_PLACES_FOR_CODE, "template", count=count)
    elif "\0" in template:
        raise ApiError(VerificationReason.TEMPLATE_WITH_NUL, "template")
    if app_hash is not None and origin is not None:
        raise ApiError(VerificationReason.TWO_LAST_LINES, "app_hash")
    if origin is not None:
        return f"{template}\n@{origin} #{MARK}"
    if app_hash is not None:
        return f"{template}\n{app_hash}"
    return template


def check_retriever(rendered: str) -> None:
    """Raise ApiError MESSAGE_TOO_LONG for a text that Android's SMS Retriever would not read.

    It reads one part of at most RETRIEVER_OCTETS bytes in UTF-8. A text that cannot be encoded is
    refused later, with its own reason.
    """
    octets = len(rendered.encode("utf-8", "surrogatepass"))
    try:
        parts = measure(rendered).parts
    except ValueError:
        return
    if octets > RETRIEVER_OCTETS or parts > 1:
        raise ApiError(
            VerificationReason.TOO_LONG_FOR_RETRIEVER,
            "template",
            most=RETRIEVER_OCTETS,
            octets=octets,
            parts=parts,
        )


def rendered(text: str, code: str) -> str:
    """Return the text with the code in place of the placeholder."""
    return text.replace(MARK, code)


def masked(text: str, length: int) -> str:
    """Return the text for logs and pages: as long as with the code, but with the code masked."""
    return text.replace(MARK, HIDDEN * length)


def host(origin: str) -> str:
    """Return the host name of a site in lower case, for the last line.

    Raises ValueError, with a text for the caller, for anything but a full host name in ASCII.
    """
    origin = origin.lower()
    if _HOST.fullmatch(origin):
        return origin
    if origin.startswith(_SCHEME) and _HOST.fullmatch(origin.removeprefix(_SCHEME)):
        raise ValueError("must be the host name alone, without https://, such as example.com")
    if not origin.isascii():
        raise ValueError("must be written in its ASCII form (xn--…), such as xn--mgberp4a5d4ar")
    raise ValueError("must be a host name without port and path, such as example.com")
