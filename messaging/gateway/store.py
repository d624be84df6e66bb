"""Submits into the database: many of one account in one transaction, each with its own outcome.

Nothing is answered before that transaction is committed. What was accepted is a message like any
other (messaging/sending/accept.py), with a row here that says under which id and in which form.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import structlog
from django.db import transaction

from accounts.credits.ledger import InsufficientCredits
from imissive.core import ids
from imissive.core.sql import server_cursor
from messaging.gateway import reassembly
from messaging.gateway.reassembly import Assembly
from messaging.gateway.submit_parser import (
    Part,
    Refused,
    Wanted,
    decode_text,
)
from messaging.models.smpp_accounts import SmppAccount
from messaging.sending.accept import (
    Accepted,
    SendRequest,
    accept_each,
    terms_of,
)
from messaging.sending.evaluation import Draft, Refusal, examine
from messaging.sending.reasons import SendingReason
from messaging.states import Status

log = structlog.get_logger(__name__)

SOURCE: Final = "smpp"
USED_AGAIN: Final = 10
"""The number of times that a reference may be reused among the submits of one transaction."""


@dataclass(slots=True)
class Submit:
    """One submit on its way: afterwards `code` says why not, or `id` what it is known by.

    `shown_id`: the id that its customer knows it by where that is another's (submit_multi).
    `bind`: the session that it came by.
    """

    wanted: Wanted
    id: UUID
    code: str = ""
    shown_id: UUID | None = None
    bind: UUID | None = None


def new_submit(wanted: Wanted, shown_id: UUID | None = None, bind: UUID | None = None) -> Submit:
    """A submit with the id that it will have."""
    return Submit(wanted, ids.new_uuid(), "", shown_id, bind)


def take(account: SmppAccount, submits: Sequence[Submit]) -> None:
    """Accept what is acceptable of them, in one transaction, and set their outcomes."""
    with transaction.atomic():
        _Taking(account, submits).run()


def stored(submits: Sequence[Submit]) -> set[UUID]:
    """Which of them are in the database: for when a commit's outcome was not told."""
    with server_cursor() as cursor:
        cursor.execute(
            "SELECT id FROM messaging_smppsubmit WHERE id = ANY(%s::uuid[])",
            [[submit.id for submit in submits]],
        )
        return {row[0] for row in cursor.fetchall()}


_INSERT = """
INSERT INTO messaging_smppsubmit
       (id, account_id, message_id, registered_delivery, source_ton, source_npi, source_addr,
        dest_ton, dest_npi, dest_addr, reference, fingerprint, assembly_id, number, content,
        shown_id, data_coding)
SELECT new.id, %(account)s, new.message_id, new.registered, new.source_ton, new.source_npi,
       new.source_addr, new.dest_ton, new.dest_npi, new.dest_addr, new.reference,
       new.fingerprint, new.assembly_id, new.number, new.content, new.shown_id, new.data_coding
  FROM unnest(%(id)b::uuid[], %(message_id)b::uuid[], %(registered)b::int[],
              %(source_ton)b::int[], %(source_npi)b::int[], %(source_addr)b::text[],
              %(dest_ton)b::int[], %(dest_npi)b::int[], %(dest_addr)b::text[],
              %(reference)b::int[], %(fingerprint)b::bytea[], %(assembly_id)b::uuid[],
              %(number)b::int[], %(content)b::bytea[], %(shown_id)b::uuid[], %(data_coding)b::int[])
       AS new(id, message_id, registered, source_ton, source_npi, source_addr, dest_ton, dest_npi,
              dest_addr, reference, fingerprint, assembly_id, number, content, shown_id,
              data_coding)
 ORDER BY new.fingerprint, new.assembly_id, new.number, new.id
    ON CONFLICT DO NOTHING
RETURNING id
"""


