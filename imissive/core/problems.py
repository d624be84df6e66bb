"""Problems are data: a refusal is a reason with parameters; its sentence is formatted at the edge.

Logic only compares reasons. The sentence is formatted where a person or a program reads it (a
response of the API, a page, a mail, a file), in English or in the reader's language, so that
another wording never changes behaviour. Each room has its reasons in its own `reasons.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, Self

from django.utils.functional import Promise
from django.utils.translation import get_language_bidi, gettext, override

Parameter = str | int | Promise
"""A value in a sentence; a Promise is a lazily translated label, such as a status."""

_ISOLATE, _END_ISOLATE = "\u2068", "\u2069"
_NONE: Final[Mapping[str, Parameter]] = {}


class Reason(Enum):
    """Base class of each room's reasons. The database stores a reason as its name.

    A member is the API's error code, the English sentence (marked with `gettext_noop` for the
    catalogue) and the names of its parameters, all of which a problem must give.
    """

    code: str
    text: str
    parameters: frozenset[str]

    def __new__(cls, code: str, text: str, *parameters: str) -> Self:
        member = object.__new__(cls)
        # A unique value, because Enum makes members with equal values aliases of each other.
        member._value_ = len(cls.__members__)
        member.code, member.text, member.parameters = code, text, frozenset(parameters)
        return member

    @classmethod
    def named(cls, name: str) -> "Problem | None":
        """Return the problem of the reason with that stored name; None for an empty name."""
        return cls[name].problem() if name else None

    def problem(self, field: str | None = None, /, **parameters: Parameter) -> "Problem":
        """Return the problem with this reason, at that field of the request.

        Raises TypeError unless exactly the reason's parameters are given.
        """
        if parameters.keys() != self.parameters:
            raise TypeError(f"{self}: {set(parameters)} given, {set(self.parameters)} wanted")
        return Problem(self, field, parameters or _NONE, self.code)


@dataclass(frozen=True, slots=True)
class Problem:
    """A reason with its parameters, the API's error code, and the field, parameter or header at
    fault."""

    reason: Reason
    field: str | None
    parameters: Mapping[str, Parameter]
    code: str

    def at(self, field: str | None, *, code: str | None = None) -> "Problem":
        """Return the same problem with the field and code of another API call."""
        return replace(self, field=field, code=code or self.code)

    @property
    def kind(self) -> tuple[Reason, tuple[tuple[str, Parameter], ...]]:
        """The key that problems with the same sentence share; the field is not part of it."""
        return self.reason, tuple(sorted(self.parameters.items()))


def english(problem: Problem) -> str:
    """Return the problem's English sentence, for the API."""
    if not problem.parameters:
        return problem.reason.text
    with override("en"):
        return problem.reason.text % {
            name: _shown(value) for name, value in problem.parameters.items()
        }


def sentence(problem: Problem) -> str:
    """Return the problem's sentence in the active language."""
    text = gettext(problem.reason.text)
    if not problem.parameters:
        return text
    shown = {name: _shown(value) for name, value in problem.parameters.items()}
    if get_language_bidi():
        # Without isolation, a name in Latin letters would reorder the text next to it.
        shown = {name: f"{_ISOLATE}{value}{_END_ISOLATE}" for name, value in shown.items()}
    return text % shown


def _shown(value: Parameter) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
