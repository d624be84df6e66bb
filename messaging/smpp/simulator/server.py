"""The simulator's server: it accepts ESMEs and their messages, and creates receipts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from random import Random
from typing import TYPE_CHECKING, Final, cast

from messaging.smpp.constants import CommandId, MessageState, Status, status_name
from messaging.smpp.handlers import Handlers, LinkConfig
from messaging.smpp.pdus import CancelSm, QuerySm, SubmitSm
from messaging.smpp.simulator import behaviours
from messaging.smpp.simulator.accounts import Account, Accounts
from messaging.smpp.simulator.line import GARBAGE, Line
from messaging.smpp.simulator.options import Options
from messaging.smpp.simulator.outbox import Tally
from messaging.smpp.simulator.receipts import make_receipt
from messaging.smpp.simulator.submits import Submit

if TYPE_CHECKING:
    from ssl import SSLContext

    from messaging.smpp.events import Closed
    from messaging.smpp.link import Link
    from messaging.smpp.pdus import Bind, Request
    from messaging.smpp.simulator.behaviours import Behaviour
    from messaging.smpp.simulator.submits import Journal

logger = logging.getLogger(__name__)

# The delay of a response that must come after its receipt on another connection.
_RECEIPT_AHEAD: Final = 0.1
# Submits without a response must never stop the reading of their connection.
_CONFIG: Final = LinkConfig(max_inbound_pending=1_000_000)
_KINDS: Final = {
    CommandId.BIND_TRANSMITTER: "transmitter",
    CommandId.BIND_RECEIVER: "receiver",
    CommandId.BIND_TRANSCEIVER: "transceiver",
}


class Simulator:
    """An SMSC on a TCP port.

    It belongs to one event loop. `options` may be changed at any time; `submits` are the last
    `Options.history` ones, oldest first, and `tally` counts all.
    """

    def __init__(
        self,
        options: Options | None = None,
        *,
        config: LinkConfig | None = None,
        journal: Journal | None = None,
        seed: int | None = None,
    ) -> None:
        self.options = options or Options()
        self.tally = Tally()
        self.submits: deque[Submit] = deque(maxlen=self.options.history)
        self.port = 0  # set by `start`
        self._config = config or _CONFIG
        self._handlers = Handlers(
            on_request=self._on_request,
            on_bind=self._on_bind,
            on_closed=self._on_closed,
            on_connected=self._on_connected,
        )
        self._accounts = Accounts(self.options, self.tally)
        self._journal = journal
        self._random = Random(seed)  # noqa: S311 - chance, not secrets
        self._ids = behaviours.Ids(time.time_ns() // 1000)
        self._throttles = behaviours.Throttles()
        self._messages: dict[str, Submit] = {}
        self._lines: set[Line] = set()
        self._server: asyncio.Server | None = None

    # -- control -----------------------------------------------------------------------------

    async def start(self, host: str, port: int, ssl: SSLContext | None = None) -> None:
        """Listen; port 0 takes a free one and sets `port`. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Line(self._config, self._handlers, self.options), host, port, ssl=ssl
        )
        self.port = self._server.sockets[0].getsockname()[1]
        logger.info("listening on %s:%d", host, self.port)

    async def stop(self, timeout: float = 1.2) -> None:  # noqa: ASYNC109 - it ends in a close
        """Stop listening, and unbind every ESME within `timeout` seconds."""
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*(line.unbind(timeout) for line in list(self._lines)))
        for submit in self._messages.values():
            if submit.timer is not None:
                submit.timer.cancel()

    @property
    def lines(self) -> list[Line]:
        """The connections, bound or not."""
        return list(self._lines)

    @property
    def waiting_receipts(self) -> int:
        """The number of receipts that wait for a bind or for a place in its window."""
        return self._accounts.waiting

    def drop_all(self) -> None:
        """Break every connection immediately."""
        for line in self.lines:
            line.abort("dropped on purpose")

    async def unbind_all(self, timeout: float = 1.2) -> None:  # noqa: ASYNC109 - see `stop`
        """Unbind every ESME (SMPP 3.4, 4.2). They may bind again immediately."""
        await asyncio.gather(*(line.unbind(timeout) for line in self.lines if line.bound))

    def inject(self, octets: bytes = GARBAGE) -> None:
        """Send octets that are not part of the session on every connection."""
        for line in self.lines:
            line.inject(octets)

    # -- connections -------------------------------------------------------------------------

    def _on_connected(self, link: Link) -> None:
        self._lines.add(cast("Line", link))

    def _on_bind(self, link: Link, pdu: Bind) -> None:
        line = cast("Line", link)
        status = self._accounts.refusal(pdu)
        kind = _KINDS[CommandId(pdu.command_id)]
        if status:
            logger.info("refused %s %s: %s", kind, pdu.system_id, status_name(status))
            line.refuse_bind(pdu, status)
        elif line.accept_bind(pdu, self.options.system_id):
            logger.info("bound %s %s from %s", kind, pdu.system_id, line.peer)
            account = self._accounts.of(pdu.system_id)
            account.add(line, pdu)
            account.outbox.send_waiting()

    def _on_closed(self, link: Link, reason: Closed, _: object) -> None:
        line = cast("Line", link)
        self._lines.discard(line)
        if line.account is not None and line.bind is not None:
            line.account.remove(line)
            kind = _KINDS[CommandId(line.bind.command_id)]
            logger.info("lost %s %s from %s: %s", kind, line.bind.system_id, line.peer, reason)

    # -- requests ----------------------------------------------------------------------------

    def _on_request(self, link: Link, pdu: Request) -> None:
        line = cast("Line", link)
        account = line.account
        if account is None or not line.bound:
            return  # dropped while its other requests were being handled
        if isinstance(pdu, SubmitSm):
            self._on_submit(line, account, pdu)
        elif isinstance(pdu, QuerySm):
            self._on_query(line, account, pdu)
        elif isinstance(pdu, CancelSm):
            self._on_cancel(line, account, pdu)
        else:
            line.respond(pdu, Status.ESME_RINVCMDID)

    def _on_submit(self, line: Line, account: Account, pdu: SubmitSm) -> None:
        options = self.options
        self.tally.submits += 1
        line.submits += 1
        submit = Submit(account.system_id, pdu, time.time())
        self.submits.append(submit)
        if options.garbage_after is not None and line.submits >= options.garbage_after:
            line.inject(GARBAGE)
        if line.submits == options.unbind_after:
            line.unbind_amid_traffic()
        if options.blackhole:
            self._note(submit)
            return
        behaviour = behaviours.behaviour_of(pdu.destination_addr)
        status = self._refusal(account, pdu, behaviour)
        if status:
            self.tally.refused += 1
        else:
            self._accept(submit)
        if options.drop_after is not None and line.submits >= options.drop_after:
            self._note(submit)
            line.abort("dropped on purpose")
            self._finish_later(account, submit, behaviour)
            return
        submit.status = status
        self._note(submit)
        self._respond(line, account, submit, behaviour)

    def _refusal(self, account: Account, pdu: SubmitSm, behaviour: Behaviour) -> int:
        options = self.options
        if options.rate_limit is not None and not account.rate.allows(
            options.rate_limit, time.monotonic()
        ):
            return Status.ESME_RTHROTTLED
        if options.refusals:
            status = behaviours.drawn_refusal(options.refusals, self._random)
            if status:
                return status
        if behaviours.too_long(pdu):
            return Status.ESME_RINVMSGLEN
        if behaviour.throttles and self._throttles.throttle(
            account.system_id, pdu, behaviour.throttles
        ):
            return Status.ESME_RTHROTTLED
        return behaviour.status if pdu.destination_addr else Status.ESME_RINVDSTADR

    def _accept(self, submit: Submit) -> None:
        self.tally.accepted += 1
        submit.message_id, submit.receipt_id = self._ids.next(self.options)
        self._messages[submit.message_id] = submit
        if len(self._messages) > self.options.remembered:
            del self._messages[next(iter(self._messages))]

    def _note(self, submit: Submit) -> None:
        if self._journal is not None:
            self._journal.write(submit)

    def _respond(self, line: Line, account: Account, submit: Submit, behaviour: Behaviour) -> None:
        options = self.options
        delay = options.answer_delay
        if options.answer_jitter:
            delay += self._random.uniform(0, options.answer_jitter)
        if behaviour.receipt_first and not submit.status:
            self._finish(account, submit, behaviour, line)
            if line not in account.outbox.lines:
                delay = max(delay, _RECEIPT_AHEAD)
        if delay > 0:
            loop = asyncio.get_running_loop()
            loop.call_later(delay, self._respond_now, line, account, submit, behaviour)
        else:
            self._respond_now(line, account, submit, behaviour)

    def _respond_now(
        self, line: Line, account: Account, submit: Submit, behaviour: Behaviour
    ) -> None:
        if submit.status:
            line.respond(submit.pdu, submit.status)
            return
        # The message is accepted even if its connection is lost before the response.
        line.respond(submit.pdu, message_id=submit.message_id)
        if not behaviour.receipt_first:
            self._finish_later(account, submit, behaviour)

    # -- final states ------------------------------------------------------------------------

    def _finish_later(self, account: Account, submit: Submit, behaviour: Behaviour) -> None:
        if not submit.message_id or behaviour.state is None:
            return
        delay = self.options.receipt_after(behaviour.delay)
        if delay > 0:
            loop = asyncio.get_running_loop()
            submit.timer = loop.call_later(delay, self._finish, account, submit, behaviour)
        else:
            self._finish(account, submit, behaviour)

    def _finish(
        self, account: Account, submit: Submit, behaviour: Behaviour, line: Line | None = None
    ) -> None:
        if submit.final_at is None and behaviour.state is not None:
            self._set_final(account, submit, behaviour.state, behaviour.receipts, line)

    def _set_final(
        self,
        account: Account,
        submit: Submit,
        state: MessageState,
        receipts: int = 1,
        line: Line | None = None,
    ) -> None:
        submit.timer = None
        submit.state = state
        submit.final_at = time.time()
        if not behaviours.wants_receipt(submit.pdu.registered_delivery, state):
            return
        receipt = make_receipt(submit, state, submit.final_at, self.options)
        for _ in range(receipts):
            if line is None:
                account.outbox.put(receipt)
            else:
                account.outbox.put_on(line, receipt)

    # -- operations on an earlier message ----------------------------------------------------

    def _find(self, account: Account, pdu: QuerySm | CancelSm) -> Submit | None:
        """Return a message by its id and source address (SMPP 3.4, 4.8.1 and 4.9.1)."""
        submit = self._messages.get(pdu.message_id)
        if submit is None or submit.system_id != account.system_id:
            return None
        return submit if submit.source == pdu.source_addr else None

    def _on_query(self, line: Line, account: Account, pdu: QuerySm) -> None:
        submit = self._find(account, pdu)
        if submit is None:
            line.respond(pdu, Status.ESME_RQUERYFAIL, message_id=pdu.message_id)
            return
        final_date = ""
        if submit.final_at is not None:
            final_date = time.strftime("%y%m%d%H%M%S000+", time.gmtime(submit.final_at))
        line.respond(
            pdu, message_id=submit.message_id, final_date=final_date, message_state=submit.state
        )

    def _on_cancel(self, line: Line, account: Account, pdu: CancelSm) -> None:
        submit = self._find(account, pdu)
        if submit is None or submit.final_at is not None:
            line.respond(pdu, Status.ESME_RCANCELFAIL)
            return
        if submit.timer is not None:
            submit.timer.cancel()
        line.respond(pdu)
        self._set_final(account, submit, MessageState.DELETED)
