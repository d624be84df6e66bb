"""Encoding and decoding of mandatory fields by smpplib.

smpplib's own classes lack five commands, get some limits wrong, overwrite interface_version and
stop at an unknown TLV. Its field engine is sound once the values and the octets have been
checked, so each layout gets its own smpplib command, and smpplib never sees the TLVs.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from smpplib.command import Command, Param
from smpplib.ptypes import ostr

from messaging.smpp.layout import Kind, Layout


@cache
def _command_class(layout: Layout) -> Any:
    params: dict[str, Any] = {}
    for field in layout:
        if field.kind is Kind.INT:
            params[field.name] = Param(type=int, size=1)
        elif field.kind is Kind.MESSAGE:
            params["sm_length"] = Param(type=int, size=1)
            params[field.name] = Param(type=ostr, max=field.limit, len_field="sm_length")
        else:
            params[field.name] = Param(type=str, max=field.limit)
    # smpplib takes a field for a TLV where its name is also a TLV's (message_state).
    namespace = {"params": params, "params_order": tuple(params), "mandatory_fields": tuple(params)}
    return type("LayoutCommand", (Command,), namespace)


def write_fields(layout: Layout, record: object) -> bytes:
    """Return the octets of a record's mandatory fields, which have passed `layout.check`."""
    command = _command_class(layout)("layout", need_sequence=False)
    for field in layout:
        value = getattr(record, field.name)
        setattr(command, field.name, value)
        if field.kind is Kind.MESSAGE:
            command.sm_length = len(value)
    octets: bytes = command.generate_params()
    return octets


def read_fields(layout: Layout, octets: bytes) -> dict[str, Any]:
    """Return the values of mandatory fields, from octets that `layout.measure` has delimited."""
    command = _command_class(layout)("layout", need_sequence=False)
    command.parse_params(octets)
    values: dict[str, Any] = {}
    for field in layout:
        # smpplib stops at the end of the octets, before an empty short_message.
        value = getattr(command, field.name, b"")
        values[field.name] = value.decode("latin-1") if isinstance(value, bytes) else value
        if field.kind is Kind.MESSAGE:
            values[field.name] = value
    return values
