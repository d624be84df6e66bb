"""Models of hourly usage rollups, which `messaging.usage` writes and reads."""

from django.db import models

from accounts.models import Organization


class UsageSum(models.Model):
    """A rollup: the completed messages of one hour with the same status, sender and country.

    Test messages are not counted. `credits`: micro-credits charged, less refunds.
    """

    pk = models.CompositePrimaryKey("organization_id", "hour", "status", "sender", "country")
    organization = models.ForeignKey(Organization, models.CASCADE, db_index=False)
    hour = models.DateTimeField()
    status = models.CharField(max_length=10)
    sender = models.CharField(max_length=16)
    country = models.CharField(max_length=2)
    messages = models.BigIntegerField()
    parts = models.BigIntegerField()
    credits = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H} {self.status} {self.messages}"


class UsageOpen(models.Model):
    """A message of a rolled-up hour that was not completed then, and is in no rollup."""

    # No constraint, so that a message can be deleted first.
    message_id = models.UUIDField(primary_key=True)
    organization = models.ForeignKey(Organization, models.CASCADE, db_index=False)
    hour = models.DateTimeField()

    class Meta:
        indexes = [models.Index("organization", "hour", name="usage_open_by_hour")]

    def __str__(self) -> str:
        return str(self.message_id)


class UsageMark(models.Model):
    """The time up to which an organization's hours are rolled up."""

    organization = models.OneToOneField(Organization, models.CASCADE, primary_key=True)
    upto = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.organization_id} {self.upto}"
