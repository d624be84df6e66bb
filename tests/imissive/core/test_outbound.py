"""The outbound client: the addresses that it posts to and refuses, and responses."""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from yarl import URL

from imissive.core import outbound
from imissive.core.problems import english
from imissive.core.reasons import PostReason, UrlReason
from tests.support.webhook_receivers import Answer, Receiver, receiver

REFUSED = [
    "0.0.0.0",  # noqa: S104
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.8.8.8",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "161.26.0.10",
    "166.8.0.1",
    "166.11.255.254",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:0.0.0.0",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "64:ff9b::10.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1.1.1.1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a00:1::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fe80::1%lo",
    "2606:4700:4700::1111%eth0",
    "fec0::1",
    "ff02::1",
    "localhost",
    "2130706433",
    "",
]
ALLOWED = [
    "161.25.255.255",
    "161.27.0.1",
    "166.7.255.255",
    "166.12.0.1",
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.0.1",
    "172.32.0.1",
    "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80b::200e",
]


@pytest.mark.parametrize("address", REFUSED)
def test_addresses_that_are_never_posted_to(address: str, settings: Any) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = False
    assert not outbound.is_allowed(address)


@pytest.mark.parametrize("port", [1, 22, 25, 81, 110, 445, 587, 993, 1023])
def test_well_known_ports_but_those_of_the_web_are_refused(port: int, settings: Any) -> None:
    for allow in (False, True):
        settings.WEBHOOK_ALLOW_LOOPBACK = allow
        with pytest.raises(outbound.UrlRefused) as refused:
            outbound.parse_url(f"https://hook.example:{port}/")
        assert refused.value.problem.reason == UrlReason.PORT_REFUSED


@pytest.mark.parametrize("port", [80, 443, 1024, 8443, 65535])
def test_other_ports_are_taken(port: int) -> None:
    assert outbound.parse_url(f"https://hook.example:{port}/").port == port


@pytest.mark.parametrize("address", ALLOWED)
def test_addresses_of_the_internet(address: str) -> None:
    assert outbound.is_allowed(address)


def test_the_setting_allows_loopback_and_nothing_else(settings: Any) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = True
    allowed = {address for address in REFUSED if outbound.is_allowed(address)}
    assert allowed == {"127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"}


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "example.com/hook",
        "//example.com/hook",
        "https://",
        "https:///hook",
        "https://:443/",
        "https://user@example.com/",
        "https://user:hunter2@example.com/",
        "https://:hunter2@example.com/",
        "https://example.com:99999/",
        "https://example.com:port/",
        "https://exa mple.com/",
        "https://example.com/a\r\nHost: evil",
        "https://example.com/\x00",
        "https://example.com\\@127.0.0.1/",
        "https://[::1",
        "https://" + "a" * 500 + ".com/",
        "https://" + "a" * 64 + ".com/",
        "https://example..com/",
        "https://.example.com/",
        "https://" + "a." * 130 + "com/",
        "https://" + "ü" * 60 + ".example/",
        "https://127.0.0.1/",
        "https://127.0.0.1:8443/hook",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://10.1.2.3/",
        "https://169.254.169.254/latest/meta-data/",
        "https://0.0.0.0/",
        "https://0/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://127.0.0.1./",
        "https://134744072/",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://api.localhost/",
        "",
    ],
)
def test_urls_refused_without_resolving(url: str, settings: Any) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = False
    with pytest.raises(outbound.UrlRefused) as refusal:
        outbound.parse_url(url)
    assert refusal.value.problem.code == "INVALID_URL"
    assert "hunter2" not in english(refusal.value.problem)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com:8443/hook?token=a%20b",
        "https://bücher.example/hook",
        "https://" + "a" * 63 + ".example.com./hook",
        "https://my_host.example.com/hook",
        "https://8.8.8.8/hook",
        "https://[2606:4700:4700::1111]/hook",
    ],
)
def test_valid_urls(url: str, settings: Any) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = False
    assert outbound.parse_url(url).scheme == "https"


