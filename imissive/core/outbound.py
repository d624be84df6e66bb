"""The outbound HTTP client of webhooks, with protection against SSRF.

A host name may resolve to another address each time. The check therefore runs where the socket is
created, on the very address that it connects to.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import aiohttp
from aiohappyeyeballs import AddrInfoType
from django.conf import settings
from yarl import URL

from imissive.core.problems import Problem
from imissive.core.reasons import PostReason, UrlReason

HEADERS = {"User-Agent": "imissive-webhooks/1", "Content-Type": "application/json"}
"""Headers of every post, in addition to the caller's."""
MAX_URL = 500
"""Maximum number of characters of a URL."""
MAX_REQUEST_BYTES = 256 * 1024
KEPT_RESPONSE_BYTES = 4 * 1024
"""The maximum number of bytes read from a response's body; after more, the connection closes."""
BODY_SECONDS = 2
"""The longest time to wait for a response's body after its status."""
# Seconds. Receivers commonly close a connection that was idle for 5 s; closing it first avoids a
# post into a connection that is being closed.
KEEP_ALIVE_SECONDS = 4

# Python's is_global differs by version and calls some of these global; this table does not.
_REFUSED_V4 = [
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "161.26.0.0/16",  # IBM's services and metadata, on public addresses
        "166.8.0.0/14",  # the same
        "100.64.0.0/10",  # shared address space, and Alibaba's metadata at 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host agent: metadata on a public address
        "169.254.0.0/16",  # link-local, and most clouds' metadata at 169.254.169.254
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments, and Oracle's metadata at 192.0.0.192
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_REFUSED_V6 = [
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, including Teredo, which embeds an IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4, which embeds an IPv4 address; no receiver uses it today
        "3fff::/20",
    )
]


_WEB_PORTS = (80, 443)
"""The only ports below 1024 for webhooks: others belong to mail, file and login servers."""


class OutboundError(Exception):
    """A post got no response, for `reason`."""

    def __init__(self, reason: PostReason) -> None:
        super().__init__(str(reason))
        self.reason = reason


class UrlRefused(Exception):
    """A URL may not be a webhook's, because of `problem`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem.reason))
        self.problem = problem


class AddressRefused(OSError):
    """A socket was about to connect to an address that customers must not reach."""


@dataclass(frozen=True, slots=True)
class ReceiverResponse:
    """A receiver's response: its status, the first KEPT_RESPONSE_BYTES of its body, Retry-After."""

    status: int
    body: bytes
    retry_after: str = ""

    @property
    def ok(self) -> bool:
        """Return whether the receiver accepted the post: 2xx. A redirect is not followed."""
        return 200 <= self.status < 300


