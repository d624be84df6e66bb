"""Reasons why any API call may be refused, why a URL is refused, why a post got no response."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Reason


class CoreReason(Reason):
    KEY_NOT_VALID = "UNAUTHORIZED", _("The API key is missing or not valid.")
    NOT_ALLOWED = "FORBIDDEN", _("This API key may not do that.")
    HTTPS_ONLY = "FORBIDDEN", _("The API is served over HTTPS only. Call it by https://.")
    NOT_FOUND = "NOT_FOUND", _("There is no such object.")
    NO_SUCH_ROUTE = "NOT_FOUND", _("The API has no such path. See its reference for those it has.")
    METHOD_NOT_ALLOWED = (
        "METHOD_NOT_ALLOWED",
        _("This path does not take that method. The Allow header lists those it takes."),
    )
    NOT_ACCEPTABLE = (
        "NOT_ACCEPTABLE",
        _("Responses are application/json. Accept that type, or send no Accept header."),
    )
    NOT_JSON = "UNSUPPORTED_MEDIA_TYPE", _("Send Content-Type: application/json.")
    INVALID_JSON = "INVALID_REQUEST", _("The body is not valid JSON in UTF-8.")
    NOT_AN_OBJECT = "INVALID_REQUEST", _("The body must be a JSON object.")
    BODY_TOO_LARGE = "PAYLOAD_TOO_LARGE", _("A body has at most %(most)s bytes."), "most"
    UNREADABLY_LARGE = "PAYLOAD_TOO_LARGE", _("The body is too large.")
    UNKNOWN_FIELD = "INVALID_REQUEST", _("There is no field '%(name)s'."), "name"
    UNKNOWN_PARAMETER = "INVALID_REQUEST", _("There is no parameter '%(name)s'."), "name"
    MISSING_FIELD = "INVALID_REQUEST", _("The field '%(name)s' is missing."), "name"
    MISSING_PARAMETER = "INVALID_REQUEST", _("The parameter '%(name)s' is missing."), "name"
    REPEATED_PARAMETER = "INVALID_REQUEST", _("'%(name)s' is given more than once."), "name"
    PARAMETER_WITH_NUL = "INVALID_REQUEST", _("'%(name)s' has a NUL character."), "name"
    # `detail` is pydantic's own message about the value.
    INVALID_VALUE = "INVALID_REQUEST", "%(name)s: %(detail)s.", "name", "detail"
    INVALID_BODY = "INVALID_REQUEST", "%(detail)s.", "detail"
    UNAVAILABLE = "UNAVAILABLE", _("The service is not available right now. Try again.")
    SERVER_ERROR = "SERVER_ERROR", _("Something went wrong on our side. Try again later.")


class UrlReason(Reason):
    """Reasons why a URL is refused as a webhook's because of its text."""

    TOO_LONG = "INVALID_URL", _("The URL has more than %(most)s characters."), "most"
    BAD_CHARACTER = (
        "INVALID_URL",
        _("The URL has a character that is not allowed in one, such as a space."),
    )
    NOT_A_URL = (
        "INVALID_URL",
        _("This is not a valid URL. Write it like https://api.example.com/hooks/sms."),
    )
    NOT_HTTPS = "INVALID_URL", _("The URL must begin with https://.")
    NO_HOST = "INVALID_URL", _("The URL has no host.")
    IMPOSSIBLE_HOST = (
        "INVALID_URL",
        _("The URL's host cannot be a name: a part of it is empty or too long."),
    )
    WITH_PASSWORD = "INVALID_URL", _("The URL must not have a user name or password.")
    LOOPBACK = "INVALID_URL", _("Webhooks are not posted to loopback addresses.")
    ADDRESS_REFUSED = "INVALID_URL", _("Webhooks are not posted to that address.")
    PORT_REFUSED = (
        "INVALID_URL",
        _("Webhooks are not posted to that port. Use 443, or one from 1024 on."),
    )


class PostReason(Reason):
    """Reasons why a post got no response. They have no error code, as no API call is refused."""

    TOO_LARGE = "", _("the event is too large")
    TIMEOUT = "", _("no response in time")
    HOST_REFUSED = "", _("host name not found, or its address not allowed")
    CERTIFICATE = "", _("TLS certificate not valid")
    TLS_FAILED = "", _("TLS handshake failed")
    CONNECTION_REFUSED = "", _("connection refused")
    CONNECTION_CLOSED = "", _("connection closed without a response")
    CONNECTION_RESET = "", _("connection reset")
    CONNECTION_FAILED = "", _("connection failed")
    NOT_HTTP = "", _("response is not valid HTTP")
    BAD_URL = "", _("URL not valid")