def test_with_the_setting_plain_http_to_loopback_is_allowed(settings: Any) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = True
    outbound.parse_url("http://127.0.0.1:8900/")
    outbound.parse_url("http://localhost:8900/")
    for url in ("http://10.0.0.1/", "https://169.254.169.254/", "http://2130706433/"):
        with pytest.raises(outbound.UrlRefused):
            outbound.parse_url(url)


# ------------------------------------------------------------ real posts


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def allowed(settings: Any) -> Any:
    settings.WEBHOOK_ALLOW_LOOPBACK = True
    settings.WEBHOOK_TIMEOUT = 0.5
    return settings


def post(url: str | URL, body: bytes = b"{}", times: int = 1) -> outbound.ReceiverResponse:
    async def run() -> outbound.ReceiverResponse:
        try:
            for _ in range(times):
                response = await outbound.client().post(URL(url), body, {"webhook-id": "evt_1"})
            return response
        finally:
            await outbound.close()

    return asyncio.run(run())


def refusal(url: str | URL, body: bytes = b"{}") -> PostReason:
    with pytest.raises(outbound.OutboundError) as raised:
        post(url, body)
    return raised.value.reason


def test_a_post(there: Receiver, allowed: Any) -> None:
    there.answer = lambda _post: Answer(200, body=b"thanks")
    response = post(there.url, '{"text":"مرحبا"}'.encode())
    assert (response.status, response.body, response.ok) == (200, b"thanks", True)
    [came] = there.posts
    assert came.path == "/hook"
    assert came.body.decode() == '{"text":"مرحبا"}'
    assert came.headers["user-agent"] == "imissive-webhooks/1"
    assert came.headers["content-type"] == "application/json"
    assert came.headers["webhook-id"] == "evt_1"
    assert "accept-encoding" not in came.headers


def test_connections_are_kept(there: Receiver, allowed: Any) -> None:
    post(there.url, times=5)
    assert (len(there.posts), there.connections) == (5, 1)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(there: Receiver, allowed: Any, status: int) -> None:
    there.answer = lambda _post: Answer(status, headers={"Location": there.url + "/elsewhere"})
    response = post(there.url)
    assert (response.status, response.ok) == (status, False)
    assert [came.path for came in there.posts] == ["/hook"]


def test_loopback_is_refused_when_connecting(there: Receiver, settings: Any) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = False
    assert refusal(there.url) == PostReason.HOST_REFUSED
    assert refusal(there.url.replace("127.0.0.1", "[::ffff:127.0.0.1]")) == PostReason.HOST_REFUSED
    assert there.connections == 0


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0"])
def test_odd_spellings_of_loopback_are_refused(there: Receiver, settings: Any, host: str) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = False
    assert refusal(there.url.replace("127.0.0.1", host)) in (
        PostReason.HOST_REFUSED,
        PostReason.BAD_URL,
    )
    assert there.connections == 0


def test_a_name_that_resolves_to_loopback_is_refused(there: Receiver, settings: Any) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = False
    assert refusal(there.url.replace("127.0.0.1", "localhost")) == PostReason.HOST_REFUSED
    assert there.connections == 0


