"""Reasons to refuse a setting of an SMPP account."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Reason

_CODE = "INVALID_REQUEST"


class StatusTableReason(Reason):
    """The problems of an account's table of command statuses."""

    NOT_AN_OBJECT = _CODE, _('Write an object, such as {"INSUFFICIENT_CREDITS": 1030}.')
    UNKNOWN_CODE = _CODE, _("There is no code %(code)s; the codes are %(codes)s."), "code", "codes"
    NOT_A_STATUS = (
        _CODE,
        _("%(code)s: a status is a number from 1 to %(most)s, such as 1030."),
        "code",
        "most",
    )
