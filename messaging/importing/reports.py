"""The files that we write of rows that failed, so that they are known when they come back.

Their first columns say which row it was and why; then follow the columns of the file that the rows
came from, with the values that stood there.
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
    """Return how many columns a report of ours has put before those of the file."""
    for language, _name in settings.LANGUAGES:
        with translation.override(language):
            for report in (NOT_SENT, NOT_IMPORTED):
                if list(columns[: len(report)]) == heading(report):
                    return len(report)
    return 0
