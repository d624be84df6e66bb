"""The dashboard's search: what is looked for, what is found, and the members and keys among it.

Each area finds its own things by a function of the type Finder; `imissive.pages.search` puts them
together, as nothing below it may know all areas.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Q
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from accounts.access.page_access import public_id
from accounts.models import ApiKey, Member
from accounts.roles import Action, may
from imissive.core import ids

LONGEST = 100
SHORTEST_NAME = 2
"""Characters of a name that are worth looking for."""
AT_MOST = 5
"""Things of one kind that are shown."""


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that was found: of what kind, what it is called, where its page is.

    `left_to_right`: its title is a number, an id or an address.
    """

    kind: str
    title: str
    url: str
    detail: str | Promise = ""
    left_to_right: bool = False


Finder = Callable[[Member, str], Sequence[Hit]]
"""Finds in one area what a member looks for and may see. The text is stripped and not empty."""


def find_all(member: Member, typed: str, finders: Iterable[Finder]) -> list[Hit]:
    """What all of them find, each page once."""
    text = typed.replace("\0", "").strip()[:LONGEST]
    if not text:
        return []
    found: dict[str, Hit] = {}
    for finder in finders:
        for hit in finder(member, text):
            found.setdefault(hit.url, hit)
    return list(found.values())


def page(member: Member, name: str, *arguments: object, query: str = "") -> str:
    """The address of one of the organization's pages; empty where there is no such page."""
    try:
        url = reverse(name, args=[public_id(member.organization), *arguments])
    except NoReverseMatch:
        return ""
    return f"{url}?{query}" if query else url


def find(member: Member, text: str) -> list[Hit]:
    """API keys by their id, name or visible end, and members by name or address."""
    return [*_keys(member, text), *_members(member, text)]


def _keys(member: Member, text: str) -> list[Hit]:
    if not may(member.role, Action.MANAGE_KEYS):
        return []
    mine = ApiKey.objects.filter(organization=member.organization).order_by("-created_at")
    wanted = ids.parse_id(ids.KEY, text)
    if wanted is not None:
        mine = mine.filter(pk=wanted)
    elif len(text) >= SHORTEST_NAME:
        mine = mine.filter(Q(name__icontains=text) | Q(hint__iexact=text))
    else:
        return []
    url = page(member, "keys")
    return [
        Hit(_("API keys"), key.name, f"{url}#{key.public_id}", key.hint) for key in mine[:AT_MOST]
    ]


def _members(member: Member, text: str) -> list[Hit]:
    if len(text) < SHORTEST_NAME or not may(member.role, Action.SEE_MEMBERS):
        return []
    team = Member.objects.filter(organization=member.organization).select_related("user")
    named = team.filter(Q(user__name__icontains=text) | Q(user__email__istartswith=text))
    url = page(member, "team")
    return [
        Hit(_("Team"), each.user.get_full_name(), f"{url}#member-{each.pk}", each.user.email)
        for each in named.order_by("user__email")[:AT_MOST]
    ]
