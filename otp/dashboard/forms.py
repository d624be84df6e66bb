"""Forms of the one-time passwords' page."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.ui.single_use_forms import SingleUseForm
from imissive.core.countries import country_choices
from otp.limits.rules import Rules
from otp.verification import codes


class CountriesForm(forms.Form):
    """The countries that codes may go to, among those that operators allow."""

    countries = forms.MultipleChoiceField(
        label=gettext_lazy("Codes go only to"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("None ticked means every country that is allowed."),
    )

    def __init__(self, rules: Rules, data: Any = None) -> None:
        super().__init__(data, initial={"countries": sorted(rules.chosen)})
        self.fields["countries"].choices = [  # type: ignore[attr-defined]
            (code, name)
            for code, name in country_choices()
            if not rules.countries or code in rules.countries
        ]


class TryForm(SingleUseForm):
    """A code to send from the page, to try out one-time passwords."""

    phone = forms.CharField(
        label=gettext_lazy("Number"),
        max_length=64,
        initial="+966500000001",
        widget=forms.TextInput(attrs={"dir": "ltr", "type": "tel", "autocomplete": "off"}),
    )
    kind = forms.ChoiceField(
        label=gettext_lazy("Kind"),
        widget=forms.RadioSelect,
        initial="test",
        choices=[
            ("test", gettext_lazy("Test: reaches only the simulator, costs nothing")),
            ("live", gettext_lazy("Live: reaches the phone, costs credits")),
        ],
    )
    locale = forms.ChoiceField(
        label=gettext_lazy("Language of the text"),
        choices=[("en", gettext_lazy("English")), ("ar", gettext_lazy("Arabic"))],
    )
    length = forms.TypedChoiceField(
        label=gettext_lazy("Digits"),
        coerce=int,
        initial=6,
        choices=[(n, str(n)) for n in range(codes.MIN_LENGTH, codes.MAX_LENGTH + 1)],
    )
    expiry = forms.TypedChoiceField(
        label=gettext_lazy("Valid for"),
        coerce=int,
        initial=300,
        choices=[
            (60, gettext_lazy("one minute")),
            (300, gettext_lazy("5 minutes")),
            (600, gettext_lazy("10 minutes")),
            (3600, gettext_lazy("one hour")),
        ],
    )

    def again(self) -> "TryForm":
        """Return the same form with its errors and with a new token, to be submitted again."""
        typed = {name: self.data[name] for name in self.data}
        self.data = typed | {"once": TryForm().initial["once"]}
        return self


class CodeForm(forms.Form):
    """The code that the person received."""

    code = forms.CharField(
        label=gettext_lazy("The code"),
        max_length=codes.MAX_INPUT,
        widget=forms.TextInput(
            attrs={"dir": "ltr", "inputmode": "numeric", "autocomplete": "one-time-code"}
        ),
    )

    def clean_code(self) -> str:
        try:
            return codes.normalize(self.cleaned_data["code"])
        except ValueError:
            raise forms.ValidationError(_("A code has 4 to 8 digits.")) from None
