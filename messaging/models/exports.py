"""The message log as a file: who asked for it, how far it is, and where it is."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, StoredFile, User
from imissive.core import ids


class Export(models.Model):
    """A part of the log that is written to a file in steps, newest first.

    Each step commits its piece of the file together with `position`, the last message in it (or the
    last that was looked at): who takes the work up after a crash goes on from there. The step's
    lock of the row keeps two from writing at once.
    """

    class Status(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        CANCELED = "canceled", _("Canceled")

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="exports", db_index=False
    )
    requested_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    # The filters as the log's address has them, and what they mean to the list.
    query = models.TextField(blank=True, default="")
    narrowed = models.JSONField(default=dict)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.WAITING)
    total = models.PositiveIntegerField(null=True, blank=True)
    written = models.PositiveIntegerField(default=0)
    position = models.UUIDField(null=True, blank=True)
    file = models.ForeignKey(
        StoredFile, models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    # Steps that broke, one after the other; see `messaging.log.exports`.
    failures = models.PositiveSmallIntegerField(default=0)
    # When the next step is due, while there is one to come.
    due_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=models.functions.Now())
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("export")
        indexes = [
            models.Index(F("organization"), F("id").desc(), name="export_of_organization"),
            models.Index("due_at", name="export_due", condition=Q(due_at__isnull=False)),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["waiting", "running"], due_at__isnull=False)
                | Q(status__in=["done", "failed", "canceled"], due_at=None),
                name="export_due_while_open",
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return ids.public_id(ids.EXPORT, self.id)

    @property
    def is_open(self) -> bool:
        """Whether there is more to be written."""
        return self.due_at is not None
