"""Reasons why a request for a sender ID, or a decision about one, is refused."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Reason


class SenderReason(Reason):
    NO_SUCH_SENDER = "NOT_FOUND", _("There is no such sender ID.")
    CANNOT_BE_SENT = (
        "INVALID_REQUEST",
        _(
            "The sender ID '%(name)s' cannot be sent: no carrier takes %(characters)s in a sender"
            " ID. Use Latin letters and digits, such as MyCompany."
        ),
        "name",
        "characters",
    )
    BAD_PURPOSE = (
        "INVALID_REQUEST",
        _("The purpose has %(most)s characters at most, NUL not among them."),
        "most",
    )
    BAD_SAMPLE = (
        "INVALID_REQUEST",
        _("The sample has %(most)s characters at most, NUL not among them."),
        "most",
    )
    HAD_ALREADY = (
        "CONFLICT",
        _("You have the sender ID '%(name)s' already. Its status: %(status)s."),
        "name",
        "status",
    )
    TOO_MANY_PENDING = (
        "CONFLICT",
        _("%(count)s sender IDs are waiting for review already. Wait for one of them."),
        "count",
    )
    TOO_MANY_IN_TEST = (
        "CONFLICT",
        _("An organization has at most %(most)s sender IDs of test mode."),
        "most",
    )
    TOO_MANY_DOCUMENTS = (
        "INVALID_REQUEST",
        _("A sender ID has at most %(most)s documents."),
        "most",
    )
    NOT_APPROVED = "CONFLICT", _("Only an approved sender ID can be the default.")
    DECIDED = (
        "CONFLICT",
        _("The status of this sender ID has changed to: %(status)s."),
        "status",
    )
    NO_GROUND = "INVALID_REQUEST", _("Give a reason: the customer reads it.")
