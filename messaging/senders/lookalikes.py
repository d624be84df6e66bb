"""Sender IDs that a reader could take for one another. Pure but for `lookalikes_of`.

A name is reduced to what the eye keeps of it: letters that look alike become one, and case,
accents, spaces and punctuation go. Names that are then the same look the same; names that then
differ in a letter or two, or of which one holds the other, look near.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from messaging.models import SenderId

MOST: Final = 20
_SHORTEST_NEAR, _SHORTEST_FAR = 4, 8
"""From how many characters on one, and two, of them may differ."""

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
    """Another organization's approved sender ID. `same`: the eye cannot tell them apart."""

    sender: SenderId
    same: bool


def skeleton(name: str) -> str:
    """What the eye keeps of a name."""
    if name.isascii():
        return _joined(_PLAIN.sub("", name.casefold().translate(_ALIKE)))
    # Digits first, whatever script they are of: compatibility forms would not change Arabic ones.
    digits = "".join(
        str(unicodedata.digit(c)) if c.isdigit() and not c.isascii() else c for c in name
    )
    plain = unicodedata.normalize("NFKD", digits.casefold().translate(_ALIKE))
    kept = "".join(c for c in plain if c.isalnum()).translate(_ALIKE)
    return _joined(kept)


def _joined(kept: str) -> str:
    for pair, one in _PAIRS:
        kept = kept.replace(pair, one)
    return kept


def likeness(name: str, other: str) -> str:
    """`same`, `near`, or nothing."""
    return _likeness(_core(name), _core(other))


def _core(name: str) -> str:
    """The skeleton without the ending that marks what is promotional."""
    folded = name.casefold().rstrip()
    return skeleton(name[: -len("-AD")] if folded.endswith("-ad") and len(folded) > 3 else name)


def _likeness(one: str, two: str) -> str:
    if not one or not two:
        return ""
    if one == two:
        return "same"
    short, long = sorted((one, two), key=len)
    if len(short) < _SHORTEST_NEAR:
        return ""
    if short in long:
        return "near"
    allowed = 2 if len(short) >= _SHORTEST_FAR else 1
    # Each change brings two characters at most that the other has not: most names end here.
    if len(long) - len(short) > allowed or len(set(one) ^ set(two)) > 2 * allowed:
        return ""
    return "near" if _apart(one, two) <= allowed else ""


def _apart(one: str, two: str) -> int:
    """How many characters have to be put in, left out, changed or swapped with their neighbour."""
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
    """Other organizations' approved sender IDs that look like this one, the closest first."""
    mine = _core(sender.name)
    approved = SenderId.objects.filter(status=SenderId.Status.APPROVED)
    others = approved.exclude(organization=sender.organization_id).select_related("organization")
    found = [
        Lookalike(other, same=kind == "same")
        for other in others.order_by("name", "id").iterator(2000)
        if (kind := _likeness(mine, _core(other.name)))
    ]
    return sorted(found, key=lambda each: not each.same)[:MOST]
