"""Models of customers' SMPP accounts, of SMPP server processes, and of live and past binds."""

from typing import Final

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q, Value
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization
from imissive.core import ids
from imissive.core.countries import country_of_code

MAX_SYSTEM_ID: Final = 15  # SMPP 3.4, 4.1.1: 16 octets with the terminating NUL


class SmppAccount(models.Model):
    """The credentials, limits and SMPP dialect of a customer's account.

    `networks` is its IP allow-list. `throughput` is in submits per second over all binds, 0 for
    unlimited.
    """

    class ReceiptFormat(models.TextChoices):
        BOTH = "both", _("Text and TLVs")
        TEXT = "text", _("Text only")
        TLV = "tlv", _("TLVs only")

    class IdFormat(models.TextChoices):
        PUBLIC = "public", _("As the API writes it (msg_…)")
        UUID = "uuid", _("UUID")
        HEX = "hex", _("Hexadecimal, 32 digits")
        DECIMAL = "decimal", _("Decimal, up to 39 digits")

    class DefaultCoding(models.TextChoices):
        GSM = "gsm", _("GSM default alphabet, one septet an octet")
        PACKED = "packed", _("GSM default alphabet, packed")
        LATIN_1 = "latin1", _("Latin-1")
        UTF_8 = "utf8", _("UTF-8")

    class AsciiCoding(models.TextChoices):
        ASCII = "ascii", _("ASCII, as the specification says")
        GSM = "gsm", _("GSM default alphabet, one septet an octet")

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    organization = models.ForeignKey(
        Organization, models.PROTECT, related_name="smpp_accounts", verbose_name=_("organization")
    )
    name = models.CharField(_("name"), max_length=80, help_text=_("For people."))
    system_id = models.CharField(
        _("system_id"),
        max_length=MAX_SYSTEM_ID,
        unique=True,
        validators=[RegexValidator(r"^[!-~]{1,15}$", _("1 to 15 visible ASCII characters."))],
    )
    enabled = models.BooleanField(
        _("enabled"), default=True, help_text=_("Off: its binds are unbound and none is let in.")
    )
    test = models.BooleanField(
        _("test"), default=False, help_text=_("Its messages go to the simulator and cost nothing.")
    )

    # Argon2 hashes, empty until a password is created. The previous one is valid until
    # `previous_until`.
    password_hash = models.CharField(max_length=200, editable=False, default="")
    previous_hash = models.CharField(max_length=200, editable=False, blank=True, default="")
    previous_until = models.DateTimeField(
        _("previous password good until"), null=True, blank=True, editable=False
    )
    password_changed_at = models.DateTimeField(
        _("password made"), null=True, blank=True, editable=False
    )

    networks = ArrayField(
        models.CharField(max_length=43),
        default=list,
        blank=True,
        verbose_name=_("addresses"),
        help_text=_("Addresses and networks it may bind from; none listed means everywhere."),
    )
    tls_only = models.BooleanField(
        _("TLS only"), default=False, help_text=_("Refused on the port without TLS.")
    )
    max_binds = models.PositiveSmallIntegerField(
        _("binds"),
        default=4,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text=_("At most so many at once, over all servers."),
    )
    throughput = models.PositiveIntegerField(
        _("throughput"), default=0, help_text=_("Submits a second over all binds; 0 is unlimited.")
    )
    window = models.PositiveSmallIntegerField(
        _("window"),
        default=100,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text=_("Unanswered submits on one bind; reading stops beyond."),
    )

    receipt_format = models.CharField(
        _("receipts"), max_length=4, choices=ReceiptFormat.choices, default=ReceiptFormat.BOTH
    )
    receipt_window = models.PositiveSmallIntegerField(
        _("receipt window"),
        default=50,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text=_("Unanswered deliver_sm on one bind."),
    )
    receipt_hours = models.PositiveSmallIntegerField(
        _("receipts kept"),
        default=72,
        validators=[MinValueValidator(1), MaxValueValidator(720)],
        help_text=_("Hours that a receipt waits for a bind."),
    )
    id_format = models.CharField(
        _("message ids"), max_length=7, choices=IdFormat.choices, default=IdFormat.HEX
    )
    default_coding = models.CharField(
        _("data_coding 0"),
        max_length=6,
        choices=DefaultCoding.choices,
        default=DefaultCoding.GSM,
        help_text=_("What its texts with data_coding 0 are written in."),
    )
    ascii_coding = models.CharField(
        _("data_coding 1"),
        max_length=6,
        choices=AsciiCoding.choices,
        default=AsciiCoding.ASCII,
        db_default=AsciiCoding.ASCII,
        help_text=_("What its texts with data_coding 1 are written in."),
    )
    country_code = models.CharField(
        _("country code"),
        max_length=3,
        blank=True,
        default="",
        validators=[RegexValidator(r"^[1-9]\d{0,2}$", _("1 to 3 digits."))],
        help_text=_(
            "Of national destinations (TON 2, or TON 0 without a code). Empty: the organization's"
            " default country."
        ),
    )
    may_be_urgent = models.BooleanField(
        _("may be urgent"),
        default=False,
        help_text=_("priority_flag 1 to 3 goes before bulk traffic."),
    )
    references_once = models.BooleanField(
        _("user_message_reference once"),
        default=False,
        help_text=_("The same reference and message within a day is accepted once."),
    )
    statuses = models.JSONField(
        _("statuses"),
        default=dict,
        blank=True,
        help_text=_("Other statuses for refusals, such as {“INSUFFICIENT_CREDITS”: 1030}."),
    )

    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    last_bind_at = models.DateTimeField(_("last bind"), null=True, blank=True, editable=False)
    last_bind_address = models.GenericIPAddressField(
        _("last bind from"), null=True, blank=True, editable=False
    )

    class Meta:
        verbose_name = _("SMPP account")
        verbose_name_plural = _("SMPP accounts")
        constraints = [
            models.CheckConstraint(
                condition=Q(max_binds__gte=1, window__gte=1, receipt_window__gte=1),
                name="smpp_account_bounds",
            )
        ]

    def __str__(self) -> str:
        return self.system_id

    @property
    def home(self) -> str:
        """Return the country of its national numbers (ISO 3166); empty where there is none."""
        return country_of_code(self.country_code) or self.organization.default_country


