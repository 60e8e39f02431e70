"""Django settings. Values that differ between machines come from the environment. The defaults are safe.

`.env` next to manage.py is read too. An environment variable overrides it. `.env.example` lists all of them.
"""

import sys
from pathlib import Path

from countonme import __version__
from countonme.environment import Environment, InvalidSetting

BASE_DIR = Path(__file__).resolve().parent.parent

env = Environment.with_file(BASE_DIR / ".env")

# --- basics ---------------------------------------------------------------------------------------

SECRET_KEY = env.text("SECRET_KEY")
if not SECRET_KEY:
    raise InvalidSetting(
        "SECRET_KEY is not set. Set it in the environment or in .env to a long random string, such as the output of: "
        'python -c "import secrets; print(secrets.token_urlsafe(50))"'
    )
DEBUG = env.flag("DEBUG", False)
ALLOWED_HOSTS = env.hosts("ALLOWED_HOSTS")
if not (ALLOWED_HOSTS or DEBUG):  # with DEBUG, Django allows localhost
    raise InvalidSetting("ALLOWED_HOSTS is not set. Set it to the host names of the service, such as api.example.org.")

# --- applications ---------------------------------------------------------------------------------

# The project's own apps come last, each after those that it imports.
INSTALLED_APPS = [
    "support.apps.SupportAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "corsheaders",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework",
    "countonme",
    "devices",
    "ownership",
    "sync",
    "support",
    "nutrition",
    "catalog",
    "products",
    "food_entries",
    "account",
]

MIDDLEWARE = [
    "countonme.middleware.request_id.RequestIdMiddleware",
    "countonme.middleware.security_headers.HeadersMiddleware",
    "countonme.middleware.hosts.HostMiddleware",
    "countonme.middleware.redirects.RedirectMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "countonme.middleware.static_files.StaticFilesMiddleware",
    "countonme.middleware.compression.CompressionMiddleware",
    "countonme.middleware.cors.OriginCorsMiddleware",
    "countonme.middleware.body_limit.BodyMiddleware",
    "catalog.etags.CatalogReadsMiddleware",
    "ownership.etags.ConditionalReadsMiddleware",
    "countonme.middleware.disconnects.DisconnectMiddleware",
    "countonme.middleware.admin_only.AdminSession",
    "countonme.middleware.admin_only.AdminCsrf",
    "countonme.middleware.admin_only.AdminAuthentication",
    "countonme.middleware.admin_only.AdminSecondFactor",
    "countonme.middleware.admin_only.AdminMessages",
    "countonme.middleware.admin_only.AdminErrorPages",
]

ROOT_URLCONF = "countonme.urls"
WSGI_APPLICATION = "countonme.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

LANGUAGE_CODE = "en-us"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = ["countonme.formats"]

# --- database -------------------------------------------------------------------------------------

_sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}
DATABASES = {"default": env.database("DATABASE_URL", _sqlite, env.text("DATABASE_PASSWORD"))}
_database = DATABASES["default"]
_database["CONN_MAX_AGE"] = None  # connections stay open
if _database["ENGINE"] == "django.db.backends.sqlite3":
    _database["ENGINE"] = "countonme.db.sqlite"
    # With WAL, readers don't wait for the writer. A writer takes its lock at BEGIN, because a transaction that takes it
    # later may fail without waiting. Deleted data is overwritten in the file.
    _database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA secure_delete=ON",
        "timeout": 10,
    }
elif _database["ENGINE"] == "django.db.backends.postgresql":
    _database["ENGINE"] = "countonme.db.postgresql"
    # A pooler may give each transaction another connection, so nothing may outlive the transaction.
    _pooled = env.choice("DATABASE_POOLER", "", ("", "transaction")) == "transaction"
    _database["DISABLE_SERVER_SIDE_CURSORS"] = _pooled
    # Prepared statements: PostgreSQL does not parse and plan a statement at each request.
    _database["OPTIONS"] = {
        "connect_timeout": 2,
        "server_side_binding": True,
        "prepare_threshold": None if _pooled else 2,
        **_database.get("OPTIONS", {}),
    }
# For the web process: countonme/wsgi.py
DATABASE_TIMEOUT = env.seconds("DATABASE_TIMEOUT", 1.5, minimum=0.1, maximum=60)
# Seconds. Requests queue behind a migration that waits for a lock on a table, so it must fail soon.
MIGRATE_LOCK_TIMEOUT = env.integer("MIGRATE_LOCK_TIMEOUT", 5, minimum=0)
MIGRATE_STATEMENT_TIMEOUT = env.integer("MIGRATE_STATEMENT_TIMEOUT", 60, minimum=0)
MIGRATE_WAIT = env.integer("MIGRATE_WAIT", 600, minimum=0)  # how long to wait for another migration
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- caches ---------------------------------------------------------------------------------------

