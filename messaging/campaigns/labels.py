"""Labels of a campaign's states on pages, and the next page from each."""

from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from messaging.models import Campaign
from messaging.models.campaign_states import State

LABELS: Final[dict[str, Promise]] = {
    State.DRAFT: _("Draft"),
    State.CHECKING: _("Checking"),
    State.READY: _("Ready"),
    State.SCHEDULED: _("Scheduled"),
    State.RUNNING: _("Sending"),
    State.PAUSED: _("Paused"),
    State.DELIVERING: _("Delivering"),
    State.FINISHED: _("Finished"),
    State.CANCELING: _("Canceling"),
    State.CANCELED: _("Canceled"),
}
TONES: Final[dict[str, str]] = {
    State.CHECKING: "moving",
    State.RUNNING: "moving",
    State.DELIVERING: "moving",
    State.CANCELING: "moving",
    State.PAUSED: "late",
    State.FINISHED: "good",
}

PAUSED: Final[dict[str, tuple[Promise, Promise]]] = {
    Campaign.Pause.MEMBER: (
        _("Somebody paused this campaign."),
        _("What was handed over before goes on. Resume it to send the rest."),
    ),
    Campaign.Pause.CREDITS: (
        _("The credits did not suffice, so the campaign is paused."),
        _("Nobody was written to twice or left out. Top up, then resume it."),
    ),
    Campaign.Pause.SUSPENDED: (
        _("The organization is suspended, so the campaign is paused."),
        _("Please contact support. Once the organization is active again, resume it."),
    ),
    Campaign.Pause.SENDER: (
        _("The sender ID is not approved any more, so the campaign is paused."),
        _("Ask support why it was revoked. Once it is approved again, resume the campaign."),
    ),
}
"""The reason of a pause, and the action that resumes the campaign."""


def next_step(campaign: Campaign) -> str:
    """Return the name of the campaign's next page."""
    if campaign.state == State.DRAFT:
        if campaign.columns and campaign.number_column is None:
            return "campaign_columns"
        return "campaign_text"
    if campaign.state in (State.CHECKING, State.READY):
        return "campaign_check"
    return "campaign"
