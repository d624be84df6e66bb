"""Top-ups and corrections in the admin, as an operator makes them: form, confirmation, effect."""

import re
from typing import Any

from django.test import Client
from django.urls import reverse

from tests.support.factories import Customer

_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')


def page_of(customer: Customer) -> str:
    return reverse("admin:accounts_organization_adjust_credits", args=(customer.id,))


def hidden(response: Any) -> dict[str, str]:
    """Return the hidden fields of the page's form."""
    return dict(_HIDDEN.findall(response.content.decode()))


def filled(admin: Client, customer: Customer, credits: str, reason: str = "Invoice 7") -> Any:
    """Open the form, post it filled in, and return the response, which asks to confirm."""
    url = page_of(customer)
    return admin.post(url, hidden(admin.get(url)) | {"credits": credits, "reason": reason})


def confirmed(admin: Client, customer: Customer, credits: str, reason: str = "Invoice 7") -> Any:
    """Change the balance through both pages, and return the last response."""
    asked = filled(admin, customer, credits, reason)
    assert asked.status_code == 200
    return admin.post(page_of(customer), hidden(asked))
