"""The team's page: change roles, remove members, leave; at least one owner always remains."""

import threading

import pytest
from django.test import Client

from accounts.access.page_access import public_id
from accounts.members import team
from accounts.models import AuditEntry, Member, User
from accounts.roles import Role
from tests.support.factories import Customer, World, in_threads
from tests.support.people import PLAIN_STATIC, browser, member


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


@pytest.fixture
def boss(customer: Customer) -> User:
    return member(customer.organization)


@pytest.fixture
def owner(boss: User) -> Client:
    return browser(boss)


def _team(customer: Customer, path: str = "") -> str:
    return f"/dashboard/{public_id(customer.organization)}/team/{path}"


def _id(user: User) -> int:
    return Member.objects.get(user=user).pk


def _role(user: User) -> str | None:
    found = Member.objects.filter(user=user).first()
    return found.role if found else None


def _set_role(client: Client, customer: Customer, user: User, role: str) -> str:
    url = _team(customer, f"members/{_id(user)}/role/")
    return client.post(url, {"role": role}, follow=True).content.decode()


def test_the_page_lists_the_members(owner: Client, customer: Customer, outsider: Customer) -> None:
    mate, stranger = member(customer.organization, Role.FINANCE), member(outsider.organization)
    page = owner.get(_team(customer)).content.decode()
    assert mate.email in page
    assert stranger.email not in page
    reader = browser(mate).get(_team(customer)).content.decode()
    assert mate.email in reader
    for acting in ("<select", "Invite somebody", "/remove/"):
        assert acting in page
        assert acting not in reader


def test_changing_a_role(owner: Client, customer: Customer, boss: User) -> None:
    mate = member(customer.organization, Role.VIEWER)
    assert "is Developer now" in _set_role(owner, customer, mate, "developer")
    assert _role(mate) == Role.DEVELOPER
    entry = AuditEntry.objects.get(organization=customer.organization)
    assert (entry.action, entry.actor, entry.target) == ("member.role_changed", boss, mate.email)
    assert entry.detail == {"from": "viewer", "to": "developer"}
    assert entry.address == "127.0.0.1"
    _set_role(owner, customer, mate, "developer")
    assert AuditEntry.objects.filter(organization=customer.organization).count() == 1


@pytest.mark.parametrize("role", ["", "emperor", "OWNER"])
def test_roles_that_do_not_exist(owner: Client, customer: Customer, role: str) -> None:
    mate = member(customer.organization, Role.VIEWER)
    assert "no such role" in _set_role(owner, customer, mate, role)
    assert _role(mate) == Role.VIEWER


def test_the_last_owner_stays(owner: Client, customer: Customer, boss: User) -> None:
    assert "needs an owner" in _set_role(owner, customer, boss, "viewer")
    for path in ("leave/", f"members/{_id(boss)}/remove/"):
        page = owner.post(_team(customer, path), follow=True).content.decode()
        assert "needs an owner" in page
    assert _role(boss) == Role.OWNER
    heir = member(customer.organization, Role.ADMIN)
    _set_role(owner, customer, heir, "owner")
    response = owner.post(_team(customer, "leave/"))
    assert (response.status_code, _role(boss)) == (302, None)
    assert owner.get(_team(customer)).status_code == 404


def test_admins_do_not_touch_owners(customer: Customer, boss: User) -> None:
    one = member(customer.organization, Role.ADMIN)
    client = browser(one)
    member(customer.organization, Role.OWNER)
    assert "Only an owner" in _set_role(client, customer, boss, "viewer")
    assert "Only an owner" in _set_role(client, customer, one, "owner")
    url = _team(customer, f"members/{_id(boss)}/remove/")
    assert "Only an owner" in client.post(url, follow=True).content.decode()
    assert (_role(boss), _role(one)) == (Role.OWNER, Role.ADMIN)
    mate = member(customer.organization, Role.VIEWER)
    _set_role(client, customer, mate, "admin")
    assert _role(mate) == Role.ADMIN


