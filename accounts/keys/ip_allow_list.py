"""IP allow-lists: the addresses and networks that a credential may be used from. Pure."""

import ipaddress
from collections.abc import Iterable

MOST = 50
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def allowed(address: str, networks: Iterable[str]) -> bool:
    """Return whether the address is in one of the networks; an empty list allows every address.

    An IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2) counts as the IPv4 address.
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
    """Return the entries in their canonical form, without duplicates.

    Single addresses stay addresses, networks are in CIDR notation without host bits (192.0.2.7/24
    becomes 192.0.2.0/24), and IPv4-mapped IPv6 becomes IPv4, as a caller's address does. Raises
    ValueError that names the invalid entries, and for more than MOST entries.
    """
    found: dict[str, None] = {}
    wrong: list[str] = []
    for text in written:
        try:
            found[_usual(text.strip())] = None
        except ValueError:
            wrong.append(repr(text))
    if wrong:
        told = "no address or network, such as 203.0.113.7 or 203.0.113.0/24 or 2001:db8::/32"
        raise ValueError(f"{', '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} {told}")
    if len(found) > MOST:
        raise ValueError(f"{MOST} addresses and networks at most")
    return list(found)


def _usual(text: str) -> str:
    if "%" in text:
        raise ValueError("an address with a zone is another host on each machine")
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        ipv4 = int(network.network_address) & 0xFFFF_FFFF
        network = ipaddress.IPv4Network((ipv4, network.prefixlen - _MAPPED.prefixlen))
    single = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if single else str(network)
