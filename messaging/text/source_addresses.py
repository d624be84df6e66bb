"""Sender IDs as the octets of source_addr, in the coding that a carrier takes there. Pure."""

from typing import Final

from messaging.text import encoding

ASCII, LATIN_1, GSM = "ascii", "latin1", "gsm"
_CODECS: Final = {ASCII: "ascii", LATIN_1: "latin-1"}


def written(sender: str, coding: str) -> str | None:
    """Return a sender ID as a carrier with that coding takes it; None where it cannot be written.

    Each character of the result stands for an octet.
    """
    if coding == GSM:
        if not encoding.is_gsm(sender):
            return None
        octets = encoding.written_in_gsm(sender)
    else:
        try:
            octets = sender.encode(_CODECS[coding])
        except UnicodeEncodeError:
            return None
    # A NUL ends source_addr (SMPP 3.4, 3.1), and GSM's `@` is one.
    return None if b"\0" in octets else octets.decode("latin-1")
