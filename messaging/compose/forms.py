"""The form of compose."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import Organization, User
from imissive.core import ids
from messaging.compose.composer import (
    MOST,
    ComposedMessage,
    Recipients,
    TooMany,
    recipients_of,
)
from messaging.compose.schedule_forms import WhenForm
from messaging.models import ContactList, SenderId, TextTemplate
from messaging.text import variables

LONGEST = 5000
"""Characters of a text: more than ten parts, so that the evaluation reports their number."""
MAX_VALUE = 500
VALUE = "value_"
"""The prefix of the fields that hold the values of variables."""


class ComposeForm(WhenForm):
    """Recipients, sender and text. `messaging.sending.evaluation` checks them at the review."""

    to = forms.CharField(
        label=gettext_lazy("Numbers"),
        required=False,
        widget=forms.Textarea(
            attrs={"rows": 3, "dir": "ltr", "spellcheck": "false", "autocomplete": "off",
                   "placeholder": "+966501234567"}
        ),
        help_text=gettext_lazy("One a line, or with commas between, with the country code."),
    )  # fmt: skip
    lists = forms.MultipleChoiceField(
        label=gettext_lazy("Contact lists"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    kind = forms.ChoiceField(
        label=gettext_lazy("Send"),
        choices=[
            ("live", gettext_lazy("To handsets")),
            ("test", gettext_lazy("As a test: free, reaches no handset")),
        ],
        widget=forms.RadioSelect,
    )
    sender = forms.ChoiceField(label=gettext_lazy("From"), required=False)
    text = forms.CharField(
        label=gettext_lazy("Text"),
        max_length=LONGEST,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 5, "dir": "auto"}),
    )

    def __init__(
        self,
        organization: Organization,
        user: User,
        data: Any = None,
        initial: dict[str, Any] | None = None,
    ) -> None:
        self.organization = organization
        self.contact_lists = list(organization.contact_lists.order_by("name", "id"))
        self.senders = approved_senders(organization)
        self.templates = list(organization.text_templates.order_by("name", "id"))
        defaults = {"kind": "live" if self.senders else "test"}
        super().__init__(user, data, {**defaults, **(initial or {})})
        self._choices("lists", [(each.public_id, each.name) for each in self.contact_lists])
        self._choices("sender", [(name, name) for name in self.senders])
        if not self.contact_lists:
            del self.fields["lists"]
        if not self.senders:
            del self.fields["sender"]

    def _choices(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - as declared above
        field.choices = choices

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        try:
            cleaned["recipients"] = self._recipients()
        except TooMany:
            message = _("At most %(most)s recipients at once. Send a campaign to more.")
            self.add_error("to", message % {"most": f"{MOST:,}"})
        else:
            if not cleaned["recipients"].all and "to" in cleaned:
                self.add_error("to", self._no_recipients())
        return cleaned

    def _no_recipients(self) -> str:
        if self.cleaned_data.get("lists"):
            return _("There is nobody on these lists yet.")
        return _("Name at least one number.")

    def _recipients(self) -> Recipients:
        chosen = set(self.cleaned_data.get("lists") or ())
        lists = [each for each in self.contact_lists if each.public_id in chosen]
        return recipients_of(
            self.organization, self.cleaned_data.get("to") or "", lists, self.values
        )

    @property
    def text_now(self) -> str:
        """The text in the form, valid or not."""
        return str(self["text"].value() or "").replace("\r\n", "\n")

    @property
    def values(self) -> dict[str, str]:
        """The form's values of the text's variables, for recipients without their own."""
        data = self.data if self.is_bound else self.initial
        found = {
            name: str(data.get(VALUE + name, ""))[:MAX_VALUE]
            for name in variables.variables_of(self.text_now)
        }
        return {name: value for name, value in found.items() if value.strip()}

    def clean_text(self) -> str:
        # Browsers post CR LF; in a message a new line is one character.
        text: str = self.cleaned_data["text"].replace("\r\n", "\n")
        return text

    def composed(self) -> ComposedMessage:
        """Return the composed message from the valid fields; complete where the form is valid."""
        cleaned = self.cleaned_data
        validity = cleaned.get("validity")
        return ComposedMessage(
            self.organization,
            cleaned.get("text", ""),
            cleaned.get("recipients", Recipients()),
            cleaned.get("sender") or None,
            cleaned.get("kind") == "test",
            cleaned.get("scheduled_at"),
            timedelta(seconds=validity) if validity else None,
        )


def approved_senders(organization: Organization) -> list[str]:
    """Return the names of the approved sender IDs, the default one first."""
    approved = organization.sender_ids.filter(status=SenderId.Status.APPROVED)
    return list(approved.order_by("-is_default", "name").values_list("name", flat=True))


def template_of(templates: Sequence[TextTemplate], public_id: str) -> TextTemplate | None:
    """Return the template with that public id, or None."""
    template_id = ids.parse_id(ids.TEMPLATE, public_id)
    return next((each for each in templates if each.id == template_id), None)


def list_of(lists: Sequence[ContactList], public_id: str) -> ContactList | None:
    """Return the list with that public id, or None."""
    list_id = ids.parse_id(ids.CONTACT_LIST, public_id)
    return next((each for each in lists if each.id == list_id), None)
