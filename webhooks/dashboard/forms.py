"""Forms of the webhooks' pages."""

from typing import Any

from django import forms
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.ui.single_use_forms import SingleUseForm
from imissive.core import ids
from imissive.core.errors import ApiError
from imissive.core.problems import sentence
from webhooks.dashboard.labels import FILTERS, MEANINGS
from webhooks.endpoints import endpoints
from webhooks.models import EventType

OVERLAP_HOURS = {"24": 24, "1": 1, "0": 0}


def _event_choices() -> list[tuple[str, SafeString]]:
    shown = '<span><code dir="ltr">{}</code> <span class="soft small">{}</span></span>'
    return [(str(event), format_html(shown, event, MEANINGS[event])) for event in EventType]


class _EventsField(forms.MultipleChoiceField):
    def __init__(self, label: Any, **more: Any) -> None:
        super().__init__(
            label=label,
            required=False,
            widget=forms.CheckboxSelectMultiple,
            # A callable, so that each form has its labels in the active language.
            choices=_event_choices,
            help_text=gettext_lazy("None ticked means all, also those that are added later."),
            **more,
        )


class EndpointForm(SingleUseForm):
    """URL, description and events of an endpoint; `webhooks.endpoints` validates the URL."""

    url = forms.CharField(
        label=gettext_lazy("URL"),
        max_length=2000,
        widget=forms.URLInput(
            attrs={"dir": "ltr", "placeholder": "https://api.example.com/hooks/sms",
                   "autocomplete": "off", "spellcheck": "false"},
        ),
        help_text=gettext_lazy("Where events are posted to: HTTPS, reachable from the internet."),
    )  # fmt: skip
    description = forms.CharField(
        label=gettext_lazy("Description"),
        required=False,
        max_length=200,
        help_text=gettext_lazy("For yourselves, such as “Order service, production”."),
    )
    events = _EventsField(gettext_lazy("Events"))

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"].strip()
        try:
            endpoints.check_url(url)
        except ApiError as refusal:
            raise forms.ValidationError(sentence(refusal.problem)) from None
        return url


class NewEndpointForm(EndpointForm):
    """The same fields and the mode, which never changes."""

    mode = forms.ChoiceField(
        label=gettext_lazy("Events of"),
        initial="live",
        widget=forms.RadioSelect,
        choices=[
            ("live", gettext_lazy("Live messages and codes")),
            ("test", gettext_lazy("Test messages and codes")),
        ],
        help_text=gettext_lazy("This cannot be changed later."),
    )
    field_order = ("mode", "url", "description", "events")


class RotationForm(SingleUseForm):
    """The overlap in which the old secret signs beside the new one."""

    overlap = forms.ChoiceField(
        label=gettext_lazy("The old secret signs too"),
        initial="24",
        choices=[
            ("24", gettext_lazy("for 24 more hours")),
            ("1", gettext_lazy("for one more hour")),
            ("0", gettext_lazy("no longer: it has leaked")),
        ],
    )


class _Moment(forms.DateTimeField):
    """A time in the user's time zone, to the minute."""

    def __init__(self, **more: Any) -> None:
        widget = forms.DateTimeInput(attrs={"type": "datetime-local", "dir": "ltr"},
                                     format="%Y-%m-%dT%H:%M")  # fmt: skip
        super().__init__(widget=widget, **more)


def _zone() -> str:
    return timezone.get_current_timezone_name()


class _PeriodForm(forms.Form):
    """A form with the times `since` and `until`, whose labels name the time zone."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["since"].label = _("From (%(zone)s)") % {"zone": _zone()}
        self.fields["until"].label = _("Until (%(zone)s)") % {"zone": _zone()}


class LogForm(_PeriodForm):
    """The filters of the delivery log."""

    status = forms.ChoiceField(
        label=gettext_lazy("Status"),
        required=False,
        choices=[("", gettext_lazy("Any")), *FILTERS.items()],
    )
    event = forms.ChoiceField(
        label=gettext_lazy("Event"),
        required=False,
        choices=[("", gettext_lazy("Any")), *((str(event), str(event)) for event in EventType)],
    )
    message = forms.CharField(
        label=gettext_lazy("Message id"),
        required=False,
        max_length=64,
        widget=forms.TextInput(
            attrs={"dir": "ltr", "placeholder": "msg_…", "autocomplete": "off",
                   "spellcheck": "false"}
        ),
    )  # fmt: skip
    since = _Moment(required=False)
    until = _Moment(required=False)

    def clean_message(self) -> Any:
        text: str = self.cleaned_data["message"].strip()
        if not text:
            return None
        found = ids.parse_id(ids.MESSAGE, text)
        if found is None:
            raise forms.ValidationError(_("This is no id of a message."))
        return found


class ReplayForm(_PeriodForm, SingleUseForm):
    """The period, status and events of the deliveries to replay."""

    since = _Moment()
    until = _Moment()
    status = forms.ChoiceField(
        label=gettext_lazy("Which"),
        widget=forms.RadioSelect,
        initial="failed",
        choices=[
            ("failed", gettext_lazy("Those given up that have not arrived since")),
            ("all", gettext_lazy("All that have ended, those received too")),
        ],
    )
    events = _EventsField(gettext_lazy("Events"))
    cursor = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        since, until = values.get("since"), values.get("until")
        if since and until and since >= until:
            self.add_error("until", _("This must be later than the beginning."))
        return values


class FeedForm(forms.Form):
    """The filter of the event feed."""

    event = forms.ChoiceField(
        label=gettext_lazy("Event"),
        required=False,
        choices=[("", gettext_lazy("Any")), *((str(event), str(event)) for event in EventType)],
    )
