"""Storing of submits: many of one account in one transaction, each with its own outcome.

No submit gets its response before that transaction is committed. An accepted submit is a message
like any other (messaging/sending/accept.py), with a row here for its id and its SMPP fields.
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
    ParsedSubmit,
    Part,
    Refused,
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
REUSED_AT_MOST: Final = 10
"""The number of times that a reference may be reused among the submits of one transaction."""


@dataclass(slots=True)
class Submit:
    """A submit and its outcome: `code` of a refusal, or else the accepted `id`.

    `shown_id`: the id that its customer sees if that is another one's (submit_multi).
    `bind`: the session that it arrived on.
    """

    parsed: ParsedSubmit
    id: UUID
    code: str = ""
    shown_id: UUID | None = None
    bind: UUID | None = None


def new_submit(
    parsed: ParsedSubmit, shown_id: UUID | None = None, bind: UUID | None = None
) -> Submit:
    """Return a submit with a new id."""
    return Submit(parsed, ids.new_uuid(), "", shown_id, bind)


def take(account: SmppAccount, submits: Sequence[Submit]) -> None:
    """Accept the valid submits in one transaction, and set the outcome of each."""
    with transaction.atomic():
        _Transaction(account, submits).run()


def stored(submits: Sequence[Submit]) -> set[UUID]:
    """Return the ids that are stored, for a commit whose outcome is unknown."""
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


class _Transaction:
    """The work of one transaction."""

    def __init__(self, account: SmppAccount, submits: Sequence[Submit]) -> None:
        self.account = account
        self.organization_id = account.organization_id
        self.submits = submits
        self.assemblies: dict[bytes, Assembly] = {}
        self.ended: set[UUID] = set()

    def run(self) -> None:
        self._assign_own_texts()
        conflicting = self._round()
        for _again in range(REUSED_AT_MOST):
            if not conflicting:
                return
            self._resolve(conflicting)
            self.submits = conflicting
            conflicting = self._round()
        for submit in conflicting:
            submit.code = "CONFLICT"

    def _assign_own_texts(self) -> None:
        """Assign parts to their bind's own text, where two binds use the same reference."""
        own_parts = {
            submit.id: submit.parsed.part.of_bind(submit.bind)
            for submit in self.submits
            if submit.parsed.part is not None and submit.bind is not None
        }
        if not own_parts:
            return
        keys = {part.key for part in own_parts.values()}
        existing = reassembly.existing(self.account.id, keys)
        for submit in self.submits:
            part = own_parts.get(submit.id)
            if part is not None and part.key in existing:
                submit.parsed = replace(submit.parsed, part=part)

    def _resolve(self, conflicting: Sequence[Submit]) -> None:
        """Resolve conflicts with the parts of another text under the same reference."""
        for submit in conflicting:
            part, assembly = submit.parsed.part, self._assembly(submit.parsed.part)
            if part is None or assembly is None or assembly.id in self.ended:
                continue
            if submit.bind is None or assembly.bind == submit.bind:
                reassembly.supersede(assembly.id)
                self.ended.add(assembly.id)
            else:
                submit.parsed = replace(submit.parsed, part=part.of_bind(submit.bind))

    def _round(self) -> list[Submit]:
        """Store the submits; return those that conflict with the parts of another text."""
        parts = [(part, s.bind) for s in self.submits if (part := s.parsed.part) is not None]
        self.assemblies = reassembly.lock(self.account.id, parts)
        self.submits, conflicting = self._split()
        if not self.submits:
            return conflicting
        fresh = self._insert()
        repeated = [submit for submit in self.submits if submit.id not in fresh]
        new = [submit for submit in self.submits if submit.id in fresh]
        self._start_assemblies([submit for submit in new if submit.parsed.part])
        self._accept([submit for submit in new if not submit.parsed.part])
        self._finish_assemblies([submit for submit in new if submit.parsed.part])
        self._remove([submit for submit in new if submit.code])
        self._resolve_repeated(repeated, new)
        return conflicting

    def _split(self) -> tuple[list[Submit], list[Submit]]:
        """Return the submits to store, and those that conflict with other parts.

        Further parts from the bind of a conflicting part belong to that part's text, too:
        otherwise, a mixture of both texts would be sent.
        """
        digests = reassembly.stored_parts([a.id for a in self.assemblies.values() if not a.is_new])
        other_texts: set[tuple[UUID, UUID | None]] = set()
        storable, conflicting = [], []
        for submit in self.submits:
            part, assembly = submit.parsed.part, self._assembly(submit.parsed.part)
            if part is None or assembly is None:
                storable.append(submit)
                continue
            key, digest = (assembly.id, part.number), sha256(submit.parsed.content).digest()
            if digests.get(key) == digest:
                storable.append(submit)
            elif key in digests or (assembly.id, submit.bind) in other_texts:
                other_texts.add((assembly.id, submit.bind))
                conflicting.append(submit)
            else:
                digests[key] = digest
                storable.append(submit)
        return storable, conflicting

    # -- rows ------------------------------------------------------------------------------------

    def _insert(self) -> set[UUID]:
        """Insert all submits; return the ids of those that are not repeated."""
        rows = [self._row(submit) for submit in self.submits]
        columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
        with server_cursor() as cursor:
            cursor.execute(_INSERT, {"account": self.account.id, **columns})
            return {row[0] for row in cursor.fetchall()}

    def _row(self, submit: Submit) -> dict[str, Any]:
        parsed = submit.parsed
        assembly = self._assembly(parsed.part)
        return {
            "id": submit.id,
            "message_id": None if assembly else submit.id,
            "registered": parsed.registered_delivery,
            "source_ton": parsed.source.ton,
            "source_npi": parsed.source.npi,
            "source_addr": parsed.source.written,
            "dest_ton": parsed.destination.ton,
            "dest_npi": parsed.destination.npi,
            "dest_addr": parsed.destination.written,
            "reference": parsed.reference,
            "fingerprint": parsed.fingerprint,
            "assembly_id": assembly.id if assembly else None,
            "number": parsed.part.number if parsed.part else None,
            "content": parsed.content if assembly else b"",
            "shown_id": submit.shown_id,
            "data_coding": parsed.data_coding,
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

    def _resolve_repeated(self, repeated: Sequence[Submit], new: Sequence[Submit]) -> None:
        """Set the outcomes of repeated submits to those of the first ones."""
        for submit in repeated:
            first = _first_of(submit, new)
            if first is not None:
                submit.id, submit.code = first.id, first.code
                continue
            parsed, assembly = submit.parsed, self._assembly(submit.parsed.part)
            with server_cursor() as cursor:
                cursor.execute(
                    "SELECT COALESCE(shown_id, id) FROM messaging_smppsubmit"
                    " WHERE account_id = %s AND (fingerprint = %s"
                    " OR assembly_id = %s AND number = %s AND content = %b)",
                    [
                        self.account.id,
                        parsed.fingerprint,
                        assembly.id if assembly else None,
                        parsed.part.number if parsed.part else None,
                        parsed.content,
                    ],
                )
                row = cursor.fetchone()
            if row is None:
                submit.code = "CONFLICT"
            else:
                submit.id = row[0]

    # -- messages --------------------------------------------------------------------------------

    def _send_request(self, parsed: ParsedSubmit) -> SendRequest:
        return SendRequest(
            organization_id=self.organization_id,
            source=SOURCE,
            test=self.account.test,
            urgent=parsed.urgent,
            scheduled_at=parsed.scheduled_at,
            validity=parsed.validity,
        )

    def _accept(self, singles: Sequence[Submit]) -> None:
        requests = [
            (
                self._send_request(submit.parsed),
                _draft(submit.parsed, submit.parsed.text or "", submit.id),
            )
            for submit in singles
        ]
        for submit, outcome in zip(singles, accept_each(requests), strict=True):
            submit.code = code_of(outcome)

    # -- long texts ------------------------------------------------------------------------------

    def _start_assemblies(self, parts: Sequence[Submit]) -> None:
        """Evaluate and charge new texts; refuse the parts of those that are not accepted."""
        codes: dict[bytes, str] = {}
        for submit in parts:
            part, assembly = submit.parsed.part, self._assembly(submit.parsed.part)
            if part is None or assembly is None:
                continue
            if assembly.is_new and part.key not in codes:
                codes[part.key] = self._start(submit.parsed, assembly)
            submit.code = codes.get(part.key, "")
        refused = [self.assemblies[key].id for key, code in codes.items() if code]
        reassembly.remove(refused)
        self.ended.update(refused)

    def _start(self, parsed: ParsedSubmit, assembly: Assembly) -> str:
        # With any short text, the evaluation checks number and sender and finds a part's price.
        draft = _draft(parsed, "x", None)
        terms = terms_of(self._send_request(parsed), [draft])
        evaluation = examine(draft, terms)
        if evaluation.problems:
            return evaluation.problems[0].code
        if assembly.total > terms.max_parts:
            return "MESSAGE_TOO_LONG"
        covered = reassembly.reserve(
            self.organization_id, assembly, (evaluation.unit_price or 0) * assembly.total
        )
        return "" if covered else "INSUFFICIENT_CREDITS"

    def _finish_assemblies(self, parts: Sequence[Submit]) -> None:
        """Accept the texts that are complete now."""
        open_parts = [submit for submit in parts if not submit.code]
        by_id = {
            assembly.id: assembly
            for assembly in (self._assembly(submit.parsed.part) for submit in open_parts)
            if assembly is not None
        }
        for assembly_id, (part_ids, contents) in reassembly.complete(list(by_id)).items():
            current = [submit for submit in open_parts if submit.id in part_ids]
            self._finish(by_id[assembly_id], part_ids, contents, current)

    def _finish(
        self,
        assembly: Assembly,
        part_ids: Sequence[UUID],
        contents: Sequence[bytes],
        current: Sequence[Submit],
    ) -> None:
        parsed = current[0].parsed
        reassembly.refund(self.organization_id, [assembly])
        try:
            draft = _draft(parsed, decode_text(parsed.coding, contents), part_ids[0])
            code = code_of(accept_each([(self._send_request(parsed), draft)])[0])
        except Refused as refused:
            code = refused.code
        if not code:
            reassembly.join(part_ids[0], part_ids)
            reassembly.remove([assembly.id])
            self.ended.add(assembly.id)
            return
        # Parts that were acknowledged before fail with a receipt; the current ones are refused.
        reassembly.drop([assembly.id], Status.FAILED, code, [submit.id for submit in current])
        self.ended.add(assembly.id)
        for submit in current:
            submit.code = code


def _first_of(submit: Submit, new: Sequence[Submit]) -> Submit | None:
    """Return the submit that this one repeats, by its fingerprint, or by its part and octets."""
    parsed = submit.parsed
    for other in new:
        if parsed.fingerprint is not None and other.parsed.fingerprint == parsed.fingerprint:
            return other
        same = other.parsed.part == parsed.part and other.parsed.content == parsed.content
        if parsed.part is not None and same:
            return other
    return None


def _draft(parsed: ParsedSubmit, text: str, message_id: UUID | None) -> Draft:
    reference = "" if parsed.reference is None else str(parsed.reference)
    return Draft(parsed.to, text, parsed.sender, reference, id=message_id)


def code_of(outcome: Accepted | Refusal | InsufficientCredits) -> str:
    """Return the code of a refusal, or "" if it was accepted."""
    if isinstance(outcome, InsufficientCredits):
        return "INSUFFICIENT_CREDITS"
    if isinstance(outcome, Accepted):
        return ""
    problem = outcome.problems[0]
    return "EMPTY_MESSAGE" if problem.reason is SendingReason.EMPTY else problem.code
