"""Problems are data: why something is refused, as a reason with its parameters.

Logic compares reasons and nothing else. A sentence is made at the edge only (a response of the API,
a page, a mail, a file), in English or in the reader's language, so that another wording changes no
behaviour. Each room keeps its reasons in its own `reasons.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, Self

from django.utils.functional import Promise
from django.utils.translation import get_language_bidi, gettext, override

Parameter = str | int | Promise
"""A value that a sentence names; a Promise is a label in the reader's language, as of a status."""

_ISOLATE, _END_ISOLATE = "\u2068", "\u2069"
_NONE: Final[Mapping[str, Parameter]] = {}


class Reason(Enum):
    """Base of the reasons of a room. The database keeps a reason by its name.

    A member is the contract's code, the sentence in English (marked by `gettext_noop`, so that the
    catalogue has it) and the names of its parameters, each of which a problem has to give.
    """

    code: str
    text: str
    parameters: frozenset[str]

    def __new__(cls, code: str, text: str, *parameters: str) -> Self:
        member = object.__new__(cls)
        # Reasons with the same code are not the same, which Enum would think of equal values.
        member._value_ = len(cls.__members__)
        member.code, member.text, member.parameters = code, text, frozenset(parameters)
        return member

    @classmethod
    def named(cls, name: str) -> "Problem | None":
        """Return the problem with the reason of that name, as it is kept; None for an empty one."""
        return cls[name].problem() if name else None

    def problem(self, field: str | None = None, /, **parameters: Parameter) -> "Problem":
        """Return the problem with that reason, found in that field of what was asked."""
        if parameters.keys() != self.parameters:
            raise TypeError(f"{self}: {set(parameters)} given, {set(self.parameters)} wanted")
        return Problem(self, field, parameters or _NONE, self.code)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something is refused: the reason and its parameters, the contract's code, and the field,
    parameter or header at fault."""

    reason: Reason
    field: str | None
    parameters: Mapping[str, Parameter]
    code: str

    def at(self, field: str | None, *, code: str | None = None) -> "Problem":
        """Return the same problem as another call names it: by its own field, and its own code."""
        return replace(self, field=field, code=code or self.code)

    @property
    def kind(self) -> tuple[Reason, tuple[tuple[str, Parameter], ...]]:
        """What two problems have in common that read the same, whatever the field."""
        return self.reason, tuple(sorted(self.parameters.items()))


def english(problem: Problem) -> str:
    """Return the problem's sentence for the API, which speaks English."""
    if not problem.parameters:
        return problem.reason.text
    with override("en"):
        return problem.reason.text % {
            name: _shown(value) for name, value in problem.parameters.items()
        }


def sentence(problem: Problem) -> str:
    """Return the problem's sentence in the language of the reader."""
    text = gettext(problem.reason.text)
    if not problem.parameters:
        return text
    shown = {name: _shown(value) for name, value in problem.parameters.items()}
    if get_language_bidi():
        # A name in Latin letters would turn the order of what stands beside it.
        shown = {name: f"{_ISOLATE}{value}{_END_ISOLATE}" for name, value in shown.items()}
    return text % shown


def _shown(value: Parameter) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
