"""Django's settings. Those that an installation may change are environment variables: env.py."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from csp.constants import NONE, SELF

from imissive.core.logs import configure
from imissive.core.servers import Broker, database_parameters
from imissive.env import read_env

env = read_env()

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = env.data_dir.resolve()
DEBUG = env.debug
SECRET_KEY = env.secret_key.get_secret_value()
FIELD_ENCRYPTION_KEYS = [key.get_secret_value() for key in env.field_encryption_keys]
ALLOWED_HOSTS = env.allowed_hosts
PUBLIC_URL = (env.public_url or f"http://localhost:{env.port}").rstrip("/")
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
TRUSTED_PROXIES = env.trusted_proxies
CLIENT_ADDRESS_META = "HTTP_" + env.client_address_header.upper().replace("-", "_")
METRICS_TOKEN = env.metrics_token.get_secret_value() if env.metrics_token else None
HOST, PORT = env.host, env.port
SMPP_PORT, SIMULATOR_PORT = env.smpp_port, env.simulator_port
SMPP_HOST, SMPP_TLS_PORT = env.smpp_host, env.smpp_tls_port
SMPP_PUBLIC_HOST = env.smpp_public_host or urlsplit(PUBLIC_URL).hostname or env.smpp_host
SMPP_TLS_CERT, SMPP_TLS_KEY = env.smpp_tls_cert, env.smpp_tls_key
SMPP_MAX_CONNECTIONS, SMPP_REUSE_PORT = env.smpp_max_connections, env.smpp_reuse_port
SMPP_INACTIVITY, SMPP_PARTS_TIMEOUT = env.smpp_inactivity, env.smpp_parts_timeout

# ---------------------------------------------------------------- applications
INSTALLED_APPS = [
    "imissive",
    "accounts",
    "messaging",
    "webhooks",
    "otp",
    "imissive.guide",
    "imissive.reference",
    # Before django.contrib.admin, because it replaces its templates.
    "unfold",
    # Simple: urls.py imports the admin's pages, so that workers do not import them.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "drf_spectacular",
    "django_htmx",
    "csp",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
]

MIDDLEWARE = [
    # First, so that probes get a response whatever else is wrong.
    "imissive.pages.health.ProbeMiddleware",
    # Outside the rest, because the API needs none of the middleware below.
    "imissive.core.api.requests.ApiMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "imissive.core.permissions_policy.permissions_policy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "imissive.core.uploads.UploadLimitMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.access.time_zone.TimeZoneMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "imissive.urls"
WSGI_APPLICATION = "imissive.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.i18n",
                "csp.context_processors.nonce",
                "accounts.access.site_context.site",
            ]
        },
    }
]

# ---------------------------------------------------------------- data
_database = database_parameters(env.database_url)
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database.pop("dbname", ""),
        "USER": _database.pop("user", ""),
        "PASSWORD": _database.pop("password", ""),
        "HOST": _database.pop("host", ""),
        "PORT": _database.pop("port", ""),
        "OPTIONS": {
            **_database,
            "pool": {
                "min_size": 1,
                "max_size": env.database_pool_size,
                "timeout": env.database_pool_timeout,
                # The longest pause between attempts to connect, so that it is back soon after.
                "reconnect_timeout": 3,
            },
            # A statement is prepared on the server once a connection has run it three times.
            "prepare_threshold": 3,
        },
        "DISABLE_SERVER_SIDE_CURSORS": False,
    }
}
DATABASE_POOL_TIMEOUT = env.database_pool_timeout
DATABASE_STATEMENT_TIMEOUT = env.database_statement_timeout
SESSION_ENGINE = "imissive.core.encrypted_sessions"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = env.redis_url
CACHES = {
    "default": {
        "BACKEND": "imissive.core.shared_cache.SharedCache",
        "LOCATION": REDIS_URL,
        # Values of earlier versions have another form, and are not read.
        "KEY_PREFIX": "imissive.json",
    }
}

# ---------------------------------------------------------------- Celery
BROKER = Broker.of(env.broker_url or env.redis_url)
CELERY_BROKER_URL, CELERY_BROKER_USE_SSL = BROKER.url, BROKER.tls
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {"webhooks.tasks.*": {"queue": "webhooks"}}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = BROKER.options | (
    {}
    if BROKER.is_amqp
    # A publisher must not hang in a request while the broker is down: a wake-up may be lost.
    else {"socket_timeout": 10, "socket_connect_timeout": 2, "retry_on_timeout": True}
)
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# No task is acknowledged late, so this cancels nothing. Unset, Celery warns at each lost
# connection.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_BEAT_SCHEDULE = {
    "release-messages": {"task": "messaging.tasks.release", "schedule": 0.5},
    "sweep-messages": {"task": "messaging.tasks.sweep", "schedule": 1.0},
    "expire-sent": {"task": "messaging.tasks.expire_sent", "schedule": 5.0},
    "expire-queued": {"task": "messaging.tasks.expire_queued", "schedule": 5.0},
    "forget-early-receipts": {
        "task": "messaging.tasks.forget_early_receipts",
        "schedule": 60.0,
    },
    "watch-balances": {"task": "messaging.tasks.watch_balances", "schedule": 5.0},
    "sum-usage": {"task": "messaging.tasks.sum_usage", "schedule": 60.0},
    "mail-senders": {"task": "messaging.tasks.mail_senders", "schedule": 5.0},
    "forget-unproved": {"task": "accounts.tasks.forget_unproved", "schedule": 3600.0},
    "purge-files": {"task": "accounts.tasks.purge_files", "schedule": 600.0},
    "purge-idempotency": {"task": "accounts.tasks.purge_idempotency", "schedule": 600.0},
    "write-exports": {"task": "messaging.tasks.write_exports", "schedule": 5.0},
    "purge-exports": {"task": "messaging.tasks.purge_exports", "schedule": 3600.0},
    "forget-compositions": {"task": "messaging.tasks.forget_compositions", "schedule": 3600.0},
    "run-campaigns": {"task": "messaging.tasks.run_campaigns", "schedule": 2.0},
    "sweep-smpp": {"task": "messaging.tasks.sweep_smpp", "schedule": 5.0},
    "purge-smpp": {"task": "messaging.tasks.purge_smpp", "schedule": 600.0},
    "sweep-webhooks": {"task": "webhooks.tasks.sweep", "schedule": 1.0},
    "clean-webhooks": {"task": "webhooks.tasks.clean_up", "schedule": 60.0},
    "expire-otp": {"task": "otp.tasks.expire", "schedule": 5.0},
    "watch-otp": {"task": "otp.tasks.watch", "schedule": 60.0},
    "clean-otp": {"task": "otp.tasks.clean_up", "schedule": 600.0},
}
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "celerybeat-schedule")
CELERY_TIMEZONE = "UTC"

# ---------------------------------------------------------------- users and sign-in
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_FORMS = {"signup": "accounts.members.signup.SignupForm"}
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
# Applies to the browser that signed up. In another one the link verifies the address, and the user
# has to log in.
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
ACCOUNT_LOGIN_ON_PASSWORD_RESET = True
# Emails about a new password, address or second factor.
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_MAX_EMAIL_ADDRESSES = 3
# accounts/access/post_limits.py limits these posts by user and IP address. allauth's own limits
# remain for an account or mailbox: wrong passwords ("login_failed") and mails to one address.
ACCOUNT_RATE_LIMITS = {
    "login": None,
    "signup": None,
    "reset_password": "5/m/key",
    "reset_password_from_key": None,
    "change_password": None,
    "manage_email": None,
    "reauthenticate": None,
}
MFA_RATE_LIMITS = {"webauthn_login": None}
RATELIMIT_FAIL_OPEN = True
CREDITS_SECOND_OPERATOR_ABOVE = env.credits_second_operator_above * 1_000_000
SIGNUP_OPEN = env.signup_open
TOP_UP_TEXT = env.top_up_text
ACCOUNT_ADAPTER = "accounts.members.allauth_adapters.AccountAdapter"
MFA_ADAPTER = "accounts.members.allauth_adapters.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "imissive"

_mail = urlsplit(env.email_url)
EMAIL_BACKEND = (
    "django.core.mail.backends.smtp.EmailBackend"
    if _mail.scheme in ("smtp", "smtps")
    else "django.core.mail.backends.console.EmailBackend"
)
EMAIL_HOST, EMAIL_PORT = _mail.hostname or "", _mail.port or 587
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = unquote(_mail.username or ""), unquote(_mail.password or "")
EMAIL_USE_TLS, EMAIL_USE_SSL = (
    _mail.scheme == "smtp" and bool(_mail.username),
    _mail.scheme == "smtps",
)
# Seconds. Kept short, because some emails are sent within a request.
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.default_from_email

# ---------------------------------------------------------------- languages
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("ar", "العربية")]
LOCALE_PATHS = [BASE_DIR / "imissive" / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

# ---------------------------------------------------------------- files
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
MEDIA_ROOT = DATA_DIR / "media"
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 1024 * 1024
# The largest body of a page's form, files included. Larger ones are refused before they are read
# (imissive/core/uploads.py).
UPLOAD_MAX_BYTES = 21 * 1024 * 1024

# ---------------------------------------------------------------- security
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = env.https
SECURE_HSTS_SECONDS = 31_536_000 if env.https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = env.https
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.trusted_proxies else None
# Orchestrators probe the process directly over plain HTTP.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "manifest-src": [SELF],
    }
}

# ---------------------------------------------------------------- the API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.api.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.api.authentication.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["imissive.core.api.rendering.OrjsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["imissive.core.api.rendering.JsonBody"],
    "DEFAULT_SCHEMA_CLASS": "imissive.core.api.openapi.ApiSchema",
    "EXCEPTION_HANDLER": "imissive.core.errors.api_exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "imissive API",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "LICENSE": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
    "SERVE_INCLUDE_SCHEMA": False,
    "SORT_OPERATION_PARAMETERS": False,
    "POSTPROCESSING_HOOKS": ["imissive.reference.postprocessing.complete"],
}
BULK_MAX_MESSAGES = env.bulk_max_messages
API_MAX_BODY_BYTES = 8 * 1024 * 1024
# Per minute, by limit class (accounts/api/rate_limits.py), unless the organization has its own.
RATE_LIMITS = {
    "send": env.rate_limit_send,
    "bulk": env.rate_limit_bulk,
    "calls": env.rate_limit_calls,
}

WEBHOOK_ALLOW_LOOPBACK = env.webhook_allow_loopback
WEBHOOK_TIMEOUT = env.webhook_timeout
WEBHOOK_CONCURRENCY = env.webhook_concurrency
WEBHOOK_KEEP_DAYS = env.webhook_keep_days
CARRIER_LEASE = env.carrier_lease

# Defaults; an organization may have its own limits (otp/limits/rules.py).
OTP_COOLDOWN = env.otp_cooldown
OTP_LIMIT_TEN_MINUTES, OTP_LIMIT_DAY = env.otp_limit_ten_minutes, env.otp_limit_day
OTP_NUMBER_LIMIT_DAY = env.otp_number_limit_day
OTP_COUNTRIES = env.otp_countries or []
OTP_PUMPING, OTP_PUMPING_DIGITS = env.otp_pumping, env.otp_pumping_digits
OTP_PUMPING_WINDOW, OTP_PUMPING_MINIMUM = env.otp_pumping_window, env.otp_pumping_minimum
OTP_PUMPING_SHARE = env.otp_pumping_share
OTP_KEEP_DAYS = env.otp_keep_days

WEB_WORKERS, WEB_THREADS = env.web_workers, env.web_threads

# ---------------------------------------------------------------- logs
LOG_JSON, LOG_LEVEL = env.log_json, env.log_level
LOGGING_CONFIG = None
configure(level=LOG_LEVEL, as_json=LOG_JSON)
