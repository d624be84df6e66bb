"""The organization's rate limits for messages that are sent from pages."""

from accounts.api import rate_limits
from accounts.api.rate_limits import LimitClass, Limits
from accounts.models import Organization


def spend(organization: Organization, count: int) -> None:
    """Count that many messages against the organization's limits, as the API does.

    Raises ApiError where they are more than may be sent now.
    """
    limit_class = LimitClass.SEND if count == 1 else LimitClass.BULK
    allowed = Limits(
        organization.send_per_minute, organization.bulk_per_minute, organization.calls_per_minute
    ).of(limit_class)
    usage = rate_limits.take(organization.id, limit_class, allowed, count)
    if usage.wait_seconds:
        raise rate_limits.refusal(usage, count)
