"""Environment variables: every setting of an installation, with its type, default and description.

`imissive/settings.py` reads `Env` once. A wrong value stops the start with an error that has the
variable's name and the expected form. `docs/operating.md` has the same list as a table; a test
keeps the two equal.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from imissive.core import weak_secrets
from imissive.core.servers import (
    AMQP_SCHEMES,
    REDIS_SCHEMES,
    Broker,
    RedisServer,
    database_parameters,
)

Port = Annotated[int, Field(ge=1, le=65535)]


def _split(value: Any) -> Any:
    return (
        [item.strip() for item in value.split(",") if item.strip()]
        if isinstance(value, str)
        else value
    )


def _scheme(*allowed: str) -> AfterValidator:
    def check(url: str) -> str:
        if urlsplit(url).scheme not in allowed:
            raise ValueError(f"must start with {' or '.join(f'{scheme}://' for scheme in allowed)}")
        return url

    return AfterValidator(check)


def _supported(parse: Callable[[str], object]) -> AfterValidator:
    """Refuse what the libraries that connect would refuse, or would ignore."""

    def check(url: str) -> str:
        parse(url)
        return url

    return AfterValidator(check)


CommaList = Annotated[list[str], NoDecode]


class Env(BaseSettings):
    """The parsed environment. A field has its variable's name in lower case."""

    model_config = SettingsConfigDict(extra="ignore", case_sensitive=False, env_ignore_empty=True)

    debug: bool = Field(False, description="Show tracebacks in the browser. Never in production.")
    secret_key: SecretStr = Field(
        description="Signs cookies and tokens; 50 random characters or more. `make run` sets it."
    )
    field_encryption_keys: Annotated[list[SecretStr], NoDecode] = Field(
        description=(
            "Fernet keys, comma-separated, that encrypt carrier passwords and webhook secrets at"
            " rest. The first encrypts, all decrypt. `make run` sets it."
        )
    )
    database_url: Annotated[
        str, _scheme("postgresql", "postgres"), _supported(database_parameters)
    ] = Field(
        description="PostgreSQL 15 or later, `postgresql://user:password@host:5432/name`, with any"
        " libpq parameters and several hosts."
    )
    redis_url: Annotated[str, _scheme(*REDIS_SCHEMES), _supported(RedisServer.of)] = Field(
        description="Redis 7 or Valkey 8 or later: the shared cache, and the broker by default."
    )
    broker_url: (
        Annotated[str, _scheme(*REDIS_SCHEMES, *AMQP_SCHEMES), _supported(Broker.of)] | None
    ) = Field(None, description="Celery's broker if it is not `REDIS_URL`, for example RabbitMQ.")
    data_dir: Path = Field(
        Path("var"), description="Folder of the embedded servers and of collected static files."
    )
    host: str = Field("127.0.0.1", description="The address that web listens on.")
    port: Port = Field(8000, description="The port that web listens on.")
    smpp_port: Port = Field(2775, description="The port that customers bind to over SMPP.")
    smpp_host: str = Field("127.0.0.1", description="The address that the SMPP server listens on.")
    smpp_public_host: str = Field(
        "", description="The host shown to customers for their binds. Default: `PUBLIC_URL`'s."
    )
    smpp_tls_port: Port = Field(
        3550, description="The port for SMPP over TLS; used if there is a certificate."
    )
    smpp_tls_cert: Path | None = Field(
        None, description="Certificate chain of the SMPP server, PEM. Without it there is no TLS."
    )
    smpp_tls_key: Path | None = Field(
        None, description="The certificate's private key, PEM, if it is not in the same file."
    )
    smpp_max_connections: int = Field(
        2_000,
        ge=1,
        le=100_000,
        description="Connections that one SMPP server accepts; more are refused.",
    )
    smpp_inactivity: int = Field(
        0,
        ge=0,
        description="Seconds without any request except enquire_link after which a customer's bind"
        " is unbound; 0 means never.",
    )
    smpp_reuse_port: bool = Field(
        False, description="Let several SMPP servers of one machine share their ports."
    )
    smpp_parts_timeout: int = Field(
        300,
        ge=1,
        le=86_400,
        description="Seconds that a long message over SMPP may wait for its missing parts.",
    )
    simulator_port: Port = Field(2776, description="The port of the carrier simulator.")
    public_url: Annotated[str, _scheme("http", "https")] | None = Field(
        None,
        description="The URL that people use, for links and error documentation. "
        "Default: `http://localhost:$PORT`.",
    )
    allowed_hosts: CommaList = Field(
        ["localhost", "127.0.0.1", "[::1]"], description="Host names that web responds to."
    )
    trusted_proxies: int = Field(
        0,
        ge=0,
        le=10,
        description="Number of proxies before web that append to `CLIENT_ADDRESS_HEADER`.",
    )
    client_address_header: str = Field(
        "X-Forwarded-For",
        pattern="^[A-Za-z][A-Za-z0-9-]*$",
        description="The header in which the proxies name the caller. With a name without a hyphen,"
        " such as `ClientAddress`, no caller can pass a look-alike with an underscore.",
    )
    https: bool = Field(
        False,
        description="People reach web over HTTPS: secure cookies, HSTS, redirect from HTTP.",
    )
    web_workers: int = Field(2, ge=1, le=256, description="Web processes.")
    web_threads: int = Field(
        8, ge=1, le=256, description="Requests that each web process handles at the same time."
    )
    database_pool_size: int = Field(
        10, ge=1, le=200, description="Maximum number of connections in each process."
    )
    database_pool_timeout: float = Field(
        5,
        gt=0,
        le=60,
        description="Seconds that a request waits for its turn, and again for a connection; then"
        " the response is 503.",
    )
    database_statement_timeout: int = Field(
        30,
        ge=0,
        le=3600,
        description="Seconds that one statement of a request may take, in web and the SMPP server;"
        " 0 for no limit.",
    )
    webhook_allow_loopback: bool = Field(
        False,
        description="Allow webhooks to post to loopback addresses. Only for demos and tests.",
    )
    webhook_timeout: float = Field(
        10, gt=0, le=60, description="Seconds that a webhook receiver has to respond."
    )
    webhook_concurrency: int = Field(
        20, ge=1, le=200, description="Concurrent posts to one endpoint, in each worker process."
    )
    webhook_keep_days: int = Field(
        30, ge=1, le=3650, description="Days that webhook events and deliveries are kept."
    )
    carrier_lease: int = Field(
        60,
        ge=2,
        le=3600,
        description="Seconds after which a message that a carrier worker claimed and did not finish"
        " is due again. The messages of a dead worker are due immediately.",
    )
    metrics_token: SecretStr | None = Field(
        None,
        description="Bearer token for `/metrics`, 24 random characters or more; without it, only"
        " loopback may read them.",
    )
    email_url: str = Field(
        "console:",
        description="`smtp://user:password@host:587`, `smtps://…`, or `console:` to print emails.",
    )
    default_from_email: str = Field(
        "imissive <noreply@localhost>", description="The sender of the platform's emails."
    )
    top_up_text: str = Field(
        "",
        max_length=2000,
        description="Payment instructions on customers' credits page; addresses become links.",
    )
    seed_demo: bool | None = Field(
        None,
        description="Whether `make run` creates the demo. Default: only in a database that it"
        " started.",
    )
    credits_second_operator_above: int = Field(
        100_000,
        ge=0,
        description="Credits above which a second operator has to approve an organization's top-ups"
        " and corrections of 24 hours. A very large number means never.",
    )
    signup_open: bool = Field(
        True,
        description="Anyone who verifies an email address may create an organization, without"
        " credits. Otherwise only invited people sign up, and operators create organizations.",
    )
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Log level.")
    log_json: bool = Field(False, description="Write logs as JSON lines instead of readable text.")
    bulk_max_messages: int = Field(
        10_000, ge=1, le=10_000, description="Maximum number of messages in one bulk call."
    )
    rate_limit_send: int = Field(
        6_000,
        ge=1,
        description="Single messages and one-time passwords that an organization may send per"
        " minute, unless an operator has set its own limit.",
    )
    rate_limit_bulk: int = Field(
        600_000, ge=1, description="Messages in bulk calls per minute, likewise."
    )
    rate_limit_calls: int = Field(6_000, ge=1, description="Other API calls per minute, likewise.")
    otp_cooldown: int = Field(
        60,
        ge=0,
        le=3600,
        description="Seconds between two one-time passwords to one number, unless an operator has"
        " set the organization's own.",
    )
    otp_limit_ten_minutes: int = Field(
        5, ge=1, description="One-time passwords to one number in ten minutes, likewise."
    )
    otp_limit_day: int = Field(
        10, ge=1, description="One-time passwords to one number in a day, likewise."
    )
    otp_number_limit_day: int = Field(
        30,
        ge=1,
        description="One-time passwords to one number in a day, of all organizations together.",
    )
    otp_countries: Annotated[list[str] | None, NoDecode] = Field(
        None,
        description="Countries (ISO 3166) that one-time passwords may go to, unless an operator has"
        " set the organization's own. Empty: every country that has a route and a price.",
    )
    otp_pumping: str = Field(
        "record",
        pattern="^(off|record|enforce)$",
        description="Action for a prefix to which too few one-time passwords are verified,"
        " likewise: `off`, `record` (operators see it), or `enforce` (it is held for 12 hours).",
    )
    otp_pumping_window: int = Field(
        60, ge=5, le=1440, description="Minutes that this looks back, likewise."
    )
    otp_pumping_minimum: int = Field(
        30,
        ge=1,
        description="One-time passwords to a prefix below which it is not evaluated, likewise.",
    )
    otp_pumping_share: int = Field(
        10,
        ge=1,
        le=100,
        description="Percentage verified from which a prefix is not suspicious, likewise.",
    )
    otp_pumping_digits: int = Field(
        4, ge=0, le=8, description="Digits after the calling code that form a prefix."
    )
    otp_keep_days: int = Field(90, ge=2, le=3650, description="Days that verifications are kept.")

    split_lists = field_validator(
        "allowed_hosts", "field_encryption_keys", "otp_countries", mode="before"
    )(_split)

    @field_validator("field_encryption_keys")
    @classmethod
    def _fernet_keys(cls, keys: list[SecretStr]) -> list[SecretStr]:
        if not keys:
            raise ValueError("needs at least one key")
        for key in keys:
            try:
                Fernet(key.get_secret_value())
            except ValueError:
                raise ValueError("each key must be 32 url-safe base64-encoded bytes") from None
            weak_secrets.check_key(key.get_secret_value())
        return keys

    @field_validator("otp_countries")
    @classmethod
    def _country_codes(cls, countries: list[str] | None) -> list[str] | None:
        for country in countries or []:
            if not re.fullmatch("[A-Z]{2}", country):
                raise ValueError("each country has two capital letters, such as SA")
        return countries

    @field_validator("secret_key")
    @classmethod
    def _long_secret(cls, key: SecretStr) -> SecretStr:
        weak_secrets.check_text(key.get_secret_value(), shortest=50)
        return key

    @field_validator("metrics_token")
    @classmethod
    def _strong_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None:
            weak_secrets.check_text(token.get_secret_value(), shortest=24)
        return token

    @model_validator(mode="after")
    def _safe_in_production(self) -> "Env":
        """Refuse development settings if the platform is reached over HTTPS."""
        if not self.https:
            return self
        wrong = [
            name
            for name, is_wrong in (
                ("DEBUG=1", self.debug),
                ("WEBHOOK_ALLOW_LOOPBACK=1", self.webhook_allow_loopback),
                ("ALLOWED_HOSTS=*", any(host in ("*", ".") for host in self.allowed_hosts)),
                (
                    "PUBLIC_URL without https://",
                    not (self.public_url or "http://").startswith("https://"),
                ),
            )
            if is_wrong
        ]
        if wrong:
            raise ValueError(f"HTTPS=1 is for production, which refuses {', '.join(wrong)}")
        return self


def read_env(**provisional: str) -> Env:
    """Return the environment, completed by what `make run` wrote to `$DATA_DIR/runtime.env`.

    Keyword arguments take precedence over both. Raises ImproperlyConfigured with the name of every
    variable that is missing or wrong.
    """
    runtime = Path(os.environ.get("DATA_DIR") or "var") / "runtime.env"
    try:
        file = runtime if os.access(runtime, os.R_OK) else None
        return Env(_env_file=file, **provisional)  # type: ignore[arg-type]
    except ValidationError as error:
        # The value is not repeated, because it may be a secret.
        lines = [
            f"{'.'.join(map(str, e['loc'])).upper() or 'HTTPS'}: {e['msg']}" for e in error.errors()
        ]
        raise ImproperlyConfigured("; ".join(lines)) from None