# With Redis the workers share the cache of checked tokens: devices/token_cache.py
CACHES = {"default": env.cache("CACHE_URL", "locmemcache://")}
if CACHES["default"]["BACKEND"] == "django.core.cache.backends.redis.RedisCache":
    # If the cache is unavailable, that counts as a miss. The timeouts keep the delay short.
    CACHES["default"].setdefault("OPTIONS", {}).update(socket_connect_timeout=0.25, socket_timeout=0.25)

# --- the API --------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["devices.authentication.DeviceTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["countonme.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["countonme.api.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "countonme.api.negotiation.JSONFirst",
    "DEFAULT_SCHEMA_CLASS": "countonme.api.openapi.ContractSchema",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "countonme.api.errors.exception_handler",
    "COERCE_DECIMAL_TO_STRING": False,
    "LIST_SERIALIZER_ERRORS_AS_DICT": True,
    "DATETIME_FORMAT": None,  # the renderer formats times
    "NUM_PROXIES": env.integer("NUM_PROXIES", 0, minimum=0),
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "TEST_REQUEST_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,  # unknown query parameters are ignored, `format` too
}
# How many rows a device may store, tombstones included, and how many it may add per day.
MAX_PRODUCTS = env.integer("MAX_PRODUCTS", 20_000, minimum=1)
MAX_PORTIONS = env.integer("MAX_PORTIONS", 40_000, minimum=1)
MAX_PORTIONS_PER_PRODUCT = env.integer("MAX_PORTIONS_PER_PRODUCT", 100, minimum=1)
MAX_FOOD_ENTRIES = env.integer("MAX_FOOD_ENTRIES", 250_000, minimum=1)
NEW_ROWS_FIRST_DAY = env.integer("NEW_ROWS_FIRST_DAY", 100_000, minimum=1)
NEW_ROWS_PER_DAY = env.integer("NEW_ROWS_PER_DAY", 20_000, minimum=1)
CATALOG_BUNDLE_SIZE = env.integer("CATALOG_BUNDLE_SIZE", 100_000, minimum=1)  # foods of Open Food Facts
# A file outside of the database that lists erased devices, for manage.py after_restore: account/ledger.py
ERASURE_LEDGER = env.text("ERASURE_LEDGER", str(BASE_DIR / "erasures.txt"))
BACKUP_RETENTION = env.integer("BACKUP_RETENTION", 14, minimum=1, maximum=99_999)  # days; deploy/backup.sh reads it too
REGISTER_RATE = env.rate("REGISTER_RATE", "10/min", can_be_off=True)  # None: new devices are refused
ROTATE_RATE = env.rate("ROTATE_RATE", "10/h")
AUTH_FAILURE_RATE = env.rate("AUTH_FAILURE_RATE", "30/min")
DEVICE_RATE = env.rate("DEVICE_RATE", "600/min")  # in each worker: devices/rates.py
BCRYPT_ROUNDS = env.integer("BCRYPT_ROUNDS", 4, minimum=4, maximum=31)  # a secret of 256 random bits needs no slow hash
MAX_BODY = 1024 * 1024  # bytes
SYNC_MAX_BODY = env.integer("SYNC_MAX_BODY", 20 * 1024 * 1024, minimum=1024)
DATA_UPLOAD_MAX_MEMORY_SIZE = None  # countonme.middleware.body_limit enforces the limit

CORS_URLS_REGEX = r"^/v1(/|$)"  # not for the admin, which uses cookies
_origins = env.origins("CORS_ORIGINS", "*")
CORS_ALLOW_ALL_ORIGINS = "*" in _origins
CORS_ALLOWED_ORIGINS = [origin for origin in _origins if origin != "*"]
CORS_ALLOW_HEADERS = [
    *("accept", "authorization", "content-type", "if-none-match", "x-request-id"),
    *("traceparent", "tracestate", "baggage", "sentry-trace"),  # libraries for tracing and error reports add these
]
CORS_EXPOSE_HEADERS = ["Content-Disposition", "ETag", "Link", "Location", "Retry-After", "X-Request-ID"]

