"""Forms that act once, however often their button is pressed."""

import secrets

from django import forms
from django.core.cache import cache

_HOUR = 3600


class SingleUseForm(forms.Form):
    """A form with a number of its own. `is_first` is true for one submission of it.

    For what leads to no page that can be asked for again, such as a secret that is shown once:
    a double click, a reload or the back button must not do it twice.
    """

    once = forms.CharField(max_length=64, widget=forms.HiddenInput)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.initial.setdefault("once", secrets.token_urlsafe(16))

    def is_first(self) -> bool:
        """Whether this is the first time within an hour that the form came with its number."""
        return bool(cache.add(f"once:{self.cleaned_data['once']}", 1, _HOUR))
