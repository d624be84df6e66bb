"""The forms of the campaign wizard."""

import uuid
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import Organization, User
from imissive.core import ids
from imissive.core.problems import sentence
from messaging.campaigns import uploads
from messaging.campaigns.uploads import Reading
from messaging.compose.forms import LONGEST, approved_senders
from messaging.compose.schedule_forms import WhenForm
from messaging.importing.forms import FileForm
from messaging.importing.reasons import NotUsable
from messaging.importing.recipients import shape_of, variables_known
from messaging.models import Campaign, ContactList
from messaging.text import variables


class RecipientsForm(forms.Form):
    """The recipients of a campaign: a file, or contact lists."""

    campaign_id = forms.CharField(max_length=40, widget=forms.HiddenInput)
    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=80,
        required=False,
        help_text=gettext_lazy("Only your team sees it. Empty: the file's name."),
    )
    file = forms.FileField(
        label=gettext_lazy("CSV or XLSX file"),
        required=False,
        allow_empty_file=True,
        widget=forms.FileInput(
            attrs={"accept": uploads.ACCEPTED, "data-max-bytes": str(uploads.MAX_BYTES)}
        ),
        help_text=gettext_lazy("One row for each person, up to 100,000 rows and 20 MB."),
    )
    lists = forms.MultipleChoiceField(
        label=gettext_lazy("Or contact lists"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    reading: Reading | None = None

    def __init__(
        self, organization: Organization, data: Any = None, sent_files: Any = None, **more: Any
    ) -> None:
        super().__init__(data, sent_files, **more)
        self.organization = organization
        self.contact_lists = list(organization.contact_lists.order_by("name", "id"))
        field = self.fields["lists"]
        assert isinstance(field, forms.MultipleChoiceField)  # noqa: S101 - as declared above
        field.choices = [(each.public_id, each.name) for each in self.contact_lists]
        if not self.contact_lists:
            del self.fields["lists"]
        fresh = ids.public_id(ids.CAMPAIGN, ids.new_uuid())
        self.initial.setdefault("campaign_id", fresh)

    def clean_campaign_id(self) -> uuid.UUID:
        campaign_id = ids.parse_id(ids.CAMPAIGN, self.cleaned_data["campaign_id"])
        if campaign_id is None:
            raise forms.ValidationError(_("Please begin anew."))
        return campaign_id

    def clean_file(self) -> Any:
        upload = self.cleaned_data["file"]
        if upload:
            try:
                upload = uploads.as_csv(upload)
                self.reading = uploads.evaluate(upload, self.organization.default_country)
            except NotUsable as refusal:
                raise forms.ValidationError(sentence(refusal.problem)) from None
        return upload

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        wanted = set(cleaned.get("lists") or ())
        cleaned["lists"] = [each for each in self.contact_lists if each.public_id in wanted]
        if "file" in cleaned and not cleaned["file"] and not cleaned["lists"]:
            self.add_error("file", _("Choose a CSV or XLSX file."))
        if cleaned.get("file") and cleaned["lists"]:
            self.add_error("lists", _("Choose a file or lists, not both."))
        if not cleaned.get("name"):
            cleaned["name"] = self._default_name(cleaned)
        return cleaned

    def _default_name(self, cleaned: dict[str, Any]) -> str:
        upload, lists = cleaned.get("file"), cleaned.get("lists", [])
        if upload:
            return str(upload.name).rsplit(".", 1)[0][:80] or _("Campaign")
        return ", ".join(each.name for each in lists)[:80] or _("Campaign")

    @property
    def chosen_lists(self) -> list[ContactList]:
        return list(self.cleaned_data["lists"])


class ColumnsForm(FileForm):
    """The file's encoding and delimiter, and the meaning of its columns."""

    reference_column = forms.TypedChoiceField(
        label=gettext_lazy("Column with your reference"),
        required=False,
        coerce=int,
        empty_value=None,
        help_text=gettext_lazy("Such as an order number: it stands with each message."),
    )

    def __init__(self, campaign: Campaign, data: Any = None) -> None:
        super().__init__(
            campaign.columns,
            shape_of(campaign),
            data,
            number_column=campaign.number_column,
            country=campaign.country,
            reference_column=campaign.reference_column,
        )
        self.choose("reference_column", _("None"), list(enumerate(campaign.columns)))


class TextForm(forms.Form):
    """The text and the sender ID."""

    sender = forms.ChoiceField(label=gettext_lazy("From"))
    text = forms.CharField(
        label=gettext_lazy("Text"),
        max_length=LONGEST,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 6, "dir": "auto"}),
    )

    def __init__(
        self, campaign: Campaign, data: Any = None, initial: dict[str, Any] | None = None
    ) -> None:
        senders = approved_senders(campaign.organization)
        saved = {"sender": campaign.sender, "text": campaign.text}
        super().__init__(data, initial={**saved, **(initial or {})})
        self.known = variables_known(campaign)
        self.senders = senders
        field = self.fields["sender"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - as declared above
        field.choices = [(name, name) for name in senders]

    def clean_text(self) -> str:
        # Browsers post CR LF; in a message, a new line is one character.
        text: str = self.cleaned_data["text"].replace("\r\n", "\n")
        if "\0" in text:
            raise forms.ValidationError(_("Null characters are not allowed."))
        unknown = [name for name in variables.variables_of(text) if name not in self.known]
        if unknown:
            error = _("There is no column for %(names)s.")
            names = ", ".join(f"{{{name}}}" for name in unknown[:5])
            raise forms.ValidationError(error % {"names": names})
        return text


class StartForm(WhenForm):
    """The schedule, the rate, and the validity of each message."""

    seen = forms.CharField(max_length=80, widget=forms.HiddenInput)
    per_minute = forms.TypedChoiceField(
        label=gettext_lazy("Pace"),
        required=False,
        coerce=int,
        empty_value=None,
        choices=[
            ("", gettext_lazy("As fast as possible")),
            ("60", gettext_lazy("60 messages a minute")),
            ("300", gettext_lazy("300 messages a minute")),
            ("1000", gettext_lazy("1,000 messages a minute")),
            ("5000", gettext_lazy("5,000 messages a minute")),
        ],
        help_text=gettext_lazy("Slower, if those who answer shall not all call at once."),
    )
    uncovered = forms.BooleanField(
        label=gettext_lazy("Begin all the same: it pauses when the credits are used up"),
        required=True,
    )

    def __init__(self, user: User, data: Any = None, *, covered: bool, seen: str) -> None:
        super().__init__(user, data, {"seen": seen})
        if covered:
            del self.fields["uncovered"]
