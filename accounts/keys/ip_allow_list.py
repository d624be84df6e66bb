"""IP allow-lists: the addresses and networks that a credential may be used from. Pure."""

import ipaddress
from collections.abc import Iterable

from accounts.keys.reasons import KeyReason
from imissive.core.problems import Problem

MOST = 50
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


class NotAList(ValueError):
    """An IP allow-list with invalid entries, or with too many; `problem` says which."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem.reason))
        self.problem = problem


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
    NotAList, which names the invalid entries, and for more than MOST entries.
    """
    found: dict[str, None] = {}
    wrong: list[str] = []
    for text in written:
        try:
            found[_usual(text.strip())] = None
        except ValueError:
            wrong.append(text if text.isprintable() else repr(text))
    if wrong:
        written = ", ".join(wrong)[:200]
        raise NotAList(KeyReason.NOT_A_NETWORK.problem("networks", written=written))
    if len(found) > MOST:
        raise NotAList(KeyReason.TOO_MANY_NETWORKS.problem("networks", most=MOST))
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
