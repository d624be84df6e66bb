"""People: the address that they log in with, their language, and the organizations they open."""

import re
from datetime import timedelta

from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.audit import trail
from accounts.models import AuditEntry, Member, Organization, User
from accounts.roles import Role

UNPROVED_KEPT = timedelta(days=7)
FORGET_STEP = 500

_LINK = re.compile(r"://|\bwww\.|[<>]", re.IGNORECASE)


def vouch_for_address(user: User) -> None:
    """Let the user's address count as verified, as when an operator typed it in.

    Without a verified address allauth lets nobody in. Older addresses of the user are dropped.
    """
    EmailAddress.objects.filter(user=user).exclude(email=user.email).delete()
    EmailAddress.objects.update_or_create(
        user=user, email=user.email, defaults={"verified": True, "primary": True}
    )


def has_address(user: User, email: str) -> bool:
    """Whether that is an address of the user's which was proved to be theirs."""
    addresses = EmailAddress.objects.filter(user=user, verified=True, email__iexact=email)
    return bool(addresses.exists())


def check_name(name: str) -> None:
    """Refuse a name of a person or an organization that could pass for something else in a mail.

    Names stand in mails to people who did not ask for them. Raises ValidationError.
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
    """An organization with that name and the user as its owner.

    A double click opens one: who owns an open organization of that name already gets that one.
    `address`: where the user is, for the audit log.
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
    """Open the organization that the user asked for at sign-up, if it is still owed.

    Call it once the user's address is proved.
    """
    if user.wanted_organization:
        open_organization(user, user.wanted_organization, address)
        user.wanted_organization = ""
        user.save(update_fields=["wanted_organization"])


def forget_unproved() -> int:
    """Delete accounts that were made a week ago and whose address was never proved; how many.

    FORGET_STEP at most. Nobody was ever in them, so nothing hangs on them; one that the audit log
    names all the same is kept, as the log is.
    """
    proved = EmailAddress.objects.filter(user=OuterRef("pk"), verified=True)
    named = AuditEntry.objects.filter(actor=OuterRef("pk"))
    old = User.objects.filter(
        ~Exists(proved),
        ~Exists(named),
        is_staff=False,
        last_login=None,
        memberships=None,
        date_joined__lt=timezone.now() - UNPROVED_KEPT,
    )
    ids = list(old.values_list("pk", flat=True)[:FORGET_STEP])
    User.objects.filter(pk__in=ids).delete()
    return len(ids)
