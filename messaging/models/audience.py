"""Models of an organization's audience: text templates, contacts and contact lists."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization
from imissive.core import ids


class TextTemplate(models.Model):
    """A reusable text with variables such as `{name}`; see messaging.text.variables."""

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="text_templates", db_index=False
    )
    name = models.CharField(_("name"), max_length=80)
    text = models.TextField(_("text"))
    created_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = _("template")
        constraints = [
            models.UniqueConstraint("organization", Lower("name"), name="template_name_once"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def public_id(self) -> str:
        return ids.public_id(ids.TEMPLATE, self.id)


class Contact(models.Model):
    """A contact of an organization: a number, a name, and values for the variables of texts."""

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="contacts", db_index=False
    )
    number = models.CharField(_("number"), max_length=16)
    name = models.CharField(_("name"), max_length=120, blank=True)
    # Values of variables by name; all are text.
    fields = models.JSONField(_("fields"), default=dict, blank=True)
    created_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)

    class Meta:
        verbose_name = _("contact")
        constraints = [
            models.UniqueConstraint("organization", "number", name="contact_once"),
            models.CheckConstraint(
                condition=Q(number__regex=r"^\+[1-9][0-9]{1,14}$"), name="contact_e164"
            ),
        ]
        indexes = [models.Index(F("organization"), F("id").desc(), name="contacts_newest")]

    def __str__(self) -> str:
        return self.name or self.number

    @property
    def public_id(self) -> str:
        return ids.public_id(ids.CONTACT, self.id)


class ContactList(models.Model):
    """A named list of contacts that messages are sent to together."""

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="contact_lists", db_index=False
    )
    name = models.CharField(_("name"), max_length=80)
    created_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)

    class Meta:
        verbose_name = _("contact list")
        constraints = [
            models.UniqueConstraint("organization", Lower("name"), name="contact_list_name_once"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def public_id(self) -> str:
        return ids.public_id(ids.CONTACT_LIST, self.id)


class ListEntry(models.Model):
    """A contact on a list."""

    contact_list = models.ForeignKey(
        ContactList, models.CASCADE, related_name="entries", db_index=False
    )
    contact = models.ForeignKey(Contact, models.CASCADE, related_name="entries")

    class Meta:
        constraints = [
            # Its index is also the order in which a list is read: newest contacts first.
            models.UniqueConstraint("contact_list", "contact", name="list_entry_once"),
        ]

    def __str__(self) -> str:
        return f"{self.contact_list_id} {self.contact_id}"


class Composition(models.Model):
    """The record of a form of the compose page, which sends once: its id is the form's.

    It is written in the transaction that accepts the message or batch. A form that is submitted
    twice, concurrently or after a crash, finds what it sent and sends nothing more.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, db_index=False)
    message_id = models.UUIDField(null=True)
    batch_id = models.UUIDField(null=True)
    created_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)

    class Meta:
        indexes = [models.Index("created_at", name="composition_age")]

    def __str__(self) -> str:
        return str(self.id)
