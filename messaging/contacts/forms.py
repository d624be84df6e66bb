"""The forms of contacts, contact lists, and the suppression list."""

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from django import forms
from django.conf import settings
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import Organization
from imissive.core.problems import sentence
from messaging.contacts.contacts import (
    MAX_NAME,
    MAX_VALUE,
    MOST_FIELDS,
    check_room,
    contacts_of,
)
from messaging.contacts.imports import MOST_ROWS, Layout, Pieces, is_variable
from messaging.contacts.suppressions import MAX_REASON
from messaging.importing import encodings, workbook_files
from messaging.importing.forms import FileForm
from messaging.importing.reasons import FileReason, NotUsable
from messaging.models import Contact, ContactList
from messaging.numbers import e164
from messaging.numbers.written import written_numbers

MAX_UPLOAD = 10 * 1024 * 1024
MAX_PASTED = 1_000_000
_CHUNK = 256 * 1024


class UploadField(forms.FileField):
    """A CSV, XLSX or text file, whatever its name; a workbook is converted to CSV."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("label", gettext_lazy("CSV or XLSX file"))
        super().__init__(required=False, **options)

    def clean(self, data: Any, initial: Any = None) -> Any:
        upload = super().clean(data, initial)
        if upload is None:
            return None
        if (upload.size or 0) > MAX_UPLOAD:
            most = MAX_UPLOAD // 1024**2
            raise forms.ValidationError(sentence(FileReason.TOO_LARGE.problem(most=most)))
        try:
            upload = workbook_files.as_csv(upload, MOST_ROWS, MAX_UPLOAD)
        except NotUsable as error:
            raise forms.ValidationError(sentence(error.problem)) from None
        kind = encodings.foreign_kind(next(iter(upload.chunks(_CHUNK)), b""))
        if kind is not None:
            raise forms.ValidationError(sentence(kind.problem()))
        return upload


class PastedOrUploaded(forms.Form):
    """A form for pasted text or a file."""

    upload = UploadField()

    def pieces(self, pasted: str) -> Pieces:
        """Return a function that yields the bytes of the file, or else of the pasted text."""
        upload = self.cleaned_data.get("upload")
        if upload is None:
            return lambda: [pasted.encode()]
        return lambda: upload.chunks(_CHUNK)

    def need_one(self, field: str) -> None:
        """Add an error to the field if it is empty and no file was chosen."""
        given = self.cleaned_data.get(field, "").strip() or self.cleaned_data.get("upload")
        if not given and not self.errors:
            self.add_error(field, _("Paste something, or choose a file."))


class ContactForm(forms.Form):
    number = forms.CharField(
        label=gettext_lazy("Number"),
        max_length=64,
        widget=forms.TextInput(
            attrs={"dir": "ltr", "placeholder": "+966501234567", "autocomplete": "off"}
        ),
    )
    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=MAX_NAME,
        required=False,
        widget=forms.TextInput(attrs={"dir": "auto", "autocomplete": "off"}),
    )
    fields_text = forms.CharField(
        label=gettext_lazy("More, for variables"),
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 3, "dir": "auto", "placeholder": "city: Riyadh"}),
        help_text=gettext_lazy("One a line, such as city: Riyadh, for {city} in a text."),
    )
    lists = forms.MultipleChoiceField(
        label=gettext_lazy("Lists"), required=False, widget=forms.CheckboxSelectMultiple
    )

    def __init__(
        self,
        organization: Organization,
        lists: QuerySet[ContactList],
        data: Any = None,
        contact: Contact | None = None,
        initial: dict[str, Any] | None = None,
    ) -> None:
        self.organization, self.contact, self.contact_lists = organization, contact, list(lists)
        if contact is not None:
            fields_text = "\n".join(f"{name}: {value}" for name, value in contact.fields.items())
            list_ids = set(contact.entries.values_list("contact_list_id", flat=True))
            initial = {
                "number": contact.number,
                "name": contact.name,
                "fields_text": fields_text,
                "lists": [
                    each.public_id for each in self.contact_lists if each.id in set(list_ids)
                ],
            }
        super().__init__(data, initial=initial)
        field = self.fields["lists"]
        assert isinstance(field, forms.MultipleChoiceField)  # noqa: S101 - as declared above
        field.choices = [(each.public_id, each.name) for each in self.contact_lists]
        if not self.contact_lists:
            del self.fields["lists"]

    def clean_number(self) -> str:
        try:
            number = e164.parse(self.cleaned_data["number"], self.organization.default_country).e164
        except e164.InvalidNumber as error:
            raise forms.ValidationError(sentence(error.problem())) from None
        others = contacts_of(self.organization).filter(number=number)
        if self.contact is not None:
            others = others.exclude(pk=self.contact.pk)
        if others.exists():
            raise forms.ValidationError(_("There is a contact with that number already."))
        if self.contact is None:
            try:
                check_room(self.organization, more=1)
            except NotUsable as error:
                raise forms.ValidationError(sentence(error.problem)) from None
        return number

    def clean_fields_text(self) -> dict[str, str]:
        values: dict[str, str] = {}
        for line in self.cleaned_data["fields_text"].splitlines():
            if not line.strip():
                continue
            name, colon, value = (part.strip() for part in line.partition(":"))
            if not colon or not is_variable(name):
                wrong = _("Write a name, a colon and a value: %(line)s")
                raise forms.ValidationError(wrong, params={"line": line[:60]})
            if len(value) > MAX_VALUE:
                raise forms.ValidationError(
                    _("The value of %(name)s is too long.") % {"name": name}
                )
            values[name] = value
        if len(values) > MOST_FIELDS:
            raise forms.ValidationError(_("At most %(most)s of these.") % {"most": MOST_FIELDS})
        return values

    def is_saved_already(self) -> bool:
        """Return whether the same new contact exists already, because the form was posted twice."""
        if self.contact is not None or set(self.errors) != {"number"}:
            return False
        with contextlib.suppress(e164.InvalidNumber):
            same = contacts_of(self.organization).filter(
                number=e164.parse(
                    self.data.get("number", ""), self.organization.default_country
                ).e164,
                name=self.cleaned_data["name"],
                fields=self.cleaned_data["fields_text"],
            )
            return same.exists()
        return False

    def chosen_lists(self) -> list[ContactList]:
        chosen = set(self.cleaned_data.get("lists") or ())
        return [each for each in self.contact_lists if each.public_id in chosen]


class ListForm(forms.Form):
    name = forms.CharField(
        label=gettext_lazy("Name of the list"),
        max_length=80,
        widget=forms.TextInput(attrs={"dir": "auto", "autocomplete": "off"}),
    )

    def __init__(
        self, organization: Organization, data: Any = None, contact_list: ContactList | None = None
    ) -> None:
        self.organization, self.contact_list = organization, contact_list
        super().__init__(data, initial={"name": contact_list.name} if contact_list else None)

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        others = ContactList.objects.filter(organization=self.organization, name__iexact=name)
        if self.contact_list is not None:
            others = others.exclude(pk=self.contact_list.pk)
        if others.exists():
            raise forms.ValidationError(_("There is a list of that name already."))
        return name


class ImportForm(PastedOrUploaded):
    """The contacts; the next step asks for their format."""

    pasted = forms.CharField(
        label=gettext_lazy("Contacts"),
        required=False,
        max_length=MAX_PASTED,
        widget=forms.Textarea(
            attrs={"rows": 6, "dir": "auto", "placeholder": "number,name,city\n+966501234567,Sara,"}
        ),
        help_text=gettext_lazy(
            "Paste them, or choose a file. The first row names the columns; all but number and name"
            " become variables. Existing contacts are updated."
        ),
    )
    field_order = ["pasted", "upload"]

    def clean(self) -> dict[str, Any]:
        self.need_one("pasted")
        return self.cleaned_data


class ImportColumnsForm(FileForm):
    """The format of the contacts, and the list to add them to."""

    name_column = forms.TypedChoiceField(
        label=gettext_lazy("Column with the names"), required=False, coerce=int, empty_value=None
    )
    contact_list = forms.ChoiceField(label=gettext_lazy("Put them on"), required=False)
    new_list = forms.CharField(
        label=gettext_lazy("Or on a new list"),
        required=False,
        max_length=80,
        widget=forms.TextInput(attrs={"dir": "auto", "autocomplete": "off"}),
    )

    def __init__(
        self,
        organization: Organization,
        lists: Iterable[ContactList],
        layout: Layout,
        data: Any = None,
        **now: object,
    ) -> None:
        self.organization, self.contact_lists = organization, list(lists)
        self._layout, self._country = layout, str(now.get("country", ""))
        super().__init__(
            layout.columns,
            layout.shape,
            data,
            number_column=layout.number_column,
            name_column=layout.name_column,
            **now,
        )
        self.choose("name_column", _("None"), list(enumerate(layout.columns)))
        known = [(each.public_id, each.name) for each in self.contact_lists]
        self.choose("contact_list", _("no list"), known)

    @property
    def layout(self) -> Layout:
        """The layout by the form's valid fields."""
        if not self.is_bound:
            return self._layout
        self.is_valid()
        columns = {"number_column": None, "name_column": None} | {
            name: self.cleaned_data[name]
            for name in ("number_column", "name_column")
            if name in self.cleaned_data
        }
        return replace(self._layout, **columns)

    @property
    def chosen_country(self) -> str:
        """The country of numbers without a code."""
        if not self.is_bound:
            return self._country
        self.is_valid()
        return str(self.cleaned_data.get("country", ""))

    def chosen_list(self) -> ContactList | None:
        """Return the list to add them to, created if it has a new name; None for no list."""
        name = self.cleaned_data["new_list"]
        if name:
            lists = ContactList.objects.filter(organization=self.organization)
            existing = lists.filter(name__iexact=name).first()
            return existing or lists.create(organization=self.organization, name=name)
        chosen = self.cleaned_data["contact_list"]
        return next((each for each in self.contact_lists if each.public_id == chosen), None)


class SuppressForm(PastedOrUploaded):
    numbers = forms.CharField(
        label=gettext_lazy("Numbers"),
        required=False,
        max_length=MAX_PASTED,
        widget=forms.Textarea(
            attrs={"rows": 3, "dir": "ltr", "spellcheck": "false", "placeholder": "+966501234567"}
        ),
        help_text=gettext_lazy("One a line, or with commas between, with the country code."),
    )
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=MAX_REASON,
        widget=forms.TextInput(attrs={"dir": "auto", "placeholder": gettext_lazy("Replied STOP")}),
    )
    field_order = ["numbers", "upload", "reason"]

    def __init__(self, organization: Organization, data: Any = None, uploads: Any = None) -> None:
        super().__init__(data, uploads)
        self.organization = organization

    def clean(self) -> dict[str, Any]:
        self.need_one("numbers")
        return self.cleaned_data

    def written(self) -> list[str]:
        most = settings.BULK_MAX_MESSAGES
        return written_numbers(
            self.cleaned_data["numbers"], self.organization.default_country, most
        )
