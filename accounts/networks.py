"""Lists of addresses and networks that a credential may be used from. Pure."""

import ipaddress
from collections.abc import Iterable


def allowed(address: str, networks: Iterable[str]) -> bool:
    """Whether the address is in one of them; where none is listed, every address is.

    An IPv4 address that comes mapped into IPv6 counts as what it is.
    """
    listed = list(networks)
    if not listed:
        return True
    if not address:
        return False
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in ipaddress.ip_network(network) for network in listed)


def clean(written: Iterable[str]) -> list[str]:
    """Networks in their usual form. Raises ValueError that names the one that is none."""
    found = []
    for text in written:
        try:
            found.append(str(ipaddress.ip_network(text.strip(), strict=False)))
        except ValueError:
            told = f"{text!r} is no address or network, such as 203.0.113.7 or 203.0.113.0/24"
            raise ValueError(told) from None
    return found
