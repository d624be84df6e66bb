"""Invitations to an organization: create, send by email, accept, revoke.

An invitation is for one email address. The link in the mail holds a token, whose possession proves
that the person reads mail to that address. It is accepted by an account whose verified address is
the same, or by a new account with that address.
"""

import secrets
from datetime import timedelta
from smtplib import SMTPException

import structlog
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.audit import trail
from accounts.keys.api_keys import digest
from accounts.members.people import has_address
from accounts.members.team import NotAllowed, locked_member
from accounts.models import AuditEntry, Invitation, Member, Organization, User
from accounts.roles import Role
from imissive.core import clock

log = structlog.get_logger(__name__)

LIFETIME = timedelta(days=7)
OPEN_AT_MOST = 50
MAILS_A_DAY = 100
BETWEEN_MAILS = timedelta(minutes=1)
_TOKEN_BYTES = 32
_SESSION = "invitation"


def invite(by: Member, email: str, role: str, address: str = "") -> bool:
    """Invite an email address to `by`'s organization; return whether the mail was sent.

    `address` is the IP address of `by`, for the audit log. Raises NotAllowed, with a text for
    people, where the email address is a member's or invited already, where `by` may not assign that
    role, and where a limit is exceeded.
    """
    email = email.strip().lower()
    token = _new_token()
    with transaction.atomic():
        by = locked_member(by)
        if role == Role.OWNER and by.role != Role.OWNER:
            raise NotAllowed(_("Only an owner can make someone an owner."))
        if Member.objects.filter(organization=by.organization, user__email=email).exists():
            raise NotAllowed(_("That person is a member already."))
        _check_limits(by.organization)
        now = clock.now()
        mine = Invitation.objects.filter(organization=by.organization, email=email)
        mine.filter(expires_at__lte=now).delete()
        if mine.exists():
            raise NotAllowed(_("That person is invited already. Send the invitation again below."))
        invitation = Invitation.objects.create(
            organization=by.organization,
            email=email,
            role=role,
            digest=digest(token),
            invited_by=by.user,
            sent_at=now,
            expires_at=now + LIFETIME,
        )
        _record("member.invited", by, invitation, address)
    return _send(invitation, by.user, token)


def resend(by: Member, invitation_id: int, address: str = "") -> bool:
    """Send the invitation again with a new link; return whether the mail was sent.

    The old link stops working. Raises Invitation.DoesNotExist, and NotAllowed within BETWEEN_MAILS
    of the last mail.
    """
    token = _new_token()
    with transaction.atomic():
        by = locked_member(by)
        invitation = _of(by, invitation_id)
        now = clock.now()
        if invitation.sent_at > now - BETWEEN_MAILS:
            raise NotAllowed(_("It was sent a moment ago. Wait a minute before you send it again."))
        _check_limits(by.organization, more=0)
        invitation.digest = digest(token)
        invitation.sent_at, invitation.expires_at = now, now + LIFETIME
        invitation.save(update_fields=["digest", "sent_at", "expires_at"])
        _record("invitation.sent_again", by, invitation, address)
    return _send(invitation, by.user, token)


@transaction.atomic
def revoke(by: Member, invitation_id: int, address: str = "") -> Invitation:
    """Revoke the invitation and return it. Raises Invitation.DoesNotExist."""
    by = locked_member(by)
    invitation = _of(by, invitation_id)
    _record("invitation.revoked", by, invitation, address)
    Invitation.objects.filter(pk=invitation.pk).delete()
    return invitation


def find(token: str) -> Invitation | None:
    """Return the open invitation with that token; None if unknown, used, revoked or expired."""
    return _open(digest(token))


def _open(token_digest: bytes) -> Invitation | None:
    found = Invitation.objects.select_related("organization", "invited_by")
    invitation = found.filter(digest=token_digest, expires_at__gt=clock.now()).first()
    if invitation is None or invitation.organization.status == Organization.Status.CLOSED:
        return None
    return invitation


