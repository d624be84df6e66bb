"""`python -m messaging.smpp.simulator`: its flags, signals and journal."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from messaging.smpp import pdus
from messaging.smpp.constants import Status
from tests.support.simulators import simulator_process
from tests.support.smpp_clients import raw_esme, submit_sm

if TYPE_CHECKING:
    from pathlib import Path


def test_the_process(tmp_path):
    journal = tmp_path / "journal"
    with simulator_process("--receipt-delay", "60", "--journal", str(journal)) as (process, port):
        with raw_esme(port) as esme:
            message_id = esme.request(submit_sm(b"hello", "+966512345678")).message_id
            refused = esme.request(submit_sm(b"hello", "966500000003"))
            assert refused.status == Status.ESME_RINVDSTADR
            digest = sha1(b"hello", usedforsecurity=False).hexdigest()
            assert journal.read_text().splitlines() == [
                f"+966512345678\t{digest}\t{message_id}\t0",
                f"966500000003\t{digest}\t-\t11",
            ]
            os.kill(process.pid, signal.SIGUSR1)
            assert esme.closed()
        with raw_esme(port) as esme, raw_esme(port, None):
            os.kill(process.pid, signal.SIGUSR2)
            unbind = esme.receive()
            assert isinstance(unbind, pdus.Unbind)
            esme.respond(unbind)
            assert esme.closed()
        with raw_esme(port) as esme:
            start = time.monotonic()
            process.terminate()
            assert isinstance(esme.receive(), pdus.Unbind)  # the test does not respond
            assert process.wait(5) == 0
            assert time.monotonic() - start < 2.5


def test_flags():
    flags = ("--refuse", "ESME_RMSGQFUL", "--password", "secret", "--instant")
    with simulator_process(*flags) as (process, port):
        with raw_esme(port, None) as esme:
            refused = esme.request(pdus.BindTransmitter("demo", "wrong"))
            assert refused.status == Status.ESME_RINVPASWD
        with raw_esme(port) as esme:
            assert esme.request(submit_sm()).status == Status.ESME_RMSGQFUL
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0


def test_tls(tmp_path):
    certificate, key = self_signed(tmp_path)
    flags = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with simulator_process(*flags) as (_, port), raw_esme(port, None) as esme:
        context = ssl.create_default_context(cafile=str(certificate))
        esme.socket = context.wrap_socket(esme.socket, server_hostname="localhost")
        esme.bind()
        assert esme.request(submit_sm()).status == 0


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(pem))
    files[1].write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        ((), 1, "127.0.0.1:{port} is in use; choose another port with --port"),
        (("--refuse", "ESME_NONSENSE"), 2, "no such status: ESME_NONSENSE"),
        (("--refuse", "ESME_RSYSERR=some"), 2, "not a fraction: some"),
        (("--id-form", "uuid", "--receipt-id-form", "hex"), 2, "a UUID is written the same"),
        (("--journal", "/nowhere/journal"), 1, "/nowhere/journal"),
    ],
)
def test_invalid_starts(arguments, code, complaint):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "messaging.smpp.simulator", "--port", port, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode == code
    assert complaint.format(port=port) in result.stderr.splitlines()[-1]
    assert code == 2 or len(result.stderr.splitlines()) == 1
