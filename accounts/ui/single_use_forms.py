"""Single-use forms: a rendered form takes effect once, however often it is submitted."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from django import forms
from django.core.cache import cache

from imissive.core.sql import Fault, fault_of, is_undone

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
        """Return whether this is the first submission of the form's token within an hour.

        Do the action within `usable_after_failure` then.
        """
        return bool(cache.add(self._key, 1, _HOUR))

    @contextmanager
    def usable_after_failure(self) -> Iterator[None]:
        """Make the token usable again if the action fails because of the database's state.

        The response is 503, and people submit the same form again. A token whose action may be
        committed stays used.
        """
        try:
            yield
        except Exception as error:
            if fault_of(error) is Fault.DATABASE and is_undone(error):
                cache.delete(self._key)
            raise

    @property
    def _key(self) -> str:
        return f"once:{self.cleaned_data['once']}"
