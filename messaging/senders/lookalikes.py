"""Look-alike sender IDs, which a reader could mistake for each other. Pure except `lookalikes_of`.

A name is reduced to its skeleton: letters that look alike become one, and case, accents, spaces and
punctuation are removed. Names with the same skeleton look the same. Names whose skeletons differ in
a letter or two, or of which one contains the other, look near.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from messaging.models import SenderId

MAX_LOOKALIKES: Final = 20
_ONE_EDIT_LENGTH, _TWO_EDITS_LENGTH = 4, 8
"""The least lengths of skeletons that may differ in one character, and in two."""

_PLAIN: Final = re.compile("[^a-z0-9]")
_PAIRS: Final = (("rn", "m"), ("vv", "w"))
_ALIKE: Final = str.maketrans(
    {
        **dict.fromkeys("0Θθ", "o"),
        **dict.fromkeys("1i|!", "l"),
        **dict.fromkeys("5$", "s"),
        **dict.fromkeys("8ß", "b"),
        **dict.fromkeys("3ΣσΞξ", "e"),
        **dict.fromkeys("4@Λλ", "a"),
        **dict.fromkeys("2", "z"),
        **dict.fromkeys("أإآٱ", "ا"),
        **dict.fromkeys("ىئ", "ي"),
        "ة": "ه",
        "ؤ": "و",
        "ک": "ك",
        "ی": "ي",
        "ـ": "",
    }
)


@dataclass(frozen=True, slots=True)
class Lookalike:
    """Another organization's approved sender ID. `same`: both have the same skeleton."""

    sender: SenderId
    same: bool


def skeleton(name: str) -> str:
    """Return the skeleton of a name, as in the confusables of UTS #39."""
    if name.isascii():
        return _merge_pairs(_PLAIN.sub("", name.casefold().translate(_ALIKE)))
    # Digits of any script first: compatibility forms would not change Arabic ones.
    digits = "".join(
        str(unicodedata.digit(c)) if c.isdigit() and not c.isascii() else c for c in name
    )
    plain = unicodedata.normalize("NFKD", digits.casefold().translate(_ALIKE))
    return _merge_pairs("".join(c for c in plain if c.isalnum()).translate(_ALIKE))


def _merge_pairs(text: str) -> str:
    for pair, one in _PAIRS:
        text = text.replace(pair, one)
    return text


def likeness(name: str, other: str) -> str:
    """Return how alike two names look: "same", "near", or an empty text."""
    return _likeness(_core(name), _core(other))


def _core(name: str) -> str:
    """Return the skeleton without the suffix of promotional sender IDs."""
    folded = name.casefold().rstrip()
    return skeleton(name[: -len("-AD")] if folded.endswith("-ad") and len(folded) > 3 else name)


def _likeness(one: str, two: str) -> str:
    if not one or not two:
        return ""
    if one == two:
        return "same"
    short, long = sorted((one, two), key=len)
    if len(short) < _ONE_EDIT_LENGTH:
        return ""
    if short in long:
        return "near"
    allowed = 2 if len(short) >= _TWO_EDITS_LENGTH else 1
    # Each edit adds at most two characters that the other name does not have. Most names are
    # decided here, without the edit distance.
    if len(long) - len(short) > allowed or len(set(one) ^ set(two)) > 2 * allowed:
        return ""
    return "near" if _edit_distance(one, two) <= allowed else ""


def _edit_distance(one: str, two: str) -> int:
    """Return the Damerau-Levenshtein distance: insertions, deletions, changes, adjacent swaps."""
    before: list[int] = []
    last = list(range(len(two) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(two, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == two[j - 2] and one[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]


def lookalikes_of(sender: SenderId) -> list[Lookalike]:
    """Return other organizations' approved sender IDs that look like this one, closest first.

    At most MAX_LOOKALIKES.
    """
    mine = _core(sender.name)
    approved = SenderId.objects.filter(status=SenderId.Status.APPROVED)
    others = approved.exclude(organization=sender.organization_id).select_related("organization")
    found = [
        Lookalike(other, same=kind == "same")
        for other in others.order_by("name", "id").iterator(2000)
        if (kind := _likeness(mine, _core(other.name)))
    ]
    return sorted(found, key=lambda each: not each.same)[:MAX_LOOKALIKES]
