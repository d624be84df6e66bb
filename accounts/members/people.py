"""Users: their verified email address, the check of names, and opening an organization."""

import re
from datetime import timedelta

from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext_lazy as _

from accounts.audit import trail
from accounts.models import AuditEntry, Member, Organization, User
from accounts.roles import Role
from imissive.core import clock

UNPROVED_KEPT = timedelta(days=7)
FORGET_STEP = 500

_LINK = re.compile(r"://|\bwww\.|[<>]", re.IGNORECASE)


def vouch_for_address(user: User) -> None:
    """Mark the user's email address as verified, for example when an operator entered it.

    allauth admits nobody without a verified address. The user's other addresses are deleted.
    """
    EmailAddress.objects.filter(user=user).exclude(email=user.email).delete()
    EmailAddress.objects.update_or_create(
        user=user, email=user.email, defaults={"verified": True, "primary": True}
    )


def has_address(user: User, email: str) -> bool:
    """Return whether that is one of the user's verified email addresses, in any case."""
    addresses = EmailAddress.objects.filter(user=user, verified=True, email__iexact=email)
    return bool(addresses.exists())


def check_name(name: str) -> None:
    """Validate the name of a person or an organization: no link, no invisible characters.

    Names appear in mails to people who did not ask for them, so they must not carry a message of
    their own. Raises ValidationError.
    """
    if _LINK.search(name):
        raise ValidationError(_("A name cannot hold a link."))
    if not name.isprintable() and not _printable_but_for_joiners(name):
        raise ValidationError(_("A name cannot hold invisible characters."))


def _printable_but_for_joiners(name: str) -> bool:
    # Persian and Urdu names need the non-joiner, some emoji the joiner.
    return (
        name.replace("\N{ZERO WIDTH NON-JOINER}", "")
        .replace("\N{ZERO WIDTH JOINER}", "")
        .isprintable()
    )


@transaction.atomic
def open_organization(user: User, name: str, address: str = "") -> Organization:
    """Create an organization with that name and with the user as its owner; return it.

    If the user already owns an open organization of that name, return that one instead, so that a
    double click creates only one. `address` is the user's IP address, for the audit log.
    """
    User.objects.select_for_update().get(pk=user.pk)
    owned = Organization.objects.filter(
        name=name, memberships__user=user, memberships__role=Role.OWNER
    )
    organization = owned.exclude(status=Organization.Status.CLOSED).first()
    if organization is None:
        organization = Organization.objects.create(name=name)
        Member.objects.create(organization=organization, user=user, role=Role.OWNER)
        trail.record(
            "organization.opened",
            actor=user,
            organization=organization,
            target=name,
            address=address,
        )
    return organization


@transaction.atomic
def open_wanted_organization(user: User, address: str = "") -> None:
    """Create the organization that the user named at sign-up, unless that was done already.

    Call it only after the user's email address was verified.
    """
    if user.wanted_organization:
        open_organization(user, user.wanted_organization, address)
        user.wanted_organization = ""
        user.save(update_fields=["wanted_organization"])


def forget_unproved() -> int:
    """Delete accounts older than UNPROVED_KEPT whose email address was never verified.

    Returns the number of deleted accounts, at most FORGET_STEP. Nobody has ever logged in to them,
    so nothing refers to them; an account that the audit log names nevertheless is kept.
    """
    proved = EmailAddress.objects.filter(user=OuterRef("pk"), verified=True)
    named = AuditEntry.objects.filter(actor=OuterRef("pk"))
    old = User.objects.filter(
        ~Exists(proved),
        ~Exists(named),
        is_staff=False,
        last_login=None,
        memberships=None,
        date_joined__lt=clock.now() - UNPROVED_KEPT,
    )
    ids = list(old.values_list("pk", flat=True)[:FORGET_STEP])
    User.objects.filter(pk__in=ids).delete()
    return len(ids)
