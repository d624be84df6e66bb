"""Models of organizations' files, stored in the database in chunks."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models.organizations import Organization
from imissive.core import ids


class StoredFile(models.Model):
    """A file that an organization uploaded or may download; see `accounts.ui.stored_files`.

    Files are in the database, because several machines read and write them, and PostgreSQL is the
    only store of durable data.
    """

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="files")
    name = models.CharField(_("name"), max_length=200)
    content_type = models.CharField(_("type"), max_length=100)
    size = models.BigIntegerField(_("size"), help_text=_("In bytes."))
    created_at = models.DateTimeField(_("time"), db_default=models.functions.Now())
    expires_at = models.DateTimeField(
        _("kept until"), null=True, blank=True, help_text=_("Empty: until it is deleted.")
    )

    class Meta:
        verbose_name = _("file")
        indexes = [
            models.Index("expires_at", name="file_expiry", condition=Q(expires_at__isnull=False))
        ]
        constraints = [models.CheckConstraint(condition=Q(size__gte=0), name="file_size")]

    def __str__(self) -> str:
        return self.name


class FileChunk(models.Model):
    """A chunk of a stored file; the chunks in the order of `position` are its content."""

    file = models.ForeignKey(StoredFile, models.CASCADE, related_name="chunks", db_index=False)
    position = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint("file", "position", name="chunk_once")]

    def __str__(self) -> str:
        return f"{self.file_id}/{self.position}"
