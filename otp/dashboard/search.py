"""Dashboard search of one-time passwords: finds a verification's message by its id."""

from accounts.models import Member
from accounts.ui.search import Hit
from imissive.core import ids
from imissive.core.lookups import row_of
from messaging.dashboard.search import message_hit
from messaging.log import pages
from otp.models import Verification


def find(member: Member, text: str) -> list[Hit]:
    """Return the latest message with the code of the verification with that public id."""
    verification_id = ids.parse_id(ids.OTP, text)
    if verification_id is None:
        return []
    mine = Verification.objects.filter(organization=member.organization, id=verification_id)
    message_id = mine.values_list("message_id", flat=True).first()
    message = row_of(pages.messages_of(member.organization), message_id)
    return [message_hit(member, message)] if message else []
