"""Models of carriers with their binds and traffic, of routes and of prices."""

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import Organization
from imissive.core.crypto import EncryptedTextField

_prefix_validator = RegexValidator(
    r"^\d{0,15}$", _("Digits of E.164 without the plus; empty serves every number.")
)


class Carrier(models.Model):
    """An SMSC that the platform submits to, and its SMPP dialect.

    `throughput` is in submits per second over all binds, 0 for unlimited; `enquire_link_interval`
    and `response_timeout` are in seconds.
    """

    class BindMode(models.TextChoices):
        TRANSCEIVER = "trx", _("Transceiver")
        TRANSMITTER_AND_RECEIVER = "tx_rx", _("Transmitter and receiver")

    class GsmEncoding(models.TextChoices):
        UNPACKED = "unpacked", _("Default alphabet, one septet an octet (data_coding 0)")
        PACKED = "packed", _("Default alphabet, packed (data_coding 0)")
        LATIN1 = "latin1", _("Latin-1 (data_coding 3)")

    class SourceCoding(models.TextChoices):
        ASCII = "ascii", _("ASCII")
        LATIN1 = "latin1", _("Latin-1")
        GSM = "gsm", _("Default alphabet, one septet an octet")

    class IdForm(models.TextChoices):
        AS_IS = "as_is", _("As it is")
        DECIMAL = "decimal", _("Decimal")
        HEX = "hex", _("Hexadecimal")

    slug = models.SlugField(
        _("slug"), unique=True, help_text=_("Names its queues: carrier.<slug>.")
    )
    name = models.CharField(_("name"), max_length=80)
    enabled = models.BooleanField(
        _("enabled"), default=True, help_text=_("A disabled carrier has no worker and no binds.")
    )
    paused = models.BooleanField(
        _("paused"), default=False, help_text=_("Binds stay up; nothing is submitted.")
    )
    draining = models.BooleanField(
        _("draining"),
        default=False,
        help_text=_(
            "Nothing more is submitted; what waits moves along its route, and waits where there is"
            " no other carrier."
        ),
    )
    is_sandbox = models.BooleanField(
        _("sandbox"), default=False, help_text=_("Takes the messages of test keys.")
    )
    host = models.CharField(_("host"), max_length=253)
    port = models.PositiveIntegerField(
        _("port"), default=2775, validators=[MinValueValidator(1), MaxValueValidator(65535)]
    )
    tls = models.BooleanField(_("TLS"), default=False)
    tls_verify = models.BooleanField(_("verify the certificate"), default=True)
    system_id = models.CharField(_("system_id"), max_length=15)
    password = EncryptedTextField(_("password"), blank=True, default="", max_length=8)
    system_type = models.CharField(_("system_type"), max_length=12, blank=True)
    bind_mode = models.CharField(
        _("bind mode"), max_length=6, choices=BindMode.choices, default=BindMode.TRANSCEIVER
    )
    binds = models.PositiveSmallIntegerField(
        _("binds"), default=1, validators=[MinValueValidator(1), MaxValueValidator(64)]
    )
    window = models.PositiveSmallIntegerField(
        _("window"),
        default=50,
        validators=[MinValueValidator(1), MaxValueValidator(2000)],
        help_text=_("Submits under way on one bind, those whose result is not committed included."),
    )
    throughput = models.PositiveIntegerField(
        _("throughput"), default=0, help_text=_("Submits a second over all binds; 0 is unlimited.")
    )
    enquire_link_interval = models.PositiveSmallIntegerField(
        _("enquire_link interval"), default=30, validators=[MinValueValidator(1)]
    )
    response_timeout = models.PositiveSmallIntegerField(
        _("response timeout"), default=30, validators=[MinValueValidator(1)]
    )
    source_ton_alphanumeric = models.PositiveSmallIntegerField(
        _("TON of alphanumeric senders"), default=5
    )
    source_npi_alphanumeric = models.PositiveSmallIntegerField(
        _("NPI of alphanumeric senders"), default=0
    )
    source_ton_numeric = models.PositiveSmallIntegerField(_("TON of numbers as senders"), default=1)
    source_npi_numeric = models.PositiveSmallIntegerField(_("NPI of numbers as senders"), default=1)
    source_ton_short_code = models.PositiveSmallIntegerField(_("TON of short codes"), default=3)
    source_npi_short_code = models.PositiveSmallIntegerField(_("NPI of short codes"), default=0)
    destination_ton = models.PositiveSmallIntegerField(_("TON of destinations"), default=1)
    destination_npi = models.PositiveSmallIntegerField(_("NPI of destinations"), default=1)
    destination_plus = models.BooleanField(
        _("plus of destinations"),
        default=False,
        help_text=_("Write the plus before the number."),
    )
    gsm_encoding = models.CharField(
        _("GSM text"), max_length=10, choices=GsmEncoding.choices, default=GsmEncoding.UNPACKED
    )
    source_coding = models.CharField(
        _("sender IDs"),
        max_length=6,
        choices=SourceCoding.choices,
        default=SourceCoding.LATIN1,
        db_default=SourceCoding.LATIN1,
        help_text=_(
            "What the carrier takes in source_addr. A sender ID that no carrier of a customer's"
            " routes can write is refused when it is requested."
        ),
    )
    submit_id_form = models.CharField(
        _("ids in submit responses"), max_length=8, choices=IdForm.choices, default=IdForm.AS_IS
    )
    receipt_id_form = models.CharField(
        _("ids in receipts"), max_length=8, choices=IdForm.choices, default=IdForm.AS_IS
    )
    receipts_by_data_sm = models.BooleanField(
        _("receipts by data_sm"),
        default=True,
        db_default=True,
        help_text=_("Take receipts that come as data_sm, as from some carriers."),
    )
    receipts_unmarked = models.BooleanField(
        _("receipts with esm_class 0"),
        default=False,
        db_default=False,
        help_text=_(
            "Take texts that only look like receipts. On where the carrier marks none of its"
            " receipts; anybody who can write to your numbers can forge one."
        ),
    )
    receipt_text_first = models.BooleanField(
        _("receipts' text first"),
        default=False,
        db_default=False,
        help_text=_(
            "Take the final status of a receipt's text where its message_state is not final. On"
            " where the carrier always sends ENROUTE there."
        ),
    )
    receipt_words = models.JSONField(
        _("status words"),
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        blank=True,
        help_text=_(
            "What the carrier's own status words mean, such as {“NODLV”: “failed”}: delivered,"
            " failed, expired or enroute. They go before the usual ones, which are known."
        ),
    )
    send_validity = models.BooleanField(
        _("send the validity"),
        default=True,
        help_text=_("Tell the carrier a message's validity_period."),
    )
    service_type = models.CharField(_("service_type"), max_length=5, blank=True)

    class Meta:
        verbose_name = pgettext_lazy("model", "carrier")
        verbose_name_plural = pgettext_lazy("model", "carriers")
        constraints = [
            models.UniqueConstraint(
                "is_sandbox", name="carrier_one_sandbox", condition=Q(is_sandbox=True)
            ),
            models.CheckConstraint(condition=Q(port__gte=1, port__lte=65535), name="carrier_port"),
            models.CheckConstraint(condition=Q(window__gte=1, binds__gte=1), name="carrier_window"),
        ]

    def __str__(self) -> str:
        return self.name


