"""Report files of failed rows, and their recognition when they are uploaded again.

Their first columns have the row's number and problem; the columns of the original file follow, with
the original values.
"""

from collections.abc import Sequence
from typing import Final

from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

NOT_IMPORTED: Final = (_("Row"), _("Problem"))
NOT_SENT: Final = (_("Row"), _("Number"), _("Status"), _("Reason"), _("Code"))


def heading(report: Sequence[str]) -> list[str]:
    """Return the first columns of a report in the reader's language."""
    return [gettext(name) for name in report]


def columns_of_ours(columns: Sequence[str]) -> int:
    """Return the number of columns that our own report has put before those of the file."""
    for language, _name in settings.LANGUAGES:
        with translation.override(language):
            for report in (NOT_SENT, NOT_IMPORTED):
                if list(columns[: len(report)]) == heading(report):
                    return len(report)
    return 0