def test_removing(owner: Client, customer: Customer) -> None:
    mate = member(customer.organization, Role.DEVELOPER)
    theirs = browser(mate)
    url = _team(customer, f"members/{_id(mate)}/remove/")
    assert "lose access at once" in owner.get(url).content.decode()
    assert _role(mate) == Role.DEVELOPER
    assert theirs.get(_team(customer)).status_code == 200
    assert "not a member any more" in owner.post(url, follow=True).content.decode()
    assert theirs.get(_team(customer)).status_code == 404
    assert owner.post(url).status_code == 404
    entry = AuditEntry.objects.get(organization=customer.organization)
    assert (entry.action, entry.target) == ("member.removed", mate.email)


def test_leaving(customer: Customer, boss: User) -> None:
    mate = member(customer.organization, Role.VIEWER)
    client = browser(mate)
    assert "lose access" in client.get(_team(customer, "leave/")).content.decode()
    page = client.post(_team(customer, "leave/"), follow=True).content.decode()
    assert "You have left" in page
    assert "You belong to no organization yet" in page
    assert AuditEntry.objects.get(organization=customer.organization).action == "member.left"


def test_members_of_another_organization_are_not_found(
    owner: Client, customer: Customer, outsider: Customer
) -> None:
    stranger = member(outsider.organization)
    for act in ("role", "remove"):
        url = _team(customer, f"members/{_id(stranger)}/{act}/")
        assert owner.post(url, {"role": "viewer"}).status_code == 404
    assert _role(stranger) == Role.OWNER


def test_a_permission_that_was_lost_meanwhile(customer: Customer, boss: User) -> None:
    """The role may change between loading the member and performing the action."""
    one, mate = member(customer.organization, Role.ADMIN), member(customer.organization)
    stale = Member.objects.select_related("organization", "user").get(user=one)
    Member.objects.filter(user=one).update(role=Role.VIEWER)
    with pytest.raises(team.NotAllowed, match="does not allow"):
        team.remove(stale, _id(mate))
    Member.objects.filter(user=one).delete()
    with pytest.raises(team.NotAllowed, match="not a member"):
        team.remove(stale, _id(mate))


# ---------------------------------------------------------------- two owners leave at the same time


def _two_owners(world: World) -> tuple[Customer, list[User]]:
    customer = world.customer()
    return customer, [member(customer.organization) for _ in range(2)]


def _forget(customer: Customer) -> None:
    Member.objects.filter(organization=customer.organization).delete()


def test_two_owners_leave_at_once(committed_world: World) -> None:
    customer, owners = _two_owners(committed_world)
    clients = [browser(user) for user in owners]
    try:
        in_threads([lambda each=each: each.post(_team(customer, "leave/")) for each in clients])  # type: ignore[misc]
        left = Member.objects.filter(organization=customer.organization, role=Role.OWNER)
        assert left.count() == 1
    finally:
        _forget(customer)


def test_two_owners_demote_each_other_at_once(committed_world: World) -> None:
    customer, owners = _two_owners(committed_world)
    one, two = owners
    urls = [_team(customer, f"members/{_id(user)}/role/") for user in (two, one)]
    clients = [browser(one), browser(two)]
    try:
        in_threads(
            [
                lambda client=client, url=url: client.post(url, {"role": "viewer"})  # type: ignore[misc]
                for client, url in zip(clients, urls, strict=True)
            ]
        )
        left = Member.objects.filter(organization=customer.organization, role=Role.OWNER)
        assert left.count() == 1
    finally:
        _forget(customer)


def test_without_the_lock_nobody_would_be_left(
    committed_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race is real: both check at the same time, and each sees the other owner."""
    customer, owners = _two_owners(committed_world)
    both_looked = threading.Barrier(2)
    check = team._check_another_owner

    def slowly(member: Member) -> None:
        check(member)
        both_looked.wait(10)

    def unlocked(member: Member) -> Member:
        return Member.objects.select_related("organization", "user").get(pk=member.pk)

    monkeypatch.setattr(team, "_check_another_owner", slowly)
    monkeypatch.setattr(team, "_locked", unlocked)
    mine = list(Member.objects.filter(user__in=owners))
    in_threads([lambda each=each: team.leave(each) for each in mine])  # type: ignore[misc]
    assert not Member.objects.filter(organization=customer.organization).exists()
