"""What the dashboard's search finds of one-time passwords: the message of one, by its id."""

from accounts.models import Member
from accounts.ui.search import Hit
from imissive.core import ids
from messaging.dashboard.search import message_hit
from messaging.log import pages
from otp.models import Verification


def find(member: Member, text: str) -> list[Hit]:
    """The latest message with that verification's code: its page tells what became of it."""
    wanted = ids.parse_id(ids.OTP, text)
    if wanted is None:
        return []
    mine = Verification.objects.filter(organization=member.organization, id=wanted)
    message_id = mine.values_list("message_id", flat=True).first()
    message = pages.message_of(member.organization, message_id) if message_id else None
    return [message_hit(member, message)] if message else []
