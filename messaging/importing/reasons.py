"""Reasons why a file or pasted text cannot be used at all."""

from django.utils.translation import gettext_noop as _

from imissive.core.problems import Problem, Reason

_CODE = "INVALID_REQUEST"


class FileReason(Reason):
    WORKBOOK = (
        _CODE,
        _(
            "That workbook cannot be read: it is old, damaged or has a password. Save it as XLSX"
            " or CSV (UTF-8), then upload that."
        ),
    )
    WORKBOOK_TOO_LARGE = (
        _CODE,
        _("The workbook is too large. Save its sheet as CSV (UTF-8), then upload that."),
    )
    PDF = _CODE, _("That is a PDF, not a CSV or XLSX file.")
    IMAGE = _CODE, _("That is an image, not a CSV or XLSX file.")
    ARCHIVE = _CODE, _("That is an archive. Unpack it, then upload the CSV or XLSX file in it.")
    PROGRAM = _CODE, _("That is a program, not a CSV or XLSX file.")
    BINARY = _CODE, _("That is not a text file.")
    EMPTY = _CODE, _("The file is empty.")
    NO_ROWS = _CODE, _("The file has a heading, but no row below it.")
    TOO_LARGE = _CODE, _("The file is larger than %(most)s MB. Split it."), "most"
    TOO_MANY_ROWS = _CODE, _("There are more than %(most)s rows. Split the file."), "most"
    NO_NUMBER_COLUMN = _CODE, _("No column of phone numbers was found.")
    NO_NUMBERS = _CODE, _("No number in it can be used.")


class NotUsable(Exception):
    """A file or pasted text cannot be used at all."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem.reason))
        self.problem = problem
