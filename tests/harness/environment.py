"""Fixed settings for the tests. They override the environment and .env, except for the database.

conftest.py imports this module first, before the settings are read.
"""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "countonme.settings")
os.environ.update(
    ALLOWED_HOSTS="testserver",
    AUTH_FAILURE_RATE="1000/min",
    BCRYPT_ROUNDS="4",
    CACHE_URL="locmemcache://",
    CORS_ORIGINS="*",
    DEBUG="off",
    DEVICE_RATE="1000000/min",
    FORWARDED_ALLOW_IPS="127.0.0.1,::1",
    HTTPS_ONLY="off",
    LOG_FORMAT="text",
    LOGIN_FAILURE_RATE="1000/min",
    LOG_LEVEL="INFO",
    METRICS_TOKEN="",
    MIGRATE_LOCK_TIMEOUT="5",
    MIGRATE_STATEMENT_TIMEOUT="60",
    MIGRATE_WAIT="600",
    NUM_PROXIES="0",
    REGISTER_RATE="1000/min",
    ROTATE_RATE="1000/h",
    SECRET_KEY="only-for-tests-" * 4,
    SECURE_PROXY_SSL_HEADER="",
    STAFF_SECOND_FACTOR="",
    WEB_CONCURRENCY="2",
    WEB_THREADS="3",
)
django.setup()