def is_allowed(address: str) -> bool:
    """Return whether posts may go to that literal IP address; False if it is not an address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    parsed = mapped or parsed
    if parsed.is_loopback:
        return bool(settings.WEBHOOK_ALLOW_LOOPBACK)
    if isinstance(parsed, ipaddress.IPv4Address):
        return _is_allowed_v4(parsed)
    if parsed in _NAT64:
        return _is_allowed_v4(ipaddress.IPv4Address(int(parsed) & 0xFFFF_FFFF))
    # A zone (fe80::1%eth0) names an interface of this machine, never a remote host.
    return (
        parsed in _UNICAST_V6
        and parsed.is_global
        and not parsed.scope_id
        and not any(parsed in network for network in _REFUSED_V6)
    )


def _is_allowed_v4(address: ipaddress.IPv4Address) -> bool:
    return address.is_global and not any(address in network for network in _REFUSED_V4)


def parse_url(text: str) -> URL:
    """Return the URL, if its text allows posting a webhook there. Raises UrlRefused.

    HTTPS is required unless loopback is allowed, because a platform that posts to loopback is a
    developer's.
    """
    if len(text) > MAX_URL:
        raise UrlRefused(UrlReason.TOO_LONG.problem(most=MAX_URL))
    if any(character <= " " or character == "\x7f" for character in text) or "\\" in text:
        raise UrlRefused(UrlReason.BAD_CHARACTER.problem())
    try:
        url = URL(text)
        # In the form of the DNS: an international name in its ASCII form (IDNA).
        host, port = url.raw_host, url.port
    except ValueError:
        raise UrlRefused(UrlReason.NOT_A_URL.problem()) from None
    if url.scheme not in ("http", "https"):
        raise UrlRefused(UrlReason.NOT_HTTPS.problem())
    if not host or not port:
        raise UrlRefused(UrlReason.NO_HOST.problem())
    if url.user is not None or url.password is not None:
        raise UrlRefused(UrlReason.WITH_PASSWORD.problem())
    if url.scheme == "http" and not settings.WEBHOOK_ALLOW_LOOPBACK:
        raise UrlRefused(UrlReason.NOT_HTTPS.problem())
    if port < 1024 and port not in _WEB_PORTS:
        raise UrlRefused(UrlReason.PORT_REFUSED.problem())
    _check_host(host)
    return url


def _check_host(host: str) -> None:
    """Refuse hosts that can be refused without resolving them. Raises UrlRefused."""
    name = host.rstrip(".").lower()
    if ":" not in name and not _can_be_a_name(name):
        raise UrlRefused(UrlReason.IMPOSSIBLE_HOST.problem())
    if name == "localhost" or name.endswith(".localhost"):
        if not settings.WEBHOOK_ALLOW_LOOPBACK:
            raise UrlRefused(UrlReason.LOOPBACK.problem())
    elif _is_literal(name) and not is_allowed(name):
        # 2130706433, 0x7f.1 and 127.1 are addresses to the resolver but not to `ipaddress`; nobody
        # honest writes them, so all of them are refused.
        raise UrlRefused(UrlReason.ADDRESS_REFUSED.problem())


def _can_be_a_name(host: str) -> bool:
    """Return whether it can be a DNS name: labels of 1-63 octets, 253 in all (RFC 1035 2.3.4)."""
    labels = host.split(".")
    return len(host) <= 253 and all(1 <= len(label) <= 63 for label in labels)


def _is_literal(host: str) -> bool:
    if ":" in host:
        return True
    try:
        socket.inet_aton(host)
    except (OSError, UnicodeError):
        return False
    return True


def _checked_socket(info: AddrInfoType) -> socket.socket:
    """Return a socket for the address in `info`: aiohttp's socket factory.

    Raises AddressRefused if customers must not reach that address.
    """
    family, kind, protocol, _, address = info
    if not is_allowed(str(address[0])):
        raise AddressRefused("address not allowed")
    return socket.socket(family, kind, protocol)


class Client:
    """Keep-alive connections of one event loop. Create, use and close it on that loop."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the callers limit concurrent posts to each receiver
                keepalive_timeout=KEEP_ALIVE_SECONDS,
                socket_factory=_checked_socket,
            ),
            timeout=aiohttp.ClientTimeout(total=settings.WEBHOOK_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=HEADERS,
            skip_auto_headers=("Accept", "Accept-Encoding"),
            auto_decompress=False,  # a few bytes may decompress to gigabytes
            trust_env=False,  # a proxy would connect unchecked
        )

    async def post(self, url: URL, body: bytes, headers: Mapping[str, str]) -> ReceiverResponse:
        """Post JSON and return the response, within WEBHOOK_TIMEOUT seconds in all.

        aiohttp rounds a timeout above 5 s up to a whole second of its clock. Raises OutboundError
        without a response, for any reason.
        """
        if len(body) > MAX_REQUEST_BYTES:
            raise OutboundError(PostReason.TOO_LARGE)
        try:
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as response:
                beginning = await _beginning(response)
                retry_after = response.headers.get("Retry-After", "")
                return ReceiverResponse(response.status, beginning, retry_after)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # TimeoutError is an OSError; a name outside IDNA raises ValueError.
            raise OutboundError(_reason(error)) from None

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()


_REASONS: list[tuple[type[Exception], PostReason]] = [
    (TimeoutError, PostReason.TIMEOUT),
    # One reason for both: otherwise a customer could find out which internal names exist.
    (AddressRefused, PostReason.HOST_REFUSED),
    (aiohttp.ClientConnectorDNSError, PostReason.HOST_REFUSED),
    (aiohttp.ClientConnectorCertificateError, PostReason.CERTIFICATE),
    (ssl.SSLError, PostReason.TLS_FAILED),
    (ConnectionRefusedError, PostReason.CONNECTION_REFUSED),
    (aiohttp.ServerDisconnectedError, PostReason.CONNECTION_CLOSED),
    (ConnectionResetError, PostReason.CONNECTION_RESET),
    (aiohttp.ClientResponseError, PostReason.NOT_HTTP),
    (aiohttp.InvalidURL, PostReason.BAD_URL),
    (ValueError, PostReason.BAD_URL),
]


def _reason(error: Exception) -> PostReason:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    for kind, reason in _REASONS:
        if isinstance(cause, kind) or isinstance(error, kind):
            return reason
    return PostReason.CONNECTION_FAILED


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Return the body's first bytes that arrive within BODY_SECONDS.

    The status has shown whether the receiver accepted the post: a slow or incomplete body does not
    change that. An unread rest makes aiohttp close the connection.
    """
    stream, kept = response.content, b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while len(kept) < KEPT_RESPONSE_BYTES and not stream.at_eof():
                kept += await stream.read(KEPT_RESPONSE_BYTES - len(kept))
    except (aiohttp.ClientError, OSError):
        response.close()
    return kept


_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Client] = WeakKeyDictionary()


def client() -> Client:
    """Return the running event loop's client, created on first use."""
    loop = asyncio.get_running_loop()
    found = _clients.get(loop)
    if found is None:
        found = _clients[loop] = Client()
    return found


async def close() -> None:
    """Close the running loop's client, if it has one."""
    found = _clients.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.close()