@transaction.atomic
def accept(invitation: Invitation, user: User, address: str = "") -> Member:
    """Make the user a member with the invitation's role; the invitation is used up.

    An existing member keeps their role. Raises NotAllowed where the email address is not the
    user's, and where the invitation was used or revoked meanwhile.
    """
    if not has_address(user, invitation.email):
        raise NotAllowed(_("This invitation is for another address."))
    # The lock of every change of members, so that an organization that is being closed gets no new
    # member.
    Organization.objects.select_for_update(no_key=True).get(pk=invitation.organization_id)
    locked = Invitation.objects.select_for_update().filter(pk=invitation.pk)
    current = locked.filter(digest=invitation.digest, expires_at__gt=clock.now()).first()
    if current is None:
        raise NotAllowed(_("This invitation was used or revoked."))
    member, _created = Member.objects.get_or_create(
        organization_id=current.organization_id, user=user, defaults={"role": current.role}
    )
    current.delete()
    trail.record(
        "member.joined",
        actor=user,
        organization=invitation.organization,
        target=user.email,
        detail={"role": member.role},
        address=address,
    )
    return member


def keep(request: HttpRequest, token: str) -> None:
    """Keep the token's digest in the session, so that the sign-up belongs to the invitation."""
    request.session[_SESSION] = digest(token).hex()


def pending(request: HttpRequest) -> Invitation | None:
    """Return the open invitation whose digest `keep` put into the session, or None."""
    kept = request.session.get(_SESSION)
    return _open(bytes.fromhex(kept)) if kept else None


def forget(request: HttpRequest) -> None:
    """Remove the invitation from the session."""
    request.session.pop(_SESSION, None)


def _new_token() -> str:
    return secrets.token_urlsafe(_TOKEN_BYTES)


def _of(by: Member, invitation_id: int) -> Invitation:
    return Invitation.objects.select_for_update().get(
        pk=invitation_id, organization=by.organization
    )


def _check_limits(organization: Organization, *, more: int = 1) -> None:
    """Raise NotAllowed where the organization has too many open invitations or mails today.

    An organization that anybody can open must not become a way to send spam.
    """
    open_now = Invitation.objects.filter(organization=organization).count()
    if open_now + more > OPEN_AT_MOST:
        raise NotAllowed(_("There are too many open invitations. Revoke some first."))
    day = AuditEntry.objects.filter(
        organization=organization,
        action__in=["member.invited", "invitation.sent_again"],
        created_at__gt=clock.now() - timedelta(days=1),
    )
    if day.count() >= MAILS_A_DAY:
        raise NotAllowed(_("That is enough invitations for today. Try again tomorrow."))


def _record(action: str, by: Member, invitation: Invitation, address: str) -> None:
    trail.record(
        action,
        actor=by.user,
        organization=by.organization,
        target=invitation.email,
        detail={"role": invitation.role},
        address=address,
    )


def _send(invitation: Invitation, by: User, token: str) -> bool:
    """Send the link in the inviting person's language; return False if the mail server refused.

    The mail is sent within the request, because a task's arguments must not hold the token.
    """
    with translation.override(by.language):
        context = {
            "invitation": invitation,
            "inviter": by.get_full_name(),
            "organization": invitation.organization.name,
            "url": settings.PUBLIC_URL + reverse("invitation", args=[token]),
            "days": LIFETIME.days,
            "language": translation.get_language(),
            "right_to_left": translation.get_language_bidi(),
        }
        subject = gettext("%(inviter)s invites you to %(organization)s on imissive") % context
        mail = EmailMultiAlternatives(
            " ".join(subject.split()),
            render_to_string("accounts/members/invitation.txt", context).strip() + "\n",
            to=[invitation.email],
        )
        mail.attach_alternative(
            render_to_string("accounts/members/invitation.html", context), "text/html"
        )
    try:
        mail.send()
    except (SMTPException, OSError) as error:
        log.warning("invitation_not_sent", error=type(error).__name__)
        return False
    return True
