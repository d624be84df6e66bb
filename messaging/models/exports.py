"""The model of exports: the message log, filtered, as a CSV file that is written in steps."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, StoredFile, User
from imissive.core import ids


class Export(models.Model):
    """An export of the message log, newest first, written to a file in steps.

    Each step commits its piece of the file together with `position`, the last message in it (or the
    last one that was read), so that another worker continues from there after a crash. The step's
    row lock prevents two workers from writing at the same time.
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
    # The filters as the log's query string, and as `messaging.log.query` reads them.
    query = models.TextField(blank=True, default="")
    narrowed = models.JSONField(default=dict)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.WAITING)
    total = models.PositiveIntegerField(null=True, blank=True)
    written = models.PositiveIntegerField(default=0)
    position = models.UUIDField(null=True, blank=True)
    file = models.ForeignKey(
        StoredFile, models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    # Failed steps in a row; see `messaging.log.exports`.
    failures = models.PositiveSmallIntegerField(default=0)
    # The time of the next step; null once the export is completed.
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
        """True while the export is not completed."""
        return self.due_at is not None
