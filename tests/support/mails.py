"""Reading the mails that a test caused."""

import re
from urllib.parse import urlsplit

from django.core import mail


def link(path: str, to: str) -> str:
    """The path of the newest mail's link that begins with `path`, sent to that address."""
    for message in reversed(mail.outbox):
        if message.to == [to]:
            found = re.search(rf"https?://\S+?{path}\S*", str(message.body))
            assert found, message.body
            return urlsplit(found[0]).path
    raise AssertionError(f"no mail to {to} among {[message.to for message in mail.outbox]}")