@pytest.fixture
def resolves(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return a function that makes every name resolve to the given addresses.

    It takes a list for each look-up; the last one repeats.
    """
    looked_up: list[str] = []

    def fake(*lookups: list[str]) -> list[str]:
        left = list(lookups)

        def getaddrinfo(host: str, port: int, *_a: Any, **_k: Any) -> list[Any]:
            looked_up.append(host)
            addresses = left.pop(0) if len(left) > 1 else left[0]
            return [
                (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
                for address in addresses
            ]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return looked_up

    return fake


@pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "127.0.0.1"])
def test_a_public_name_that_resolves_to_a_private_address(
    resolves: Any, settings: Any, address: str
) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = False
    looked_up = resolves([address])
    assert refusal("http://hook.example/") == PostReason.HOST_REFUSED
    assert looked_up == ["hook.example"]


def test_rebinding_changes_nothing(there: Receiver, resolves: Any, allowed: Any) -> None:
    """The client connects to the address that was checked: there is no second look-up."""
    looked_up = resolves(["127.0.0.1"], ["169.254.169.254"])
    assert post(there.url.replace("127.0.0.1", "hook.example")).ok
    assert looked_up == ["hook.example"]


def test_all_of_several_addresses_are_checked(resolves: Any, settings: Any) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = False
    resolves(["10.0.0.1", "192.168.0.1"])
    assert refusal("http://hook.example/") == PostReason.HOST_REFUSED


def test_a_name_that_does_not_exist(allowed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_a: Any, **_k: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    assert refusal("http://hook.example/") == PostReason.HOST_REFUSED


def test_a_slow_response_is_a_timeout(there: Receiver, allowed: Any) -> None:
    there.answer = lambda _post: Answer(200, delay=1.0)
    assert refusal(there.url) == PostReason.TIMEOUT


@pytest.mark.parametrize("status", [200, 204, 302, 500])
@pytest.mark.parametrize("close", [False, True])
def test_the_status_counts_even_if_the_body_is_slow(allowed: Any, status: int, close: bool) -> None:
    sent = b"HTTP/1.1 %d X\r\nContent-Length: 100\r\n\r\n%s" % (status, b"x" * (status != 204))
    with _raw_server(sent, close=close) as url:
        response = post(url)
    assert (response.status, response.ok) == (status, status < 300)
    assert response.body == b"x" * (status != 204)


def test_nothing_listens(allowed: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert (
            refusal(f"http://127.0.0.1:{taken.getsockname()[1]}/") == PostReason.CONNECTION_REFUSED
        )


def test_without_a_certificate_nothing_is_posted(there: Receiver, allowed: Any) -> None:
    assert refusal(there.url.replace("http://", "https://")) == PostReason.TLS_FAILED
    assert there.posts == []


def test_certificates_are_verified(allowed: Any, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_self_signed(tmp_path))
    received: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError), listening.accept()[0] as plain:
            received.append(context.wrap_socket(plain, server_side=True).recv(1000))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}/"
        assert refusal(url) == PostReason.CERTIFICATE
        thread.join()
    assert received == []


def _self_signed(folder: Path) -> Path:
    """Create a file with a key and a self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    file = folder / "certificate.pem"
    file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        + certificate.public_bytes(pem)
    )
    return file


@pytest.mark.parametrize(
    ("bytes_sent", "reason"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", PostReason.NOT_HTTP),
        (b"", PostReason.CONNECTION_CLOSED),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000, PostReason.NOT_HTTP),
    ],
)
def test_invalid_responses(bytes_sent: bytes, reason: PostReason, allowed: Any) -> None:
    with _raw_server(bytes_sent, close=True) as url:
        assert refusal(url) == reason


def test_only_the_start_of_a_long_response_is_kept(there: Receiver, allowed: Any) -> None:
    there.answer = lambda _post: Answer(200, body=b"x" * 3_000_000)
    assert post(there.url).body == b"x" * outbound.KEPT_RESPONSE_BYTES


def test_a_compressed_response_is_not_decompressed(there: Receiver, allowed: Any) -> None:
    there.answer = lambda _post: Answer(200, headers={"Content-Encoding": "gzip"}, body=b"\x1f\x8b")
    assert post(there.url).body == b"\x1f\x8b"


def test_an_oversized_event_is_not_posted(there: Receiver, allowed: Any) -> None:
    assert refusal(there.url, b"x" * (outbound.MAX_REQUEST_BYTES + 1)) == PostReason.TOO_LARGE
    assert there.connections == 0


def test_no_proxy_from_the_environment(
    there: Receiver, allowed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert post(there.url).ok


class _raw_server:
    """Send the given bytes on each connection, and close it where `close` is set."""

    def __init__(self, response: bytes, *, close: bool = False) -> None:
        self._answer = response
        self._close = close
        self._kept: list[socket.socket] = []

    def __enter__(self) -> str:
        self._socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/"

    def _serve(self) -> None:
        try:
            while True:
                connection, _ = self._socket.accept()
                connection.recv(65536)
                connection.sendall(self._answer)
                if self._close:
                    connection.close()
                else:
                    self._kept.append(connection)
        except OSError:
            return

    def __exit__(self, *_error: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._kept:
            connection.close()
