"""People: the address that they log in with."""

from allauth.account.models import EmailAddress

from accounts.models import User


def vouch_for_address(user: User) -> None:
    """Let the user's address count as verified, as when an operator typed it in.

    Without a verified address allauth lets nobody in. Older addresses of the user are dropped.
    """
    EmailAddress.objects.filter(user=user).exclude(email=user.email).delete()
    EmailAddress.objects.update_or_create(
        user=user, email=user.email, defaults={"verified": True, "primary": True}
    )
