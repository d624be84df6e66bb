"""The form of a file's format: its columns, country and shape, for every page with a file."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from imissive.core.countries import home_choices
from messaging.importing import encodings
from messaging.importing.csv_reader import DELIMITERS, Shape

_DELIMITER_NAMES = {
    ",": gettext_lazy("Comma"),
    ";": gettext_lazy("Semicolon"),
    "\t": gettext_lazy("Tab"),
    "|": gettext_lazy("Vertical bar"),
    "،": gettext_lazy("Arabic comma"),
    "؛": gettext_lazy("Arabic semicolon"),
}
# Not the characters themselves, because browsers may trim a tab.
_DELIMITER_KEYS = {str(ord(each)): each for each in DELIMITERS}


class FileForm(forms.Form):
    """The column of numbers, the country of numbers without a code, and the shape of the file."""

    number_column = forms.TypedChoiceField(
        label=gettext_lazy("Column with the numbers"), coerce=int, empty_value=None
    )
    country = forms.ChoiceField(
        label=gettext_lazy("Default country for numbers without a code"),
        required=False,
        help_text=gettext_lazy("Such as 0501234567, or 501234567 as spreadsheets leave it."),
    )
    encoding = forms.ChoiceField(
        label=gettext_lazy("Encoding"), choices=list(encodings.NAMES.items())
    )
    delimiter = forms.ChoiceField(
        label=gettext_lazy("Delimiter"),
        choices=[(key, _DELIMITER_NAMES[each]) for key, each in _DELIMITER_KEYS.items()],
    )
    has_header = forms.BooleanField(
        label=gettext_lazy("The first row names the columns"), required=False
    )
    # The shape in which the offered columns were read.
    read_as = forms.CharField(required=False, max_length=80, widget=forms.HiddenInput)

    def __init__(
        self, columns: Sequence[str], shape: Shape, data: Any = None, **now: object
    ) -> None:
        """`now` has the values of further fields, such as the column and the country."""
        initial = {
            "encoding": shape.encoding,
            "delimiter": str(ord(shape.delimiter or ",")),
            "has_header": shape.has_header,
            "read_as": _signature(shape),
            **now,
        }
        super().__init__(data, initial=initial)
        self.choose("number_column", _("Choose…"), list(enumerate(columns)))
        none = _("None (all numbers include a country code)")
        self.choose("country", none, home_choices())

    def choose(self, name: str, none: str, choices: Sequence[tuple[Any, str]]) -> None:
        """Offer these choices in that field, after an empty one."""
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - as declared above
        field.choices = [("", none), *choices]

    def clean_delimiter(self) -> str:
        return _DELIMITER_KEYS[self.cleaned_data["delimiter"]]

    def shape(self) -> Shape | None:
        """Return the chosen shape of the file; None if these fields are invalid."""
        self.full_clean()
        chosen = self.cleaned_data
        if "encoding" not in chosen or "delimiter" not in chosen:
            return None
        return Shape(chosen["encoding"], chosen["delimiter"], chosen["has_header"])

    def columns_are_of(self, shape: Shape) -> bool:
        """Return whether the columns were chosen from the file in that shape."""
        return self.data.get("read_as") == _signature(shape)


def _signature(shape: Shape) -> str:
    return f"{shape.encoding} {ord(shape.delimiter or ',')} {int(shape.has_header)}"
