import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from countonme.checks import DEPENDENCIES, check_database, check_tested_versions

ROOT = Path(settings.BASE_DIR)
SAFE = {
    "SECRET_KEY": "a-key-that-is-only-for-this-test-and-long-enough-0123456789",
    "ALLOWED_HOSTS": "api.example.org",
    "PATH": "",
}


def run_with_settings(tmp_path, statement: str, **environment) -> subprocess.CompletedProcess:
    """Run a statement in a folder with the settings alone, and with no other environment variables."""
    package = tmp_path / "countonme"
    package.mkdir()
    for name in ("__init__.py", "uuid_hash.py", "environment.py", "settings.py"):
        (package / name).write_text((ROOT / "countonme" / name).read_text())
    return subprocess.run(
        [sys.executable, "-c", f"from countonme import settings; {statement}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )


class TestSettings:
    def test_stop_the_start_without_a_secret_key(self, tmp_path):
        run = run_with_settings(tmp_path, "print('started')")

        assert run.returncode == 1
        assert run.stderr.startswith("SECRET_KEY is not set.")
        assert run.stderr.count("\n") == 1
        assert run.stdout == ""

    @pytest.mark.parametrize(("variables", "starts"), [({}, False), ({"DEBUG": "on"}, True)], ids=str)
    def test_stop_the_start_without_allowed_hosts(self, tmp_path, variables, starts):
        run = run_with_settings(tmp_path, "print('started')", **{**SAFE, "ALLOWED_HOSTS": " "}, **variables)

        assert run.stdout == "started\n" * starts
        assert run.stderr.startswith("" if starts else "ALLOWED_HOSTS is not set. Set it to the host names")
        assert run.stderr.count("\n") == (not starts)

    @pytest.mark.parametrize(
        ("name", "default"),
        [
            ("DEBUG", "False"),
            ("SECURE_SSL_REDIRECT", "True"),
            ("SESSION_COOKIE_SECURE", "True"),
            ("CSRF_COOKIE_SECURE", "True"),
            ("DATABASE_TIMEOUT", "1.5"),
            ("REGISTER_RATE", "10/min"),
            ("ROTATE_RATE", "10/h"),
            ("AUTH_FAILURE_RATE", "30/min"),
            ("DEVICE_RATE", "600/min"),
            ("LOGIN_FAILURE_RATE", "20/h"),
            ("BCRYPT_ROUNDS", "4"),
            ("BACKUP_RETENTION", "14"),
            ("REST_FRAMEWORK['NUM_PROXIES']", "0"),
            ("CORS_ALLOW_ALL_ORIGINS", "True"),
            ("DATABASES['default']['ENGINE']", "countonme.db.sqlite"),
        ],
    )
    def test_have_safe_defaults(self, tmp_path, name, default):
        run = run_with_settings(tmp_path, f"print(settings.{name})", **SAFE)

        assert run.stdout.strip() == default, run.stderr

    def test_prefer_the_environment_to_the_file(self, tmp_path):
        (tmp_path / ".env").write_text("BCRYPT_ROUNDS=11\nREGISTER_RATE=7/h\n")

        run = run_with_settings(
            tmp_path, "print(settings.BCRYPT_ROUNDS, settings.REGISTER_RATE)", **SAFE, BCRYPT_ROUNDS="12"
        )

        assert run.stdout.strip() == "12 7/h", run.stderr

    @pytest.mark.parametrize("folder", ["plain", "a b", "a+b", "100%", "#1?"])
    def test_find_the_database_next_to_manage_py(self, tmp_path, folder):
        (tmp_path / folder).mkdir()

        run = run_with_settings(tmp_path / folder, "print(settings.DATABASES['default']['NAME'])", **SAFE)

        assert run.stdout.strip() == str(tmp_path / folder / "db.sqlite3"), run.stderr

    @pytest.mark.parametrize(
        ("origins", "shown"),
        [("*", "True []"), ("https://a.example,https://b.example", "False ['https://a.example', 'https://b.example']")],
    )
    def test_read_the_origins(self, tmp_path, origins, shown):
        statement = "print(settings.CORS_ALLOW_ALL_ORIGINS, settings.CORS_ALLOWED_ORIGINS)"

        run = run_with_settings(tmp_path, statement, **SAFE, CORS_ORIGINS=origins)

        assert run.stdout.strip() == shown, run.stderr

    def test_trust_a_configured_proxy_header(self, tmp_path):
        header = "HTTP_X_FORWARDED_PROTO,https"

        run = run_with_settings(
            tmp_path, "print(settings.SECURE_PROXY_SSL_HEADER)", **SAFE, SECURE_PROXY_SSL_HEADER=header
        )

        assert run.stdout.strip() == "('HTTP_X_FORWARDED_PROTO', 'https')", run.stderr

    @pytest.mark.parametrize(
        ("pooler", "shown"), [("", "True 2 False"), ("transaction", "True None True")], ids=["direct", "pooled"]
    )
    def test_keep_no_session_state_behind_a_pooler(self, tmp_path, pooler, shown):
        statement = (
            "database = settings.DATABASES['default']; options = database['OPTIONS']; print("
            "options['server_side_binding'], options['prepare_threshold'], database['DISABLE_SERVER_SIDE_CURSORS'])"
        )
        postgres = {**SAFE, "DATABASE_URL": "postgres://127.0.0.1/countonme"}

        run = run_with_settings(tmp_path, statement, **postgres, DATABASE_POOLER=pooler)

        assert run.stdout.strip() == shown, run.stderr

    @pytest.mark.parametrize("value", ["off", "OFF"])
    def test_can_close_registrations(self, tmp_path, value):
        run = run_with_settings(tmp_path, "print(settings.REGISTER_RATE)", **SAFE, REGISTER_RATE=value)

        assert run.stdout.strip() == "None", run.stderr

    @pytest.mark.parametrize(
        ("https", "chosen", "used"),
        [
            ("on", "", "required"),
            ("off", "", "optional"),
            ("on", "optional", "optional"),
            ("off", "required", "required"),
        ],
    )
    def test_require_a_second_factor_of_staff_except_on_ones_own_machine(self, tmp_path, https, chosen, used):
        changed = {"HTTPS_ONLY": https, "STAFF_SECOND_FACTOR": chosen}

        run = run_with_settings(tmp_path, "print(settings.STAFF_SECOND_FACTOR)", **SAFE | changed)

        assert run.stdout.strip() == used, run.stderr

    @pytest.mark.parametrize(("chosen", "used"), [("", "json"), ("json", "json"), ("text", "text")])
    def test_write_the_log_in_json_if_there_is_no_terminal(self, tmp_path, chosen, used):
        statement = "print(settings.LOG_FORMAT, settings.LOGGING['handlers']['console']['formatter'])"

        run = run_with_settings(tmp_path, statement, **SAFE, LOG_FORMAT=chosen)

        assert run.stdout.strip() == f"{used} {used}", run.stderr

    @pytest.mark.parametrize(
        ("variable", "message"),
        [
            ({"ALLOWED_HOSTS": "https://api.example.org"}, "ALLOWED_HOSTS is 'https://api.example.org'. It must be"),
            ({"DATABASE_URL": ""}, "DATABASE_URL must be like postgres://"),
            ({"DATABASE_TIMEOUT": "61"}, "DATABASE_TIMEOUT is '61'. It must be a number of seconds from 0.1 to 60"),
            ({"BCRYPT_ROUNDS": "3"}, "BCRYPT_ROUNDS is '3'. It must be an integer from 4 to 31."),
            ({"BACKUP_RETENTION": "0"}, "BACKUP_RETENTION is '0'. It must be an integer from 1 to 99999."),
            ({"NUM_PROXIES": "-1"}, "NUM_PROXIES is '-1'. It must be an integer of at least 0."),
            ({"MAX_PRODUCTS": "0"}, "MAX_PRODUCTS is '0'. It must be an integer of at least 1."),
            ({"NEW_ROWS_PER_DAY": "-1"}, "NEW_ROWS_PER_DAY is '-1'. It must be an integer of at least 1."),
            (
                {"REGISTER_RATE": "no"},
                "REGISTER_RATE is 'no'. It must be a rate such as 10/min: a number per s, min, h or d; or",
            ),
            (
                {"ROTATE_RATE": "off"},
                "ROTATE_RATE is 'off'. It must be a rate such as 10/min: a number per s, min, h or d.",
            ),
            ({"HTTPS_ONLY": "sure"}, "HTTPS_ONLY is 'sure'. It must be on or off."),
            ({"STAFF_SECOND_FACTOR": "on"}, "STAFF_SECOND_FACTOR is 'on'. It must be required or optional."),
            ({"LOG_LEVEL": "loud"}, "LOG_LEVEL is 'loud'. It must be DEBUG or INFO or"),
            ({"LOG_FORMAT": "xml"}, "LOG_FORMAT is 'xml'. It must be json or text."),
            ({"METRICS_TOKEN": "short"}, "METRICS_TOKEN must have at least 20"),
            ({"CORS_ORIGINS": "app.example.org"}, "CORS_ORIGINS is 'app.example.org'. It must be an origin"),
            ({"CACHE_URL": "cache"}, "CACHE_URL must be like rediscache://"),
            ({"SECURE_PROXY_SSL_HEADER": "X-Forwarded-Proto,https"}, "SECURE_PROXY_SSL_HEADER is 'X-Forwarded-Proto"),
            (
                {"DATABASE_URL": "postgres://127.0.0.1/countonme", "DATABASE_POOLER": "statement"},
                "DATABASE_POOLER is 'statement'. It must be empty or transaction.",
            ),
        ],
        ids=lambda value: next(reversed(value)) if isinstance(value, dict) else "",
    )
    def test_stop_the_start_with_one_line_if_a_value_is_wrong(self, tmp_path, variable, message):
        run = run_with_settings(tmp_path, "print('started')", **SAFE | variable)

        assert run.returncode == 1
        assert run.stderr.startswith(message)
        assert run.stderr.count("\n") == 1
        assert run.stdout == ""

    def test_are_all_in_the_example(self):
        read = {
            name
            for file in ("countonme/settings.py", "gunicorn.conf.py")
            for name in re.findall(r'env\.\w+\("([A-Z_]+)"', (ROOT / file).read_text())
        }
        shown = set(re.findall(r"^(?:# )?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M))

        assert len(read) > 10
        assert shown == read


class TestSystemChecks:
    @pytest.mark.parametrize(
        ("changed", "found"),
        [
            ({"ERASURE_LEDGER": "/nowhere/erasures.txt"}, "countonme.E012"),
            ({"ALLOWED_HOSTS": ["*"]}, "countonme.W002"),
            ({"STAFF_SECOND_FACTOR": "optional"}, "countonme.W005"),
        ],
    )
    def test_report_unsafe_settings(self, settings, changed, found):
        for name, value in changed.items():
            setattr(settings, name, value)

        faults = {fault.id: fault for fault in run_checks(include_deployment_checks=True)}

        assert faults[found].hint

    @pytest.mark.parametrize(("engine", "warned"), [("sqlite", True), ("postgresql", False)])
    def test_warn_about_sqlite(self, settings, monkeypatch, engine, warned):
        monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", f"countonme.db.{engine}")

        assert bool(check_database(None)) == warned

    @pytest.mark.parametrize("name", DEPENDENCIES)
    @pytest.mark.parametrize(("number", "warned"), [("0.1.2", True), ("{tested}.99", False), ("{tested}9.1", True)])
    def test_warn_about_an_untested_version(self, monkeypatch, name, number, warned):
        tested = ".".join(version(name).split(".")[:2])
        monkeypatch.setattr(
            "countonme.checks.version",
            lambda other: number.format(tested=tested) if other == name else version(other),
        )

        assert [fault.msg.split()[0] for fault in check_tested_versions(None)] == [name] * warned

    def test_read_the_tested_versions_from_the_requirements(self, settings, tmp_path):
        settings.BASE_DIR = tmp_path
        pinned = (ROOT / "requirements.txt").read_text()
        (tmp_path / "requirements.txt").write_text(re.sub(r"^gunicorn==.*", "gunicorn==0.9.1", pinned, flags=re.M))

        (fault,) = check_tested_versions(None)

        assert (fault.id, fault.msg.split(". ")[1]) == ("countonme.W004", "The service was tested with gunicorn 0.9.")

    def test_accept_safe_settings(self, settings):
        settings.ALLOWED_HOSTS, settings.STAFF_SECOND_FACTOR = ["api.example.org"], "required"

        faults = {fault.id for fault in run_checks(include_deployment_checks=True)}

        assert {name for name in faults if name.startswith("countonme.")} <= {"countonme.W001"}


@pytest.mark.django_db(transaction=True)
class TestMigrations:
    def test_can_be_reversed(self):
        for app in ("food_entries", "products", "devices"):
            call_command("migrate", app, "zero", verbosity=0)
        try:
            with connection.cursor() as cursor:
                tables = set(connection.introspection.table_names(cursor))
        finally:
            call_command("migrate", verbosity=0)

        assert not tables & {"attempts", "devices", "erasures", "food_entries", "portions", "products"}
        executor = MigrationExecutor(connection)
        assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []
