"""Usage rollups by the hour. `messaging.usage.rollups` keeps them; `usage.usage` reads them."""

from django.db import models

from accounts.models import Organization


class UsageSum(models.Model):
    """Messages of one hour that have come to an end, alike in status, sender and country.

    Without tests. `credits`: micro-credits charged, less what came back.
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
    """A message of an hour that was summed, which had not come to an end and is in no sum."""

    # No constraint: it is about the message, and must not be in its way.
    message_id = models.UUIDField(primary_key=True)
    organization = models.ForeignKey(Organization, models.CASCADE, db_index=False)
    hour = models.DateTimeField()

    class Meta:
        indexes = [models.Index("organization", "hour", name="usage_open_by_hour")]

    def __str__(self) -> str:
        return str(self.message_id)


class UsageMark(models.Model):
    """Up to when an organization's hours are summed."""

    organization = models.OneToOneField(Organization, models.CASCADE, primary_key=True)
    upto = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.organization_id} {self.upto}"
