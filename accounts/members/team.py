"""Team members and their roles: change a role, remove a member, leave the organization.

Locking rule: every change of an organization's members locks the organization's row first. Two
owners who leave at the same time are therefore processed one after the other, and the second one
is refused as the last owner.
"""

from django.db import transaction
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.audit import trail
from accounts.models import Member, Organization
from accounts.roles import Action, Role, may


class NotAllowed(Exception):
    """The change is not allowed; `why` is the reason, in a text for people."""

    def __init__(self, why: str | Promise) -> None:
        super().__init__(why)
        self.why = why


def locked_member(member: Member) -> Member:
    """Return the member as currently stored, and lock the organization against other changes.

    Call it in a transaction. Raises NotAllowed where the member may no longer manage members.
    """
    member = _locked(member)
    if not may(member.role, Action.MANAGE_MEMBERS):
        raise NotAllowed(_("Your role does not allow it any more."))
    return member


@transaction.atomic
def change_role(by: Member, member_id: int, role: str, address: str = "") -> Member:
    """Change a member's role and return the member. Only owners may add or change owners.

    Raises Member.DoesNotExist, and NotAllowed where `by` lacks the permission or no owner would
    remain.
    """
    by = locked_member(by)
    member = Member.objects.select_related("user").get(pk=member_id, organization=by.organization)
    if member.role == role:
        return member
    if Role.OWNER in (member.role, role) and by.role != Role.OWNER:
        raise NotAllowed(_("Only an owner can make someone an owner, or change one."))
    if member.role == Role.OWNER:
        _check_another_owner(member)
    old, member.role = member.role, role
    member.save(update_fields=["role"])
    _record("member.role_changed", by, member, address, {"from": old, "to": role})
    return member


@transaction.atomic
def remove(by: Member, member_id: int, address: str = "") -> Member:
    """Remove a member from the organization and return it. Raises as `change_role`."""
    by = locked_member(by)
    member = Member.objects.select_related("user").get(pk=member_id, organization=by.organization)
    if member.role == Role.OWNER:
        if by.role != Role.OWNER:
            raise NotAllowed(_("Only an owner can remove an owner."))
        _check_another_owner(member)
    _record("member.removed", by, member, address, {"role": member.role})
    Member.objects.filter(pk=member.pk).delete()
    return member


@transaction.atomic
def leave(member: Member, address: str = "") -> None:
    """Remove the member at their own request. Raises NotAllowed for the last owner."""
    member = _locked(member)
    if member.role == Role.OWNER:
        _check_another_owner(member)
    _record("member.left", member, member, address, {"role": member.role})
    Member.objects.filter(pk=member.pk).delete()


def _locked(member: Member) -> Member:
    # NO KEY UPDATE: messages and keys of the organization may be inserted meanwhile.
    Organization.objects.select_for_update(no_key=True).get(pk=member.organization_id)
    found = Member.objects.select_related("organization", "user").filter(pk=member.pk).first()
    if found is None:
        raise NotAllowed(_("You are not a member any more."))
    return found


def _check_another_owner(member: Member) -> None:
    others = Member.objects.filter(organization=member.organization_id, role=Role.OWNER)
    if not others.exclude(pk=member.pk).exists():
        raise NotAllowed(_("An organization needs an owner. Make someone else an owner first."))


def _record(action: str, by: Member, member: Member, address: str, detail: dict[str, str]) -> None:
    trail.record(
        action,
        actor=by.user,
        organization=by.organization,
        target=member.user.email,
        detail=detail,
        address=address,
    )