SPECTACULAR_SETTINGS = {
    "TITLE": "CountOnMe",
    "DESCRIPTION": "The backend of an offline-first calorie tracker without accounts.",
    "VERSION": __version__,
    "LICENSE": {"name": "BSD 3-Clause", "url": "https://opensource.org/license/bsd-3-clause"},
    "CONTACT": {"name": "The operator of this service"},
    "SERVERS": [{"url": "/", "description": "The service that this document was read from."}],
    "TAGS": [
        {"name": "devices", "description": "Register a device, replace its token, and erase its data."},
        {"name": "catalog", "description": "Foods that the operator has imported, the same for all devices."},
        {"name": "products", "description": "Foods with their values per 100 g, and their portions."},
        {"name": "food entries", "description": "What was eaten and when, and the totals of days."},
        {"name": "sync", "description": "Pull and push, for apps with a database of their own."},
        {"name": "service", "description": "The state of the service, and this document."},
    ],
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "COMPONENT_SPLIT_REQUEST": True,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "PATH_CONVERTER_OVERRIDES": {"row_id": {"type": "string", "format": "uuid"}},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "countonme.api.openapi.refer_to_enums",
        "sync.schema.describe_push",
    ],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_ADD_EXPLICIT_BLANK_NULL_CHOICE": False,  # it adds a `oneOf`
}

# --- static files of the admin and the docs, served by the service itself -------------------------

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_ROOT = BASE_DIR / "countonme/root"  # files served at the root: favicon.ico
WHITENOISE_AUTOREFRESH = DEBUG

# --- security -------------------------------------------------------------------------------------

HTTPS_ONLY = env.flag("HTTPS_ONLY", True)
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS_ONLY
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60 if HTTPS_ONLY else 0
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]  # probes come from the inside, without TLS
SECURE_PROXY_SSL_HEADER = env.proxy_header("SECURE_PROXY_SSL_HEADER")
# Cookies of the admin. Scripts can't read them, other sites' forms don't send them, and other paths don't get them.
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = "/admin/"
CSRF_FAILURE_VIEW = "countonme.api.errors.csrf_failure"
LOGIN_FAILURE_RATE = env.rate("LOGIN_FAILURE_RATE", "20/h")
# Without HTTPS, the service runs on one's own machine: there, a password is enough.
_default = "required" if HTTPS_ONLY else "optional"
STAFF_SECOND_FACTOR = env.choice("STAFF_SECOND_FACTOR", _default, ("required", "optional"))
OTP_TOTP_ISSUER = "CountOnMe"
OTP_TOTP_THROTTLE_FACTOR = 0  # LOGIN_FAILURE_RATE limits wrong codes too, and support/second_factor.py all in a row
SESSION_COOKIE_AGE = 12 * 60 * 60  # seconds: a working day
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"  # not in a cookie
# countonme/middleware/security_headers.py sends these headers.
SECURE_CONTENT_TYPE_NOSNIFF = False
SECURE_REFERRER_POLICY = SECURE_CROSS_ORIGIN_OPENER_POLICY = None
SILENCED_SYSTEM_CHECKS = [
    "security.W002",  # countonme/middleware/security_headers.py sends these three headers:
    "security.W006",  # X-Frame-Options, X-Content-Type-Options
    "security.W022",  # and Referrer-Policy
    "security.W003",  # the admin has its own subclass of CsrfViewMiddleware
    "security.W005",  # HSTS for subdomains and
    "security.W021",  # preloading would affect the operator's whole domain
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

# --- metrics --------------------------------------------------------------------------------------

METRICS_TOKEN = env.token("METRICS_TOKEN")

# --- logs -----------------------------------------------------------------------------------------

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# One JSON object per line, or text on a terminal.
LOG_FORMAT = env.choice("LOG_FORMAT", "text" if sys.stderr.isatty() else "json", ("json", "text"))

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "countonme.observability.log_format.RequestIdFilter"}},
    "formatters": {
        "json": {"()": "countonme.observability.log_format.JSONFormatter", "unredacted": DEBUG},
        "text": {"()": "countonme.observability.log_format.TextFormatter", "unredacted": DEBUG},
    },
    "handlers": {
        "console": {
            "class": "countonme.observability.log_format.Console",
            "stream": sys.stderr,
            "filters": ["request_id"],
            "formatter": LOG_FORMAT,
        },
    },
    "root": {"handlers": ["console"], "level": env.choice("LOG_LEVEL", "INFO", LOG_LEVELS)},
    "loggers": {
        "django": {"handlers": [], "propagate": True},  # Django's own handlers would log everything twice
        "django.request": {"level": "ERROR"},  # no warnings about clients' errors: each request has a line already
        "django.security.DisallowedHost": {"level": "CRITICAL"},  # scanners cause these
        "django.server": {"level": "ERROR"},  # runserver's lines contain URLs, and each request has a line already
    },
}
