"""Reasons why a phone number cannot receive messages."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Problem, Reason

_CODE = "INVALID_PHONE"


class NumberReason(Reason):
    NOT_A_NUMBER = (
        _CODE,
        _("This is not a phone number. Write it with its country code, such as +966501234567."),
    )
    NO_COUNTRY_CODE = (
        _CODE,
        _("Write the number with + and its country code first, such as +966501234567."),
    )
    NOT_OF_COUNTRY = (
        _CODE,
        _(
            "This is not a number of your default country. Write it with + and its country code,"
            " such as +966501234567."
        ),
    )
    DAMAGED = (
        _CODE,
        _(
            "The number was damaged by a spreadsheet: its last digits are lost. Format the column"
            " as text, enter the number again, and save the file."
        ),
    )
    TOO_SHORT = _CODE, _("The number is too short. Check that no digit is missing.")
    TOO_LONG = _CODE, _("The number is too long. Check that it is one number only.")
    UNKNOWN_COUNTRY = (
        _CODE,
        _("No country has this calling code. Write the number like +966501234567."),
    )
    WRONG_LENGTH = _CODE, _("The number has a wrong number of digits for its country.")
    NOT_IN_PLAN = _CODE, _("There is no such number in its country. Check its digits.")
    NOT_GEOGRAPHIC = (
        _CODE,
        _("The number belongs to no country: satellite and global numbers are not served."),
    )
    FIXED_LINE = _CODE, _("This is a fixed line, which cannot receive SMS.")
    TOLL_FREE = _CODE, _("This is a toll-free number, which cannot receive SMS.")
    PREMIUM_RATE = _CODE, _("This is a premium-rate number, which cannot receive SMS.")
    SHARED_COST = _CODE, _("This is a shared-cost number, which cannot receive SMS.")
    VOIP = _CODE, _("This is an internet telephony number, which cannot receive SMS.")
    PERSONAL = _CODE, _("This is a personal forwarding number, which cannot receive SMS.")
    PAGER = _CODE, _("This is a pager, which cannot receive SMS.")
    COMPANY_ACCESS = _CODE, _("This is a company access number, which cannot receive SMS.")
    RANGE_NOT_SERVED = _CODE, _("Numbers that begin like this cannot receive SMS.")
    VOICEMAIL = _CODE, _("This is a voicemail access number, which cannot receive SMS.")


class InvalidNumber(ValueError):
    """A number that cannot receive messages."""

    def __init__(self, reason: NumberReason) -> None:
        super().__init__(str(reason))
        self.reason = reason

    def problem(self, field: str | None = None) -> Problem:
        """Return the problem, at that field."""
        return self.reason.problem(field)
