"""Reasons of refusals of any API request: key, scope, organization, idempotency, rate limits."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Reason


class CallReason(Reason):
    """Reasons why an API request is refused before its handler runs."""

    ADDRESS_NOT_ALLOWED = (
        "FORBIDDEN",
        _("This API key may not be used from %(address)s. Add it to the key's allowed IPs."),
        "address",
    )
    ADDRESS_UNKNOWN = (
        "FORBIDDEN",
        _("This API key may not be used from an unknown address."),
    )
    ORGANIZATION_SUSPENDED = (
        "FORBIDDEN",
        _("This organization is suspended. Contact support."),
    )
    NO_SCOPE = "FORBIDDEN", _("This API key lacks the scope '%(scope)s'."), "scope"
    INVALID_IDEMPOTENCY_KEY = (
        "INVALID_REQUEST",
        _("An Idempotency-Key has 1 to %(most)s printable ASCII characters."),
        "most",
    )
    IDEMPOTENCY_IN_PROGRESS = (
        "IDEMPOTENCY_IN_PROGRESS",
        _("A call with this Idempotency-Key is still running. Try again in a moment."),
    )
    IDEMPOTENCY_MISMATCH = (
        "IDEMPOTENCY_MISMATCH",
        _("This Idempotency-Key was used for another request, with another path or body."),
    )
    TOO_MANY_CALLS = (
        "RATE_LIMITED",
        _("This account may make %(limit)s calls a minute."),
        "limit",
    )
    TOO_MANY_MESSAGES = (
        "RATE_LIMITED",
        _("This account may send %(limit)s messages a minute this way."),
        "limit",
    )
    MORE_THAN_A_MINUTE = (
        "PAYLOAD_TOO_LARGE",
        _("This call counts %(cost)s, more than the account's %(limit)s a minute. Split it."),
        "cost",
        "limit",
    )
    LIMIT_NOT_KNOWN = "UNAVAILABLE", _("This cannot be checked right now. Try again in a moment.")
