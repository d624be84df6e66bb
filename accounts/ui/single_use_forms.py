"""Single-use forms: a rendered form takes effect once, however often it is submitted."""

import secrets

from django import forms
from django.core.cache import cache

_HOUR = 3600


class SingleUseForm(forms.Form):
    """A form with a random token; `is_first` is true for only one submission of each token.

    For actions whose result page cannot be requested again, such as a secret that is shown once: a
    double click, a reload or the back button must not repeat them.
    """

    once = forms.CharField(max_length=64, widget=forms.HiddenInput)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.initial.setdefault("once", secrets.token_urlsafe(16))

    def is_first(self) -> bool:
        """Return whether this is the first submission of the form's token within an hour."""
        return bool(cache.add(f"once:{self.cleaned_data['once']}", 1, _HOUR))
