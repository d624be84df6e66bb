"""Models of traffic from SMPP accounts: submits, reassembly of long texts, the receipt queue."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from imissive.core import ids
from messaging.models.messages import Message
from messaging.models.smpp_accounts import SmppAccount


class SmppAssembly(models.Model):
    """A long text that waits for its missing parts: reassembly.

    `held`: micro-credits that were charged for it in advance.
    """

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    account = models.ForeignKey(SmppAccount, models.CASCADE, db_index=False)
    # Digest of the values that its parts share: addresses, kind of reference, reference, total,
    # coding; and of the bind where another text has the same values.
    key = models.BinaryField(max_length=16)
    total = models.PositiveSmallIntegerField()
    # The session of its first part.
    bind = models.UUIDField(null=True)
    held = models.BigIntegerField(default=0, help_text=_("Micro-credits."))
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint("account", "key", name="smpp_assembly_once")]
        indexes = [models.Index("expires_at", name="smpp_assembly_due")]

    def __str__(self) -> str:
        return str(self.id)


class SmppSubmit(models.Model):
    """One accepted submit. `id` is in its response, and is the message's id for a whole text.

    Addresses are as the customer wrote them, for its receipts. `content` is a part's user data
    until the text is complete.
    """

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    account = models.ForeignKey(SmppAccount, models.CASCADE, db_index=False)
    # No constraint: the message may be deleted first. Null while parts are missing.
    message = models.ForeignKey(
        Message, models.DO_NOTHING, null=True, db_index=False, db_constraint=False
    )
    # The id in its response where it is not its own: submit_multi has one id for all.
    shown_id = models.UUIDField(null=True)
    registered_delivery = models.PositiveSmallIntegerField()
    source_ton = models.PositiveSmallIntegerField()
    source_npi = models.PositiveSmallIntegerField()
    source_addr = models.CharField(max_length=64)
    dest_ton = models.PositiveSmallIntegerField()
    dest_npi = models.PositiveSmallIntegerField()
    dest_addr = models.CharField(max_length=64)
    reference = models.PositiveIntegerField(null=True, help_text="user_message_reference")
    # The coding of a replace_sm's text, since replace_sm has no data_coding.
    data_coding = models.PositiveSmallIntegerField(null=True)
    # Set for as long as a repeated submit is recognized by it.
    fingerprint = models.BinaryField(max_length=16, null=True)
    assembly = models.ForeignKey(
        SmppAssembly, models.SET_NULL, null=True, db_index=False, related_name="parts"
    )
    number = models.PositiveSmallIntegerField(null=True)
    content = models.BinaryField(default=b"")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "account",
                "fingerprint",
                name="smpp_submit_once",
                condition=Q(fingerprint__isnull=False),
            ),
            models.UniqueConstraint(
                "assembly",
                "number",
                name="smpp_part_once",
                condition=Q(assembly__isnull=False),
            ),
        ]
        indexes = [
            models.Index("message", name="smpp_submit_of_message"),
            # By age, to delete fingerprints.
            models.Index("id", name="smpp_submit_known", condition=Q(fingerprint__isnull=False)),
        ]

    def __str__(self) -> str:
        return ids.public_id(ids.MESSAGE, self.id)


class SmppReceipt(models.Model):
    """An entry of the receipt queue, until the customer has acknowledged the receipt.

    A trigger on messages writes it, in the transaction that changes the message's status. `status`
    is the message's; `sent` is an intermediate notification. `lease`: the server process that is
    sending it.
    """

    id = models.BigAutoField(primary_key=True)
    account = models.ForeignKey(SmppAccount, models.CASCADE, db_index=False)
    submit = models.ForeignKey(SmppSubmit, models.CASCADE)
    status = models.CharField(max_length=10)
    error_code = models.CharField(max_length=40, blank=True, default="")
    at = models.DateTimeField()
    due_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    lease = models.UUIDField(null=True)

    class Meta:
        indexes = [
            models.Index("account", "due_at", name="smpp_receipt_due", condition=Q(lease=None)),
            models.Index("lease", name="smpp_receipt_leased", condition=Q(lease__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.submit_id} {self.status}"
