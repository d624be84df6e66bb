"""One message's page, with its timeline and why it failed."""

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from accounts.access import member_page
from accounts.live import live_page
from accounts.models import LedgerEntry, Member
from accounts.roles import Action
from imissive import ids
from messaging import log, timeline
from messaging.models import Message
from messaging.reasons import reason


@require_safe
@member_page(Action.READ_MESSAGES)
def message_page(request: HttpRequest, member: Member, message_id: str) -> HttpResponse:
    message = message_for(member, message_id)
    context = {
        "page": "messages",
        "message": message,
        "reason": reason(message.error_code),
        "refunded": _refunded(message),
        "timeline": timeline.steps_of(message),
        "live": not timeline.is_settled(message),
        "query": "",
    }
    return live_page(request, member, "message", "message_body", context)


def message_for(member: Member, message_id: str) -> Message:
    """The message of the member's organization with that public id. Raises Http404."""
    wanted = ids.parse_id(ids.MESSAGE, message_id)
    message = log.message_of(member.organization, wanted) if wanted else None
    if message is None:
        raise Http404
    return message


def _refunded(message: Message) -> int:
    """What came back to the balance for it, in micro-credits."""
    refund = LedgerEntry.objects.filter(
        organization=message.organization_id, kind=LedgerEntry.Kind.REFUND, reference=message.id
    ).first()
    return refund.amount if refund else 0
