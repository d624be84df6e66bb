"""Accounts of the simulator: the binds, receipts and rate of each system_id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from messaging.smpp.constants import CommandId, Status
from messaging.smpp.simulator.behaviours import Rate
from messaging.smpp.simulator.outbox import Outbox, Tally

if TYPE_CHECKING:
    from messaging.smpp.pdus import Bind
    from messaging.smpp.simulator.line import Line
    from messaging.smpp.simulator.options import Options

_RECEIVING: Final = frozenset({CommandId.BIND_RECEIVER, CommandId.BIND_TRANSCEIVER})


class Account:
    """One system_id."""

    def __init__(self, system_id: str, options: Options, tally: Tally) -> None:
        self.system_id = system_id
        self.lines: list[Line] = []  # all its binds
        self.outbox = Outbox(options, tally)
        self.rate = Rate()

    def add(self, line: Line, bind: Bind) -> None:
        """Add an accepted bind."""
        self.lines.append(line)
        line.account = self
        if bind.command_id in _RECEIVING:
            self.outbox.lines.append(line)

    def remove(self, line: Line) -> None:
        """Remove a lost bind."""
        self.lines.remove(line)
        if line in self.outbox.lines:
            self.outbox.lines.remove(line)


class Accounts:
    """All accounts that have ever bound."""

    def __init__(self, options: Options, tally: Tally) -> None:
        self._options = options
        self._tally = tally
        self._accounts: dict[str, Account] = {}

    def of(self, system_id: str) -> Account:
        """Return the account of a system_id; create it if necessary."""
        account = self._accounts.get(system_id)
        if account is None:
            account = Account(system_id, self._options, self._tally)
            self._accounts[system_id] = account
        return account

    def refusal(self, bind: Bind) -> int:
        """Return the status that refuses a bind (SMPP 3.4, 5.1.3), or ESME_ROK."""
        options = self._options
        if options.refuse_binds:
            return options.refuse_binds
        if options.system_ids is not None and bind.system_id not in options.system_ids:
            return Status.ESME_RINVSYSID
        if options.password is not None and bind.password != options.password:
            return Status.ESME_RINVPASWD
        if options.max_binds is not None:
            account = self._accounts.get(bind.system_id)
            if account is not None and len(account.lines) >= options.max_binds:
                return Status.ESME_RALYBND
        return Status.ESME_ROK

    @property
    def waiting(self) -> int:
        """The number of receipts that wait for a bind or for a place in its window."""
        return sum(account.outbox.waiting for account in self._accounts.values())