class _Taking:
    """One transaction's work."""

    def __init__(self, account: SmppAccount, submits: Sequence[Submit]) -> None:
        self.account = account
        self.organization_id = account.organization_id
        self.submits = submits
        self.assemblies: dict[bytes, Assembly] = {}
        self.ended: set[UUID] = set()

    def run(self) -> None:
        self._find_own()
        left = self._round()
        for _again in range(USED_AGAIN):
            if not left:
                return
            self.submits = self._elsewhere(left)
            left = self._round()
        for submit in left:
            submit.code = "CONFLICT"

    def _find_own(self) -> None:
        """Parts of binds that have a text of their own under a reference used twice."""
        apart = {
            submit.id: submit.wanted.part.apart(submit.bind)
            for submit in self.submits
            if submit.wanted.part is not None and submit.bind is not None
        }
        if not apart:
            return
        begun = reassembly.begun(self.account.id, {part.key for part in apart.values()})
        for submit in self.submits:
            part = apart.get(submit.id)
            if part is not None and part.key in begun:
                submit.wanted = replace(submit.wanted, part=part)

    def _elsewhere(self, left: Sequence[Submit]) -> Sequence[Submit]:
        """Make room for parts whose places are taken by those of another text."""
        for submit in left:
            part, assembly = submit.wanted.part, self._assembly(submit.wanted.part)
            if part is None or assembly is None or assembly.id in self.ended:
                continue
            if submit.bind is None or assembly.bind == submit.bind:
                reassembly.supersede(assembly.id)
                self.ended.add(assembly.id)
            else:
                submit.wanted = replace(submit.wanted, part=part.apart(submit.bind))
        return left

    def _round(self) -> list[Submit]:
        """Take the submits; those are left whose places are taken."""
        parts = [(part, s.bind) for s in self.submits if (part := s.wanted.part) is not None]
        self.assemblies = reassembly.lock(self.account.id, parts)
        self.submits, left = self._in_order()
        if not self.submits:
            return left
        fresh = self._insert()
        repeated = [submit for submit in self.submits if submit.id not in fresh]
        new = [submit for submit in self.submits if submit.id in fresh]
        self._begin_assemblies([submit for submit in new if submit.wanted.part])
        self._accept([submit for submit in new if not submit.wanted.part])
        self._finish_assemblies([submit for submit in new if submit.wanted.part])
        self._remove([submit for submit in new if submit.code])
        self._recall(repeated, new)
        return left

    def _in_order(self) -> tuple[list[Submit], list[Submit]]:
        """Those whose places are free, or theirs, and the others.

        What a bind sends after a part that has no place is of that part's text, not of the one that
        is there: or a mixture of both would be sent.
        """
        there = reassembly.places([a.id for a in self.assemblies.values() if not a.is_new])
        another: set[tuple[UUID, UUID | None]] = set()
        taken, left = [], []
        for submit in self.submits:
            part, assembly = submit.wanted.part, self._assembly(submit.wanted.part)
            if part is None or assembly is None:
                taken.append(submit)
                continue
            place, octets = (assembly.id, part.number), sha256(submit.wanted.content).digest()
            if there.get(place) == octets:
                taken.append(submit)
            elif place in there or (assembly.id, submit.bind) in another:
                another.add((assembly.id, submit.bind))
                left.append(submit)
            else:
                there[place] = octets
                taken.append(submit)
        return taken, left

    # -- rows ------------------------------------------------------------------------------------

    def _insert(self) -> set[UUID]:
        """Write them all; the ids of those that are no repetition."""
        rows = [self._row(submit) for submit in self.submits]
        columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
        with server_cursor() as cursor:
            cursor.execute(_INSERT, {"account": self.account.id, **columns})
            return {row[0] for row in cursor.fetchall()}

    def _row(self, submit: Submit) -> dict[str, Any]:
        wanted = submit.wanted
        assembly = self._assembly(wanted.part)
        return {
            "id": submit.id,
            "message_id": None if assembly else submit.id,
            "registered": wanted.registered_delivery,
            "source_ton": wanted.source.ton,
            "source_npi": wanted.source.npi,
            "source_addr": wanted.source.written,
            "dest_ton": wanted.destination.ton,
            "dest_npi": wanted.destination.npi,
            "dest_addr": wanted.destination.written,
            "reference": wanted.reference,
            "fingerprint": wanted.fingerprint,
            "assembly_id": assembly.id if assembly else None,
            "number": wanted.part.number if wanted.part else None,
            "content": wanted.content if assembly else b"",
            "shown_id": submit.shown_id,
            "data_coding": wanted.data_coding,
        }

    def _assembly(self, part: Part | None) -> Assembly | None:
        return self.assemblies[part.key] if part else None

    def _remove(self, refused: Sequence[Submit]) -> None:
        if refused:
            with server_cursor() as cursor:
                cursor.execute(
                    "DELETE FROM messaging_smppsubmit WHERE id = ANY(%s::uuid[])",
                    [[submit.id for submit in refused]],
                )

    def _recall(self, repeated: Sequence[Submit], new: Sequence[Submit]) -> None:
        """Give repetitions the id that their first got, or its refusal."""
        for submit in repeated:
            first = _first_of(submit, new)
            if first is not None:
                submit.id, submit.code = first.id, first.code
                continue
            wanted, assembly = submit.wanted, self._assembly(submit.wanted.part)
            with server_cursor() as cursor:
                cursor.execute(
                    "SELECT COALESCE(shown_id, id) FROM messaging_smppsubmit"
                    " WHERE account_id = %s AND (fingerprint = %s"
                    " OR assembly_id = %s AND number = %s AND content = %b)",
                    [
                        self.account.id,
                        wanted.fingerprint,
                        assembly.id if assembly else None,
                        wanted.part.number if wanted.part else None,
                        wanted.content,
                    ],
                )
                row = cursor.fetchone()
            if row is None:
                submit.code = "CONFLICT"
            else:
                submit.id = row[0]

    # -- messages --------------------------------------------------------------------------------

    def _send_request(self, wanted: Wanted) -> SendRequest:
        return SendRequest(
            organization_id=self.organization_id,
            source=SOURCE,
            test=self.account.test,
            urgent=wanted.urgent,
            scheduled_at=wanted.scheduled_at,
            validity=wanted.validity,
        )

    def _accept(self, singles: Sequence[Submit]) -> None:
        requests = [
            (
                self._send_request(submit.wanted),
                _draft(submit.wanted, submit.wanted.text or "", submit.id),
            )
            for submit in singles
        ]
        for submit, outcome in zip(singles, accept_each(requests), strict=True):
            submit.code = code_of(outcome)

    # -- long texts ------------------------------------------------------------------------------

    def _begin_assemblies(self, parts: Sequence[Submit]) -> None:
        """Judge and charge for what begins now; refuse its parts where it cannot be."""
        codes: dict[bytes, str] = {}
        for submit in parts:
            part, assembly = submit.wanted.part, self._assembly(submit.wanted.part)
            if part is None or assembly is None:
                continue
            if assembly.is_new and part.key not in codes:
                codes[part.key] = self._begin(submit.wanted, assembly)
            submit.code = codes.get(part.key, "")
        refused = [self.assemblies[key].id for key, code in codes.items() if code]
        reassembly.end(refused)
        self.ended.update(refused)

    def _begin(self, wanted: Wanted, assembly: Assembly) -> str:
        # Any short text: number and sender are judged, and a part's price is known.
        draft = _draft(wanted, "x", None)
        terms = terms_of(self._send_request(wanted), [draft])
        opinion = examine(draft, terms)
        if opinion.problems:
            return opinion.problems[0].code
        if assembly.total > terms.max_parts:
            return "MESSAGE_TOO_LONG"
        covered = reassembly.reserve(
            self.organization_id, assembly, (opinion.unit_price or 0) * assembly.total
        )
        return "" if covered else "INSUFFICIENT_CREDITS"

    def _finish_assemblies(self, parts: Sequence[Submit]) -> None:
        """Accept the texts that have become whole."""
        open_parts = [submit for submit in parts if not submit.code]
        by_id = {
            assembly.id: assembly
            for assembly in (self._assembly(submit.wanted.part) for submit in open_parts)
            if assembly is not None
        }
        for assembly_id, (part_ids, contents) in reassembly.whole(list(by_id)).items():
            mine = [submit for submit in open_parts if submit.id in part_ids]
            self._finish(by_id[assembly_id], part_ids, contents, mine)

    def _finish(
        self,
        assembly: Assembly,
        part_ids: Sequence[UUID],
        contents: Sequence[bytes],
        mine: Sequence[Submit],
    ) -> None:
        wanted = mine[0].wanted
        reassembly.give_back(self.organization_id, [assembly])
        try:
            draft = _draft(wanted, decode_text(wanted.coding, contents), part_ids[0])
            code = code_of(accept_each([(self._send_request(wanted), draft)])[0])
        except Refused as refused:
            code = refused.code
        if not code:
            reassembly.join(part_ids[0], part_ids)
            reassembly.end([assembly.id])
            self.ended.add(assembly.id)
            return
        # The parts that were answered before end as failed; those of this moment are refused.
        reassembly.drop([assembly.id], Status.FAILED, code, [submit.id for submit in mine])
        self.ended.add(assembly.id)
        for submit in mine:
            submit.code = code


def _first_of(submit: Submit, new: Sequence[Submit]) -> Submit | None:
    """Return what identifies a repeated submit: its fingerprint, or the part and its octets."""
    wanted = submit.wanted
    for other in new:
        if wanted.fingerprint is not None and other.wanted.fingerprint == wanted.fingerprint:
            return other
        same = other.wanted.part == wanted.part and other.wanted.content == wanted.content
        if wanted.part is not None and same:
            return other
    return None


def _draft(wanted: Wanted, text: str, message_id: UUID | None) -> Draft:
    reference = "" if wanted.reference is None else str(wanted.reference)
    return Draft(wanted.to, text, wanted.sender, reference, id=message_id)


def code_of(outcome: Accepted | Refusal | InsufficientCredits) -> str:
    """Why it was refused; nothing where it was not."""
    if isinstance(outcome, InsufficientCredits):
        return "INSUFFICIENT_CREDITS"
    if isinstance(outcome, Accepted):
        return ""
    problem = outcome.problems[0]
    return "EMPTY_MESSAGE" if problem.reason is SendingReason.EMPTY else problem.code