class CarrierBind(models.Model):
    """The status of a bind as its carrier worker reports it.

    It is stale once `updated_at` is older than STALE_AFTER_SECONDS.
    """

    class State(models.TextChoices):
        CONNECTING = "connecting", _("Connecting")
        BOUND = "bound", _("Bound")
        WAITING = "waiting", _("Waiting to reconnect")

    STALE_AFTER_SECONDS = 15

    carrier = models.ForeignKey(
        Carrier, models.CASCADE, related_name="live_binds", verbose_name=_("carrier")
    )
    worker = models.CharField(_("worker"), max_length=80)
    number = models.PositiveSmallIntegerField(_("bind"))
    mode = models.CharField(_("mode"), max_length=3)
    state = models.CharField(_("state"), max_length=10, choices=State.choices)
    since = models.DateTimeField(_("since"))
    in_flight = models.PositiveIntegerField(_("in flight"), default=0)
    submitted = models.BigIntegerField(_("submits"), default=0)
    throttled = models.BigIntegerField(_("throttled"), default=0)
    receipts = models.BigIntegerField(_("receipts"), default=0)
    protocol_errors = models.PositiveBigIntegerField(
        _("protocol errors"),
        default=0,
        db_default=0,
        help_text=_("What of the peer's could not be read, or is not allowed."),
    )
    last_error = models.CharField(_("last error"), max_length=200, blank=True, default="")
    updated_at = models.DateTimeField(_("reported"), default=timezone.now)

    class Meta:
        verbose_name = _("live bind")
        verbose_name_plural = _("live binds")
        constraints = [
            models.UniqueConstraint("carrier", "worker", "number", name="bind_once"),
        ]

    def __str__(self) -> str:
        return f"{self.carrier} #{self.number} {self.state}"


