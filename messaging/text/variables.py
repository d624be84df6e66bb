"""Variables (placeholders) in texts, such as `Hello {name}`. Pure.

A variable is a name in braces: a letter or `_`, then letters, digits, `_` and `-`, of any script.
Anything else in braces is text and stays as it is.
"""

import re
from collections.abc import Mapping
from typing import Final

MAX_NAME: Final = 40
_NAME: Final = rf"[^\W\d][\w-]{{0,{MAX_NAME - 1}}}"
_VARIABLE: Final = re.compile(r"\{(" + _NAME + r")\}")
_WHOLE_NAME: Final = re.compile(_NAME)
_BETWEEN_WORDS: Final = re.compile(r"[\s./]+")
_OUTSIDE: Final = re.compile(r"[^\w-]+")


def variables_of(text: str) -> list[str]:
    """Return the names of the text's variables, each once, in order."""
    return list(dict.fromkeys(_VARIABLE.findall(text)))


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return the text with values in place of its variables; one without a value stays as it is.

    Braces within a value are text.
    """
    return _VARIABLE.sub(lambda found: values.get(found[1], found[0]), text)


def missing(text: str, values: Mapping[str, str]) -> list[str]:
    """Return the text's variables that have no value, or a blank one."""
    return [name for name in variables_of(text) if not values.get(name, "").strip()]


def is_name(name: str) -> bool:
    """Return whether `name` is a valid variable name."""
    return _WHOLE_NAME.fullmatch(name) is not None


def name_of(heading: str) -> str:
    """Return the variable name of a column's heading: `First name` becomes `first_name`.

    Empty where no valid name remains.
    """
    name = _BETWEEN_WORDS.sub("_", heading.strip().lower())
    name = _OUTSIDE.sub("", name).lstrip("-0123456789")[:MAX_NAME]
    return name if is_name(name) else ""