class SmppServer(models.Model):
    """An SMPP server process. Its binds and leases count as lost LEASE_SECONDS after `seen_at`."""

    LEASE_SECONDS = 15

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    name = models.CharField(_("server"), max_length=100)
    started_at = models.DateTimeField(_("started"))
    seen_at = models.DateTimeField(_("seen"))

    class Meta:
        verbose_name = _("SMPP server")
        verbose_name_plural = _("SMPP servers")

    def __str__(self) -> str:
        return self.name


class SmppSession(models.Model):
    """A customer's live bind. Its counters start when it was bound.

    `pace` is in submits per second.
    """

    class Kind(models.TextChoices):
        TRANSMITTER = "tx", _("Transmitter")
        RECEIVER = "rx", _("Receiver")
        TRANSCEIVER = "trx", _("Transceiver")

    id = models.UUIDField(primary_key=True, default=ids.new_uuid, editable=False)
    account = models.ForeignKey(
        SmppAccount, models.CASCADE, related_name="sessions", verbose_name=_("SMPP account")
    )
    server = models.ForeignKey(
        SmppServer, models.CASCADE, related_name="sessions", verbose_name=_("SMPP server")
    )
    kind = models.CharField(_("kind"), max_length=3, choices=Kind.choices)
    address = models.GenericIPAddressField(_("address"))
    port = models.PositiveIntegerField(_("port"))
    tls = models.BooleanField(_("TLS"), default=False)
    interface_version = models.PositiveSmallIntegerField(_("interface_version"))
    system_type = models.CharField(_("system_type"), max_length=12, blank=True, default="")
    bound_at = models.DateTimeField(_("bound"))
    reported_at = models.DateTimeField(_("reported"))
    submits = models.PositiveBigIntegerField(_("submits"), default=0)
    refused = models.PositiveBigIntegerField(_("refused"), default=0)
    throttled = models.PositiveBigIntegerField(_("throttled"), default=0)
    receipts = models.PositiveBigIntegerField(_("receipts"), default=0)
    pending = models.PositiveIntegerField(
        _("window in use"), default=0, help_text=_("Submits that wait for their answer.")
    )
    outstanding = models.PositiveIntegerField(
        _("receipts under way"), default=0, help_text=_("deliver_sm without an answer.")
    )
    pace = models.FloatField(_("submits a second"), default=0)
    heard_at = models.DateTimeField(_("last heard of"), null=True)
    # The latest PDUs, oldest first, as console.py writes them, with texts and numbers masked.
    pdus = models.JSONField(_("last PDUs"), default=list)
    errors = models.JSONField(
        _("last errors"), default=list, db_default=Value([], models.JSONField())
    )
    protocol_errors = models.PositiveBigIntegerField(
        _("protocol errors"),
        default=0,
        db_default=0,
        help_text=_("What of the peer's could not be read, or is not allowed."),
    )
    end_asked_at = models.DateTimeField(_("told to end"), null=True)

    class Meta:
        verbose_name = _("SMPP bind")
        verbose_name_plural = _("SMPP binds")
        ordering = [F("bound_at").desc()]

    def __str__(self) -> str:
        return f"{self.account} {self.kind} {self.address}:{self.port}"


class SmppHappening(models.Model):
    """An event of an account's binds: bound, refused or ended. The latest of each are kept."""

    class What(models.TextChoices):
        BOUND = "bound", _("Bound")
        REFUSED = "refused", _("Refused")
        ENDED = "ended", _("Ended")

    id = models.BigAutoField(primary_key=True)
    account = models.ForeignKey(SmppAccount, models.CASCADE, db_index=False)
    at = models.DateTimeField(_("time"))
    what = models.CharField(_("what"), max_length=7, choices=What.choices)
    kind = models.CharField(_("kind"), max_length=3, choices=SmppSession.Kind.choices)
    address = models.GenericIPAddressField(_("address"))
    status = models.CharField(_("status"), max_length=40, blank=True, default="")
    reason = models.CharField(_("reason"), max_length=120, blank=True, default="")

    class Meta:
        verbose_name = _("SMPP bind, past")
        indexes = [models.Index("account", F("id").desc(), name="smpp_happening_latest")]

    def __str__(self) -> str:
        return f"{self.account} {self.what} {self.at}"
