"""One account on one server process: its binds, what they ask, and its receipts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from imissive import clock
from imissive.sql import Fault, fault_of
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
from messaging.smpp.server import acting, replacing, submitting
from messaging.smpp.server.batching import Batcher
from messaging.smpp.server.couriers import Courier
from messaging.smpp.server.reading import (
    Address,
    Refused,
    destinations_of,
    read_data,
    read_submit,
    single_of,
)
from messaging.smpp.server.statuses import status_of
from messaging.smpp.server.submitting import OutcomeUnknown
from messaging.smpp.server.taking import Submit, new_submit
from messaging.smpp.server.writing import id_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from messaging.models.smpp_accounts import SmppAccount
    from messaging.smpp.pdus import Request
    from messaging.smpp.server.connections import Connection, Threads

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
        self.courier = Courier(server_id, account, threads)
        self._threads = threads
        self._batcher: Batcher[_Asked] = Batcher(self._take)

    def add(self, connection: Connection) -> None:
        """A bind was let in."""
        self.connections.add(connection)
        connection.customer = self
        link = connection.link
        link.adopt(replace(link.config, max_inbound_pending=self.account.window))
        if link.bind is not None and link.bind.command_id in _RECEIVING:
            self.courier.add(link)

    def remove(self, connection: Connection) -> None:
        """A bind is gone."""
        self.connections.discard(connection)
        self.courier.remove(connection.link)

    def adopt(self, account: SmppAccount) -> None:
        """Take the account's settings over as they are now."""
        changed = account.window != self.account.window
        self.account = self.courier.account = account
        if changed:
            for connection in self.connections:
                link = connection.link
                link.adopt(replace(link.config, max_inbound_pending=account.window))

    @property
    def idle(self) -> bool:
        """Whether it has no bind here and nothing under way."""
        return not self.connections and self._batcher.idle and self.courier.idle

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
            self._act(connection, pdu, acting.query)
        elif isinstance(pdu, CancelSm):
            self._act(connection, pdu, acting.cancel)
        elif isinstance(pdu, ReplaceSm):
            self._act(connection, pdu, replacing.replace)
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
            await self._threads.run(submitting.take_batch, self.account, submits)
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
            self._answer_submits(asked)

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
        first = asked.submits[0]
        shown = id_text(first.shown_id or first.id, self.account.id_format)
        fields: dict[str, Any] = {"message_id": shown}
        if isinstance(pdu, SubmitMulti):
            connection.refused += len(asked.refused)
            fields["unsuccess_sme"] = asked.refused
        self._answer(connection, pdu, Status.ESME_ROK, **fields)

    def _act(self, connection: Connection, pdu: Any, act: Callable[..., acting.Answer]) -> None:
        self._threads.start(self._acted(connection, pdu, act))

    async def _acted(
        self, connection: Connection, pdu: Request, act: Callable[..., acting.Answer]
    ) -> None:
        try:
            answer = await self._threads.run(act, self.account, pdu)
        except Exception as error:
            if fault_of(error) is Fault.DATABASE:
                log.warning("smpp_database_failed", error=str(error).strip())
                answer = acting.Answer("UNAVAILABLE")
            else:
                log.exception("smpp_act_failed", account=str(self.account))
                answer = acting.Answer("SERVER_ERROR")
        status = answer.status or (self._status(answer.code) if answer.code else Status.ESME_ROK)
        self._answer(connection, pdu, status, **answer.fields)

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
        connection.console.note_answer(pdu, status, fields.get("message_id", ""))
        connection.link.respond(pdu, status, **fields)
