"""ESMEs for tests of SMSCs: smpplib's client, and a bare socket that may misbehave."""

from __future__ import annotations

import logging
import select
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import smpplib.client

from messaging.smpp import pdus
from messaging.smpp.codec import Framer, decode, encode
from messaging.smpp.constants import Status
from messaging.smpp.receipt import Receipt, parse_receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logging.getLogger("esme").setLevel(logging.CRITICAL)


class SmpplibEsme:
    """smpplib's client, which records what it receives."""

    def __init__(self, port: int) -> None:
        self.client = smpplib.client.Client(
            "127.0.0.1", port, timeout=5, logger_name="esme", allow_unknown_opt_params=True
        )
        self.responses: list[Any] = []  # submit_sm_resp in their order
        self.delivered: list[Any] = []  # deliver_sm
        self.events: list[str] = []
        self.deliver_status = 0  # the status of responses to deliver_sm
        self.client.set_message_sent_handler(self._answered)
        self.client.set_message_received_handler(self._received)
        self.client.set_error_pdu_handler(lambda pdu: None)

    def _answered(self, pdu: Any) -> None:
        self.responses.append(pdu)
        self.events.append("answer")

    def _received(self, pdu: Any) -> int:
        self.delivered.append(pdu)
        self.events.append("receipt")
        return self.deliver_status

    def send(self, text: bytes | str, destination: str = "966512345678", **fields: Any) -> None:
        content = text if isinstance(text, bytes) else text.encode("ascii")
        self.client.send_message(
            source_addr_ton=5,
            source_addr_npi=0,
            source_addr="MyCompany",
            dest_addr_ton=1,
            dest_addr_npi=1,
            destination_addr=destination,
            **{"registered_delivery": True, "short_message": content, **fields},
        )

    def wait(self, condition: Callable[[], Any], seconds: float = 5.0) -> None:
        """Read PDUs until the condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            left = end - time.monotonic()
            assert left > 0, f"not so within {seconds:g} s: {self.events}"
            if select.select([self.client._socket], [], [], left)[0]:
                self.client.read_once()

    def submit(self, text: bytes | str, destination: str = "966512345678", **fields: Any) -> Any:
        """Send a submit and return its response."""
        count = len(self.responses)
        self.send(text, destination, **fields)
        self.wait(lambda: len(self.responses) > count)
        return self.responses[-1]

    @property
    def receipts(self) -> list[Receipt]:
        """The receipts, as the platform parses them."""
        receipts = [parse_receipt(pdu.short_message, _tlvs(pdu)) for pdu in self.delivered]
        return [receipt for receipt in receipts if receipt is not None]


def _tlvs(pdu: Any) -> dict[int, bytes]:
    tlvs = {}
    if pdu.receipted_message_id is not None:
        tlvs[0x001E] = pdu.receipted_message_id
    if pdu.message_state is not None:
        tlvs[0x0427] = bytes((pdu.message_state,))
    return tlvs


@contextmanager
def smpplib_esme(
    port: int, bind: str = "transceiver", system_id: str = "demo"
) -> Iterator[SmpplibEsme]:
    """Yield smpplib's client, bound."""
    esme = SmpplibEsme(port)
    esme.client.connect()
    try:
        getattr(esme.client, f"bind_{bind}")(system_id=system_id, password="secret")
        yield esme
    finally:
        esme.client._socket.close()
        esme.client._socket = None


class RawEsme:
    """A socket that speaks SMPP as far as the test does."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._framer = Framer(1 << 20)
        self._frames: list[bytes] = []
        self._sequence = 0

    def send(self, *requests: pdus.Request) -> list[int]:
        """Send requests in one write, and return their sequence numbers."""
        for request in requests:
            self._sequence += 1
            request.sequence = self._sequence
        self.socket.sendall(b"".join(encode(request) for request in requests))
        return [request.sequence for request in requests]

    def send_raw(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def respond(self, request: pdus.Request, status: int = 0) -> None:
        assert request.response_type is not None
        response = request.response_type(status=status, sequence=request.sequence)
        self.socket.sendall(encode(response))

    def receive(self, timeout: float = 5.0) -> Any:
        """Return the next PDU, or None where the connection was closed. Raises TimeoutError."""
        self.socket.settimeout(timeout)
        while not self._frames:
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self._frames.extend(self._framer.feed(data))
        return decode(self._frames.pop(0))

    def request(self, request: pdus.Request) -> Any:
        """Send a request and return its response; no other PDU may come first."""
        (sequence,) = self.send(request)
        response = self.receive()
        assert isinstance(response, pdus.Response), response
        assert response.sequence == sequence
        return response

    def bind(self, kind: type[pdus.Bind] = pdus.BindTransceiver, system_id: str = "demo") -> None:
        response = self.request(kind(system_id, "secret"))
        assert response.status == 0, response

    def closed(self) -> bool:
        """Read until the other side closes, and return True; False if it does not within 2 s."""
        try:
            while self.receive(2.0) is not None:
                pass
        except TimeoutError:
            return False
        return True


@contextmanager
def raw_esme(
    port: int, kind: type[pdus.Bind] | None = pdus.BindTransceiver, system_id: str = "demo"
) -> Iterator[RawEsme]:
    """Yield a bare socket, bound unless `kind` is None."""
    esme = RawEsme(port)
    try:
        if kind is not None:
            esme.bind(kind, system_id)
        yield esme
    finally:
        esme.socket.close()


def submit_sm(text: bytes = b"hello", destination: str = "966512345678") -> pdus.SubmitSm:
    """Return a submit_sm that requests a receipt."""
    return pdus.SubmitSm(
        "", 5, 0, "MyCompany", 1, 1, destination, registered_delivery=1, short_message=text
    )


def serves(port: int) -> bool:
    """Return whether a new ESME can bind and submit."""
    with raw_esme(port, system_id="bystander") as esme:
        return bool(esme.request(submit_sm()).status == Status.ESME_ROK)
