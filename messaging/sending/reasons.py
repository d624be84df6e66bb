"""Why a message is refused, or cannot be changed any more."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Reason


class SendingReason(Reason):
    """Of what somebody wants to send."""

    EMPTY = "INVALID_REQUEST", _("The message is empty.")
    NUL = "INVALID_REQUEST", _("The message has a NUL character. Remove it.")
    HALF_CHARACTER = (
        "INVALID_REQUEST",
        _("The text has half a character (U+%(code_point)s) at position %(position)s."),
        "code_point",
        "position",
    )
    TOO_MANY_PARTS = (
        "MESSAGE_TOO_LONG",
        _("The message has %(parts)s parts; at most %(most)s are allowed."),
        "parts",
        "most",
    )
    NO_VALUE = "INVALID_TEMPLATE", _("There is no value for {%(name)s}."), "name"
    NO_SENDER = (
        "INVALID_SENDER",
        _("Name a sender_id: this organization has no default sender ID."),
    )
    SENDER_NOT_APPROVED = (
        "INVALID_SENDER",
        _("The sender ID '%(name)s' is not approved for this organization."),
        "name",
    )
    SENDER_NOT_SENT_THERE = (
        "INVALID_SENDER",
        _("The sender ID '%(name)s' cannot be sent to this destination."),
        "name",
    )
    SENDER_SPELLING = (
        "INVALID_SENDER",
        _("Write the sender ID as it is sent: '%(name)s'."),
        "name",
    )
    COUNTRY_NOT_ENABLED = (
        "DESTINATION_BLOCKED",
        _("Messages to this destination (%(country)s) are not enabled."),
        "country",
    )
    OPTED_OUT = (
        "DESTINATION_BLOCKED",
        _("The recipient has opted out: the number is on your suppression list."),
    )
    OUTSIDE_HOURS = (
        "INVALID_SCHEDULE",
        _(
            "Messages of this sender ID go to %(country)s from %(opens)s to %(closes)s (%(zone)s)"
            " only."
        ),
        "country",
        "opens",
        "closes",
        "zone",
    )
    NOT_A_TIME = (
        "INVALID_SCHEDULE",
        _("Write the time as ISO 8601 with its offset, such as 2027-01-15T10:00:00Z."),
    )
    TIME_PASSED = "INVALID_SCHEDULE", _("The time has passed.")
    TIME_TOO_FAR = (
        "INVALID_SCHEDULE",
        _("The time is more than %(days)s days ahead."),
        "days",
    )
    TOO_MANY_MESSAGES = "INVALID_REQUEST", _("A bulk call takes 1 to %(most)s messages."), "most"


class SenderNameReason(Reason):
    """Of a name that cannot stand as a message's sender."""

    EMPTY = "INVALID_REQUEST", _("A sender ID needs at least one character.")
    BAD_NUMBER = (
        "INVALID_REQUEST",
        _("A numeric sender ID is a plus and 7 to 15 digits, such as +966500000000."),
    )
    BAD_SHORT_CODE = (
        "INVALID_REQUEST",
        _("A short code has 3 to 8 digits; start an international number with a plus."),
    )
    TOO_LONG = "INVALID_REQUEST", _("A sender ID has at most %(most)s characters."), "most"
    BAD_CHARACTER = (
        "INVALID_REQUEST",
        _(
            "The character '%(character)s' cannot be in a sender ID: handsets show only Latin"
            " letters, digits, spaces and common punctuation there."
        ),
        "character",
    )
    NO_LETTER = (
        "INVALID_REQUEST",
        _("A sender ID needs at least one letter, unless it is a number."),
    )


class MessageReason(Reason):
    """Of what was accepted before, or never was."""

    NO_SUCH_MESSAGE = "NOT_FOUND", _("There is no such message.")
    NO_SUCH_BATCH = "NOT_FOUND", _("There is no such batch.")
    EMPTY_PERIOD = (
        "INVALID_REQUEST",
        _("The period is empty: created_after must be before created_before."),
    )
    MESSAGE_OVER = (
        "NOT_CANCELABLE",
        _("The message is %(status)s: only scheduled and queued ones can be canceled."),
        "status",
    )
    AT_THE_CARRIER = (
        "NOT_CANCELABLE",
        _("The message is on its way to the carrier already."),
    )
    BATCH_OVER = (
        "NOT_CANCELABLE",
        _("No message of the batch is scheduled or queued any more."),
    )
