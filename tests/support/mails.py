"""Reads the emails that a test sent."""

import re
from urllib.parse import urlsplit

from django.core import mail


def link(path: str, to: str) -> str:
    """Return the path of the link that starts with `path` in the newest email to that address."""
    for message in reversed(mail.outbox):
        if message.to == [to]:
            found = re.search(rf"https?://\S+?{path}\S*", str(message.body))
            assert found, message.body
            return urlsplit(found[0]).path
    raise AssertionError(f"no mail to {to} among {[message.to for message in mail.outbox]}")
