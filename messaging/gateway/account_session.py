"""One account on one server process: its binds, what they ask, and its receipts."""

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
class _Asked:
    """A request that waits for its submits: one, or of submit_multi one for each number."""

    connection: Connection
    pdu: Request
    submits: list[Submit]
    refused: list[UnsuccessfulSme]


class Customer:
    """An account that has binds here."""

    def __init__(self, server_id: UUID, account: SmppAccount, threads: Threads) -> None:
        self.account = account
        self.connections: set[Connection] = set()
        self.receipt_sender = ReceiptSender(server_id, account, threads)
        self._threads = threads
        self._batcher: Batcher[_Asked] = Batcher(self._take)

    def add(self, connection: Connection) -> None:
        """A bind was let in."""
        self.connections.add(connection)
        connection.customer = self
        link = connection.link
        link.adopt(replace(link.config, max_inbound_pending=self.account.window))
        if link.bind is not None and link.bind.command_id in _RECEIVING:
            self.receipt_sender.add(link)

    def remove(self, connection: Connection) -> None:
        """A bind is gone."""
        self.connections.discard(connection)
        self.receipt_sender.remove(connection.link)

    def adopt(self, account: SmppAccount) -> None:
        """Take the account's settings over as they are now."""
        changed = account.window != self.account.window
        self.account = self.receipt_sender.account = account
        if changed:
            for connection in self.connections:
                link = connection.link
                link.adopt(replace(link.config, max_inbound_pending=account.window))

    @property
    def idle(self) -> bool:
        """Return whether it has no bind here and nothing under way."""
        return not self.connections and self._batcher.idle and self.receipt_sender.idle

    # -- requests ----------------------------------------------------------------------------

    def on_request(self, connection: Connection, pdu: Request) -> None:
        """Answer a request, now or later."""
        connection.console.note("<", pdu)
        if isinstance(pdu, SubmitSm):
            self._submit(connection, pdu, partial(read_submit, pdu))
        elif isinstance(pdu, DataSm):
            self._submit(connection, pdu, partial(read_data, pdu))
        elif isinstance(pdu, SubmitMulti):
            self._submit_multi(connection, pdu)
        elif isinstance(pdu, QuerySm):
            self._act(connection, pdu, queries.query)
        elif isinstance(pdu, CancelSm):
            self._act(connection, pdu, queries.cancel)
        elif isinstance(pdu, ReplaceSm):
            self._act(connection, pdu, replacement.replace)
        else:
            self._answer(connection, pdu, Status.ESME_RINVCMDID)

    def _submit(self, connection: Connection, pdu: Request, read: Callable[..., Any]) -> None:
        connection.submits += 1
        try:
            wanted = read(self.account, clock.now())
        except Refused as refused:
            self._refuse(connection, pdu, refused.code)
        else:
            submit = new_submit(wanted, bind=connection.session_id)
            self._batcher.put(_Asked(connection, pdu, [submit], []))

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
                wanted = read_submit(single_of(pdu, destination), self.account, now)
            except Refused as refused:
                failed.append(self._unsuccessful(destination, refused.code))
            else:
                shown_id = submits[0].id if submits else None
                submits.append(new_submit(wanted, shown_id, connection.session_id))
        self._batcher.put(_Asked(connection, pdu, submits, failed))

    def _unsuccessful(self, destination: Address, code: str) -> UnsuccessfulSme:
        return UnsuccessfulSme(
            destination.ton, destination.npi, destination.written, self._status(code)
        )

    async def _take(self, batch: list[_Asked]) -> None:
        submits = [submit for asked in batch for submit in asked.submits]
        try:
            await self._threads.run(submit_batches.take_batch, self.account, submits)
        except OutcomeUnknown:
            # Neither yes nor no would be true: what is not answered may be sent again.
            for asked in batch:
                asked.connection.link.abort("the database is away")
            return
        except Exception:
            log.exception("smpp_submits_failed", account=str(self.account))
            for submit in submits:
                submit.code = "SERVER_ERROR"
        for asked in batch:
            self._settle(asked)

    def _settle(self, asked: _Asked) -> None:
        """Answer one request of a batch. What it raises must cost no other request its answer."""
        try:
            self._answer_submits(asked)
        except Exception:
            log.exception("smpp_answer_failed", account=str(self.account))
            # Accepted is accepted: a refusal would have the same text sent and charged again.
            accepted = [submit for submit in asked.submits if not submit.code]
            shown = self._shown_id(accepted[0]) if accepted else ""
            self._answer_plainly(asked.connection, asked.pdu, shown)

    def _answer_submits(self, asked: _Asked) -> None:
        pdu, connection = asked.pdu, asked.connection
        accepted = [submit for submit in asked.submits if not submit.code]
        for submit in asked.submits:
            if submit.code:
                asked.refused.append(self._unsuccessful(submit.wanted.destination, submit.code))
        if not accepted:
            code = asked.submits[0].code if asked.submits else ""
            status = self._status(code) if code else asked.refused[0].error_status_code
            self._count_refusal(connection, status, len(asked.refused))
            self._answer(connection, pdu, status)
            return
        fields: dict[str, Any] = {"message_id": self._shown_id(asked.submits[0])}
        if isinstance(pdu, SubmitMulti):
            connection.refused += len(asked.refused)
            fields["unsuccess_sme"] = asked.refused
        self._answer(connection, pdu, Status.ESME_ROK, **fields)

    def _shown_id(self, submit: Submit) -> str:
        return id_text(submit.shown_id or submit.id, self.account.id_format)

    def _act(self, connection: Connection, pdu: Any, act: Callable[..., queries.Answer]) -> None:
        self._threads.start(self._acted(connection, pdu, act))

    async def _acted(
        self, connection: Connection, pdu: Request, act: Callable[..., queries.Answer]
    ) -> None:
        try:
            answer = await self._threads.run(act, self.account, pdu)
        except Exception as error:
            if fault_of(error) is Fault.DATABASE:
                log.warning("smpp_database_failed", error=str(error).strip())
                answer = queries.Answer("UNAVAILABLE")
            else:
                log.exception("smpp_act_failed", account=str(self.account))
                answer = queries.Answer("SERVER_ERROR")
        status = answer.status or (self._status(answer.code) if answer.code else Status.ESME_ROK)
        try:
            self._answer(connection, pdu, status, **answer.fields)
        except Exception:
            log.exception("smpp_answer_failed", account=str(self.account))
            self._answer_plainly(connection, pdu, "")

    # -- answers -----------------------------------------------------------------------------

    def _status(self, code: str) -> int:
        return status_of(code, self.account.statuses)

    def _refuse(self, connection: Connection, pdu: Request, code: str) -> None:
        status = self._status(code)
        self._count_refusal(connection, status, 1)
        self._answer(connection, pdu, status)

    def _count_refusal(self, connection: Connection, status: int, count: int) -> None:
        if status == Status.ESME_RTHROTTLED:
            connection.throttled += count
        else:
            connection.refused += count

    def _answer(self, connection: Connection, pdu: Request, status: int, **fields: Any) -> None:
        if pdu.response_type is None:
            return
        connection.link.respond(pdu, status, **fields)
        connection.console.note_answer(pdu, status, fields.get("message_id", ""))

    def _answer_plainly(self, connection: Connection, pdu: Request, message_id: str) -> None:
        """Answer what could not be answered as it should have been: accepted, or a system error."""
        try:
            if message_id:
                connection.link.respond(pdu, message_id=message_id)
            else:
                connection.link.respond(pdu, Status.ESME_RSYSERR)
        except LocalProtocolError:
            return  # it had been answered before it failed
