"""One account's session on one server process: its binds, their requests, and its receipts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from imissive.core import clock
from imissive.core.sql import Fault, fault_of
from messaging.gateway import queries, submit_batches
from messaging.gateway import replace as replacement
from messaging.gateway.batching import Batcher
from messaging.gateway.command_statuses import status_of
from messaging.gateway.formatting import id_text
from messaging.gateway.receipt_sender import ReceiptSender
from messaging.gateway.store import Submit, new_submit
from messaging.gateway.submit_batches import OutcomeUnknown
from messaging.gateway.submit_parser import (
    Address,
    Refused,
    destinations_of,
    read_data,
    read_submit,
    single_of,
)
from messaging.smpp.constants import CommandId, Status
from messaging.smpp.pdus import (
    CancelSm,
    DataSm,
    QuerySm,
    ReplaceSm,
    SubmitMulti,
    SubmitSm,
    UnsuccessfulSme,
)
from messaging.smpp.session import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from messaging.gateway.connections import Connection, Threads
    from messaging.models.smpp_accounts import SmppAccount
    from messaging.smpp.pdus import Request

log = structlog.get_logger(__name__)

_RECEIVING: Final = frozenset({CommandId.BIND_RECEIVER, CommandId.BIND_TRANSCEIVER})


@dataclass(slots=True)
class _PendingRequest:
    """A request with its pending submits: one, or one for each number of a submit_multi."""

    connection: Connection
    pdu: Request
    submits: list[Submit]
    refused: list[UnsuccessfulSme]


class Customer:
    """An account with binds on this server process."""

    def __init__(self, server_id: UUID, account: SmppAccount, threads: Threads) -> None:
        self.account = account
        self.connections: set[Connection] = set()
        self.receipt_sender = ReceiptSender(server_id, account, threads)
        self._threads = threads
        self._batcher: Batcher[_PendingRequest] = Batcher(self._store)

    def add(self, connection: Connection) -> None:
        """Add an accepted bind."""
        self.connections.add(connection)
        connection.customer = self
        link = connection.link
        link.adopt(replace(link.config, max_inbound_pending=self.account.window))
        if link.bind is not None and link.bind.command_id in _RECEIVING:
            self.receipt_sender.add(link)

    def remove(self, connection: Connection) -> None:
        """Remove a closed bind."""
        self.connections.discard(connection)
        self.receipt_sender.remove(connection.link)

    def adopt(self, account: SmppAccount) -> None:
        """Apply the account's current settings."""
        changed = account.window != self.account.window
        self.account = self.receipt_sender.account = account
        if changed:
            for connection in self.connections:
                link = connection.link
                link.adopt(replace(link.config, max_inbound_pending=account.window))

    @property
    def idle(self) -> bool:
        """Return whether there is no bind and no work in progress."""
        return not self.connections and self._batcher.idle and self.receipt_sender.idle

    # -- requests ----------------------------------------------------------------------------

    def on_request(self, connection: Connection, pdu: Request) -> None:
        """Respond to a request, now or later."""
        connection.console.note("<", pdu)
        if isinstance(pdu, SubmitSm):
            self._submit(connection, pdu, partial(read_submit, pdu))
        elif isinstance(pdu, DataSm):
            self._submit(connection, pdu, partial(read_data, pdu))
        elif isinstance(pdu, SubmitMulti):
            self._submit_multi(connection, pdu)
        elif isinstance(pdu, QuerySm):
            self._start_query(connection, pdu, queries.query)
        elif isinstance(pdu, CancelSm):
            self._start_query(connection, pdu, queries.cancel)
        elif isinstance(pdu, ReplaceSm):
            self._start_query(connection, pdu, replacement.replace)
        else:
            self._respond(connection, pdu, Status.ESME_RINVCMDID)

    def _submit(self, connection: Connection, pdu: Request, read: Callable[..., Any]) -> None:
        connection.submits += 1
        try:
            parsed = read(self.account, clock.now())
        except Refused as refused:
            self._refuse(connection, pdu, refused.code)
        else:
            submit = new_submit(parsed, bind=connection.session_id)
            self._batcher.put(_PendingRequest(connection, pdu, [submit], []))

    def _submit_multi(self, connection: Connection, pdu: SubmitMulti) -> None:
        now = clock.now()
        submits: list[Submit] = []
        failed: list[UnsuccessfulSme] = []
        try:
            destinations = destinations_of(pdu)
        except Refused as refused:
            self._refuse(connection, pdu, refused.code)
            return
        connection.submits += len(destinations)
        for destination in destinations:
            try:
                parsed = read_submit(single_of(pdu, destination), self.account, now)
            except Refused as refused:
                failed.append(self._unsuccessful(destination, refused.code))
            else:
                shown_id = submits[0].id if submits else None
                submits.append(new_submit(parsed, shown_id, connection.session_id))
        self._batcher.put(_PendingRequest(connection, pdu, submits, failed))

    def _unsuccessful(self, destination: Address, code: str) -> UnsuccessfulSme:
        return UnsuccessfulSme(
            destination.ton, destination.npi, destination.written, self._status(code)
        )

    async def _store(self, batch: list[_PendingRequest]) -> None:
        submits = [submit for request in batch for submit in request.submits]
        try:
            await self._threads.run(submit_batches.store_batch, self.account, submits)
        except OutcomeUnknown:
            # Any response might be wrong. Without one, the customer may submit again.
            for request in batch:
                request.connection.link.abort("the database is away")
            return
        except Exception:
            log.exception("smpp_submits_failed", account=str(self.account))
            for submit in submits:
                submit.code = "SERVER_ERROR"
        for request in batch:
            self._settle(request)

    def _settle(self, request: _PendingRequest) -> None:
        """Respond to one request of a batch. An error must not affect the other requests."""
        try:
            self._respond_to_submits(request)
        except Exception:
            log.exception("smpp_answer_failed", account=str(self.account))
            # After a refusal, the customer would send an accepted text again, and pay twice.
            accepted = [submit for submit in request.submits if not submit.code]
            shown = self._shown_id(accepted[0]) if accepted else ""
            self._respond_minimally(request.connection, request.pdu, shown)

    def _respond_to_submits(self, request: _PendingRequest) -> None:
        pdu, connection = request.pdu, request.connection
        accepted = [submit for submit in request.submits if not submit.code]
        for submit in request.submits:
            if submit.code:
                request.refused.append(self._unsuccessful(submit.parsed.destination, submit.code))
        if not accepted:
            code = request.submits[0].code if request.submits else ""
            status = self._status(code) if code else request.refused[0].error_status_code
            self._count_refusal(connection, status, len(request.refused))
            self._respond(connection, pdu, status)
            return
        fields: dict[str, Any] = {"message_id": self._shown_id(request.submits[0])}
        if isinstance(pdu, SubmitMulti):
            connection.refused += len(request.refused)
            fields["unsuccess_sme"] = request.refused
        self._respond(connection, pdu, Status.ESME_ROK, **fields)

    def _shown_id(self, submit: Submit) -> str:
        return id_text(submit.shown_id or submit.id, self.account.id_format)

    def _start_query(
        self, connection: Connection, pdu: Any, query: Callable[..., queries.Result]
    ) -> None:
        self._threads.start(self._query(connection, pdu, query))

    async def _query(
        self, connection: Connection, pdu: Request, query: Callable[..., queries.Result]
    ) -> None:
        try:
            result = await self._threads.run(query, self.account, pdu)
        except Exception as error:
            if fault_of(error) is Fault.DATABASE:
                log.warning("smpp_database_failed", error=str(error).strip())
                result = queries.Result("UNAVAILABLE")
            else:
                log.exception("smpp_act_failed", account=str(self.account))
                result = queries.Result("SERVER_ERROR")
        status = result.status or (self._status(result.code) if result.code else Status.ESME_ROK)
        try:
            self._respond(connection, pdu, status, **result.fields)
        except Exception:
            log.exception("smpp_answer_failed", account=str(self.account))
            self._respond_minimally(connection, pdu, "")

    # -- responses ---------------------------------------------------------------------------

    def _status(self, code: str) -> int:
        return status_of(code, self.account.statuses)

    def _refuse(self, connection: Connection, pdu: Request, code: str) -> None:
        status = self._status(code)
        self._count_refusal(connection, status, 1)
        self._respond(connection, pdu, status)

    def _count_refusal(self, connection: Connection, status: int, count: int) -> None:
        if status == Status.ESME_RTHROTTLED:
            connection.throttled += count
        else:
            connection.refused += count

    def _respond(self, connection: Connection, pdu: Request, status: int, **fields: Any) -> None:
        if pdu.response_type is None:
            return
        connection.link.respond(pdu, status, **fields)
        connection.console.note_response(pdu, status, fields.get("message_id", ""))

    def _respond_minimally(self, connection: Connection, pdu: Request, message_id: str) -> None:
        """Respond with only an id, or a system error, after the full response failed."""
        try:
            if message_id:
                connection.link.respond(pdu, message_id=message_id)
            else:
                connection.link.respond(pdu, Status.ESME_RSYSERR)
        except LocalProtocolError:
            return  # the response was sent before the failure
