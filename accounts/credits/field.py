"""Form field for credits: people type credits, the code reads micro-credits."""

from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.credits.ledger import credits_text
from accounts.models import MICRO

_DECIMALS = 6
_DIGITS = 18  # a bigint of micro-credits holds every such number


class CreditsField(forms.DecimalField):
    """`1.25` in the form, 1250000 on the model."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("help_text", _("Credits, with six decimals at most."))
        super().__init__(max_digits=_DIGITS, decimal_places=_DECIMALS, **options)

    def prepare_value(self, value: Any) -> Any:
        """Convert an initial value in micro-credits to text; a posted value is text already."""
        return credits_text(value) if isinstance(value, int) else value

    def clean(self, value: Any) -> Any:
        amount = super().clean(value)
        return None if amount is None else int(amount * MICRO)

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            typed = self.to_python(data)
        except ValidationError:
            return True
        return typed != (None if initial is None else Decimal(initial) / MICRO)
