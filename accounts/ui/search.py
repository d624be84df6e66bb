"""Dashboard search: its result type, and the search of API keys and members.

Each app searches its own objects with functions of the type Finder. `imissive.pages.search`
combines them, because no layer below it may import all apps.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Q
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from accounts.models import ApiKey, Member
from accounts.roles import Action, may
from accounts.ui.pages import page_url
from imissive.core import ids

LONGEST = 100
SHORTEST_NAME = 2
"""Minimum number of characters to search names for."""
AT_MOST = 5
"""Maximum number of results of one kind."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A search result: its kind, title, URL and details.

    `left_to_right`: the title is a number, an id or an address.
    """

    kind: str
    title: str
    url: str
    detail: str | Promise = ""
    left_to_right: bool = False


Finder = Callable[[Member, str], Sequence[Hit]]
"""Searches the objects of one area that a member may see. The text is stripped and not empty."""


def find_all(member: Member, typed: str, finders: Iterable[Finder]) -> list[Hit]:
    """Return the results of all finders, without duplicate URLs."""
    text = typed.replace("\0", "").strip()[:LONGEST]
    if not text:
        return []
    found: dict[str, Hit] = {}
    for finder in finders:
        for hit in finder(member, text):
            found.setdefault(hit.url, hit)
    return list(found.values())


def find(member: Member, text: str) -> list[Hit]:
    """Return the API keys with that id, name or hint, and the members with that name or email."""
    return [*_keys(member, text), *_members(member, text)]


def _keys(member: Member, text: str) -> list[Hit]:
    if not may(member.role, Action.MANAGE_KEYS):
        return []
    mine = ApiKey.objects.filter(organization=member.organization).order_by("-created_at")
    key_id = ids.parse_id(ids.KEY, text)
    if key_id is not None:
        mine = mine.filter(pk=key_id)
    elif len(text) >= SHORTEST_NAME:
        mine = mine.filter(Q(name__icontains=text) | Q(hint__iexact=text))
    else:
        return []
    url = page_url(member, "keys")
    return [
        Hit(_("API keys"), key.name, f"{url}#{key.public_id}", key.hint) for key in mine[:AT_MOST]
    ]


def _members(member: Member, text: str) -> list[Hit]:
    if len(text) < SHORTEST_NAME or not may(member.role, Action.SEE_MEMBERS):
        return []
    team = Member.objects.filter(organization=member.organization).select_related("user")
    named = team.filter(Q(user__name__icontains=text) | Q(user__email__istartswith=text))
    url = page_url(member, "team")
    return [
        Hit(_("Team"), each.user.get_full_name(), f"{url}#member-{each.pk}", each.user.email)
        for each in named.order_by("user__email")[:AT_MOST]
    ]