class CarrierWorker(models.Model):
    """A carrier's worker process; its id is the lease under which it holds messages."""

    id = models.UUIDField(primary_key=True)
    carrier = models.ForeignKey(Carrier, models.CASCADE)
    name = models.CharField(max_length=80)
    seen_at = models.DateTimeField()
    # The start of its reports without a gap: recent for one that has just got its database back.
    steady_since = models.DateTimeField()
    died_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class SweepRun(models.Model):
    """One row: the time of the last sweep, and the start of its runs without a gap."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    last_at = models.DateTimeField()
    steady_since = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="sweep_run_once")]

    def __str__(self) -> str:
        return f"{self.last_at}"


class CarrierTraffic(models.Model):
    """A carrier's submit responses (by part) and final receipts in one minute, over all workers."""

    id = models.BigAutoField(primary_key=True)
    carrier = models.ForeignKey(Carrier, models.CASCADE, db_index=False)
    minute = models.DateTimeField()
    accepted = models.BigIntegerField(default=0)
    throttled = models.BigIntegerField(default=0)
    refused = models.BigIntegerField(default=0)
    unanswered = models.BigIntegerField(default=0)
    delivered = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint("carrier", "minute", name="traffic_once")]

    def __str__(self) -> str:
        return f"{self.carrier_id} {self.minute}"


class Route(models.Model):
    """The carriers that serve a prefix, in order; an organization's own route takes precedence."""

    prefix = models.CharField(
        _("prefix"), max_length=15, blank=True, validators=[_prefix_validator]
    )
    organization = models.ForeignKey(
        Organization, models.CASCADE, null=True, blank=True, verbose_name=_("organization")
    )
    enabled = models.BooleanField(_("enabled"), default=True)
    carriers = models.ManyToManyField(Carrier, through="RouteCarrier")

    class Meta:
        verbose_name = _("route")
        verbose_name_plural = _("routes")
        constraints = [
            models.UniqueConstraint(
                "prefix", "organization", name="route_once", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return f"+{self.prefix}" if self.prefix else str(_("every number"))


class RouteCarrier(models.Model):
    """One carrier of a route. Failover follows `position`: the lowest is tried first."""

    route = models.ForeignKey(Route, models.CASCADE, related_name="steps")
    carrier = models.ForeignKey(Carrier, models.PROTECT, verbose_name=_("carrier"))
    position = models.PositiveSmallIntegerField(_("position"), default=0)

    class Meta:
        verbose_name = _("carrier of a route")
        verbose_name_plural = _("carriers of a route")
        ordering = ["position", "id"]
        constraints = [models.UniqueConstraint("route", "carrier", name="route_carrier_once")]

    def __str__(self) -> str:
        return f"{self.route} → {self.carrier}"


class Price(models.Model):
    """The price of one part for a prefix; an organization's own price takes precedence."""

    prefix = models.CharField(
        _("prefix"), max_length=15, blank=True, validators=[_prefix_validator]
    )
    organization = models.ForeignKey(
        Organization, models.CASCADE, null=True, blank=True, verbose_name=_("organization")
    )
    micro = models.BigIntegerField(
        _("price"), validators=[MinValueValidator(0)], help_text=_("Micro-credits for one part.")
    )

    class Meta:
        verbose_name = pgettext_lazy("model", "price")
        verbose_name_plural = _("prices")
        constraints = [
            models.UniqueConstraint(
                "prefix", "organization", name="price_once", nulls_distinct=False
            ),
            models.CheckConstraint(condition=Q(micro__gte=0), name="price_not_negative"),
        ]

    def __str__(self) -> str:
        return f"+{self.prefix}: {self.micro / 1_000_000:.6f}"
