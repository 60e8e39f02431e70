"""Tests of every statement in docs/privacy.md.

A statement is a list item or a table row. A test declares its statement with `@states`. ELSEWHERE names tests in other
files. A statement without a test fails, and so does a test whose statement is not on the page.
"""

import json
import re
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection, models
from django.utils import timezone
from rest_framework.test import APIClient

from account.tests.rows import add_rows, rows_of
from catalog.tests import import_foods, make_food
from countonme.observability.request_log import name_in_log
from devices import token_cache
from devices.models import Attempts, Device, Erasure, hash_device_id
from food_entries.models import FoodEntry
from ownership.models import change_set, owned_models
from products.models import Portion, Product
from support import second_factor
from support.models import AuditEntry, Authenticator, RecoveryCode

ROOT = Path(settings.BASE_DIR)
PAGE = ROOT / "docs/privacy.md"
ME = "/v1/devices/me"
FOOD = "Insulin shake"

STATED: dict[str, object] = {}

ELSEWHERE = {
    "A token that was pasted into a reason is masked before the reason is stored.": [
        "support/tests/test_actions.py::TestAReason::test_is_kept_without_a_token_that_was_pasted_into_it"
    ],
    "Support can't list the rows of all devices. A search without a device needs 8 digits of an id.": [
        "tests/support/test_reading.py::TestTheRowsOfAllDevices::test_are_searched_by_at_least_8_digits_of_an_id",
        "tests/support/test_reading.py::TestTheRowsOfAllDevices::test_are_not_listed_by_another_query",
    ],
    "The audit log holds the kind and the id of a row. It holds no name of a food and no amount.": [
        "tests/support/test_audit.py::TestEveryAct::test_of_support_is_an_entry_without_a_value"
    ],
    "The old and new values of a correction are stored beside the audit log. Only the history of the row shows them.": [
        "tests/support/test_audit.py::TestTheHistory::test_shows_old_and_new_values",
        "tests/support/test_audit.py::TestOldAndNewValues::test_are_not_in_the_log_of_all_staff",
    ],
    "| the old and new values of a correction by support | 90 days, or until the device is erased |": [
        "tests/support/test_audit.py::TestOldAndNewValues::test_are_removed_after_90_days",
        "tests/support/test_audit.py::TestOldAndNewValues::test_are_deleted_with_the_device",
    ],
    "The audit log keeps the name of a member of staff whose account is deleted.": [
        "tests/support/test_audit.py::TestTheHistory::test_keeps_the_name_of_a_user_who_was_deleted"
    ],
    "The audit log records each time that support opens the page of a device or of a row, or lists rows.": [
        "tests/support/test_reading.py::TestOpeningAPage::test_of_a_row_is_recorded",
        "tests/support/test_reading.py::TestOpeningAPage::test_of_a_device_is_recorded",
        "tests/support/test_reading.py::TestListingRows::test_of_a_device_is_recorded",
    ],
    "A line of the request log has the time, method, route, status, duration, size and request id.": [
        "tests/service/test_logs.py::TestARequestLine::test_has_the_route_the_status_and_the_device"
    ],
    "The log has no address, no id of a device or of a row, no query, no body and no name of a food.": [
        "tests/service/test_logs.py::TestTheLog::test_contains_no_sent_data"
    ],
    "The database has no secret of an authenticator app and no recovery code.": [
        "support/tests/test_second_factor.py::TestSecrets::test_are_not_stored"
    ],
    "PostgreSQL's log shows errors without values.": [
        "tests/project/test_deploy.py::TestTheLogOfPostgreSQL::test_has_no_values_on_a_bare_host",
        "tests/project/test_deploy.py::TestTheLogOfPostgreSQL::test_has_no_values_with_docker",
    ],
    "Files that hold data can be read by the user that the service runs as, and by root: SQLite's files, "
    "backups and the ledger.": [
        "tests/project/test_deploy.py::TestFilesWithData::test_are_private_while_the_service_writes",
        "tests/project/test_deploy.py::TestBackup::test_creates_private_files",
        "account/tests/test_ledger.py::TestLedger::test_can_be_read_by_its_owner_only",
    ],
    "The nightly job removes backups that are older than `BACKUP_RETENTION` days.": [
        "tests/project/test_deploy.py::TestBackup::test_removes_backups_older_than_the_retention_minus_an_hour"
    ],
    "The backup job copies the ledger to the folder of the backups.": [
        "tests/project/test_deploy.py::TestBackup::test_copies_lines_that_are_added_to_the_ledger_during_the_backup"
    ],
    "A job that is killed continues at its next run.": [
        "account/tests/test_erase.py::TestKilledErasure::test_continues_at_the_next_run"
    ],
    "The receipt can be read without a token, by its id, for a year after the erasure.": [
        "account/tests/test_erase_me.py::TestReceipt::test_can_be_read_without_a_token",
        "account/tests/test_erase_me.py::TestReceipt::test_returns_410_a_year_after_the_erasure",
    ],
    "After that, the database, the log and new backups by `deploy/backup.sh` hold neither the device's id nor the name "
    "of a food.": ["tests/project/test_deploy.py::TestBackupOfPostgreSQL::test_contains_no_data_of_an_erased_device"],
    "The device's id can't be registered again.": [
        "account/tests/test_erase_me.py::TestEraseMe::test_prevents_that_the_devices_id_is_registered_again"
    ],
    "A restore from a backup erases the device again.": [
        "account/tests/test_after_restore.py::TestAfterRestore::test_erases_devices_that_the_ledger_lists"
    ],
    "An operator erases a device for somebody who has lost the phone: `manage.py erase --device ID`.": [
        "account/tests/test_erase.py::TestErase::test_erases_one_device_by_its_id"
    ],
    "Devices that nobody uses are erased when an operator runs `manage.py erase --idle 730d --commit`.": [
        "account/tests/test_erase.py::TestIdleDevices::test_are_erased_with_commit"
    ],
    "`DELETE /v1/devices/me` takes less than a second, whatever the device holds.": [
        "account/tests/test_erase_me.py::TestEraseMe::test_takes_the_same_queries_for_any_number_of_rows"
    ],
}


def states(statement: str):
    """Mark a test as the proof of a statement of the page."""

    def mark(test):
        STATED[statement] = test
        return test

    return mark


def statements() -> set[str]:
    """Return the items of lists and the rows of tables, in one line each."""
    found, item = set(), ""
    for line in [*PAGE.read_text().splitlines(), ""]:
        if line.startswith("  ") and item:
            item += " " + line.strip()
            continue
        found |= {item} - {""}
        item = line.removeprefix("- ") if line.startswith("- ") else ""
        if line.startswith("| ") and not line.startswith("| what |"):
            found.add(line)
    return found


def columns(model: type[models.Model]) -> set[str]:
    return {field.column for field in model._meta.concrete_fields}


def stored() -> str:
    """Return every value of every table, in every spelling in which an id may be stored."""
    found = []
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
        # SQLite can't read an FTS5 table without content. Its words are in the tables that hold its data.
        for table in {table for table in tables if f"{table}_data" not in tables}:
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608
            found += map(str, cursor.fetchall())
    return "\n".join(found)


def traces(text: str, device_id: UUID) -> list[str]:
    """Return the traces of a device and of its food in a text."""
    return [trace for trace in (str(device_id), device_id.hex, str(device_id).upper(), FOOD) if trace in text]


class TestPage:
    def test_states_what_is_tested_and_nothing_else(self):
        assert len(statements()) > 30
        assert statements() == STATED.keys() | ELSEWHERE.keys()

    @pytest.mark.parametrize("place", [place for places in ELSEWHERE.values() for place in places])
    def test_names_tests_that_exist(self, place):
        file, subject, test = place.split("::")
        source = (ROOT / file).read_text()

        (body,) = re.findall(rf"^class {subject}\b.*?(?=^class |\Z)", source, re.M | re.S)
        assert f"    def {test}(" in body


class TestStoredData:
    @states("A person has no account. A phone registers an id that it generates, and nothing else.")
    def test_identifies_a_person_by_an_id_only(self, db):
        accounts = {model for model in apps.get_models() if "password" in columns(model)}
        assert accounts == {User}  # staff

        response = APIClient().post(
            "/v1/auth/register", {"device_id": str(UUID(int=7)), "name": "Ada", "email": "a@b.c"}
        )

        assert response.status_code == 200
        assert not {"Ada", "a@b.c"} & set(re.findall(r"[\w@.]+", stored()))

    @states("The service stores no network address of a phone. Rate limits store a keyed hash of it.")
    def test_contains_no_address(self, db):
        phone = APIClient(REMOTE_ADDR="192.0.2.77")

        token = phone.post("/v1/auth/register", {"device_id": str(UUID(int=7))}).json()["token"]
        phone.credentials(HTTP_AUTHORIZATION=f"Bearer {token[:-1]}{'x' if token[-1] != 'x' else 'y'}")
        phone.get("/v1/products")

        assert Attempts.objects.count() >= 2
        assert "192.0.2" not in stored()

    @states("The database has nothing about what a phone searches in the catalogue.")
    def test_contains_no_search(self, api, device):
        import_foods(make_food("Bread"))

        for query in ({"search": FOOD}, {"barcode": "4006381333931"}):
            assert api.get("/v1/catalog/foods", query).json() == []

        assert not [each for each in ("insulin", "shake", "4006381333931") if each in stored().lower()]

    @states("The catalogue has no names of people who have contributed to Open Food Facts.")
    def test_contains_no_contributor(self, db, tmp_path):
        row = {"code": "3017620422003", "product_name": "Nutella", "nutriments": {"energy-kcal_100g": 539}}
        contributors = {"creator": "nickname", "last_modified_by": "nickname", "editors_tags": ["nickname"]}
        (tmp_path / "off.jsonl").write_text(json.dumps(row | contributors))

        call_command("import_off", str(tmp_path / "off.jsonl"), verbosity=0)

        assert "Nutella" in stored()
        assert "nickname" not in stored()

    @states("The service stores no token. It stores a hash of the token's secret.")
    def test_contains_no_token(self, api, device):
        rotated = api.post("/v1/auth/rotate").json()["token"]

        everything = stored()

        for token in (api.token, rotated):
            assert token.partition(".")[2] not in everything
        assert Device.objects.get().token_hash.startswith("$2b$")


class TestRetention:
    @states("| foods, portions and food entries | until the phone deletes them, then until they are purged |")
    @states(
        "A job purges rows that were deleted more than 180 days ago. It runs every week, or every night with Docker. A "
        "deleted food or portion stays as long as a food entry refers to it."
    )
    def test_of_deleted_rows_ends_with_the_purge(self, device):
        add_rows(device)
        with change_set(device):
            for product in Product.objects.for_device(device):
                product.soft_delete()
        eaten = FoodEntry.objects.for_device(device).get().product
        for model in (Product, Portion):
            long_ago = timezone.now() - timedelta(days=181)
            models.QuerySet.update(model.all_objects.for_device(device), deleted_at=long_ago)

        call_command("purge_tombstones", "--older-than", "180d", "--commit")

        assert list(Product.all_objects.for_device(device)) == [eaten]
        unit, timer = (ROOT / f"deploy/systemd/countonme-purge.{kind}" for kind in ("service", "timer"))
        command = "manage.py purge_tombstones --older-than 180d --commit"
        assert command in unit.read_text()
        assert "OnCalendar=Sun " in timer.read_text()
        assert f"- python {command}" in (ROOT / "docker-compose.yml").read_text()

    @states(
        "| the device: its id, token hashes, counters, the times of its registration and of its last request | until "
        "it is erased |"
    )
    def test_of_a_device_ends_with_its_erasure(self, device, erase):
        assert columns(Device) == {
            *("id", "token_hash", "next_token_hash"),
            *("revision", "purged_through", "row_counts", "new_rows", "new_rows_day"),
            *("created_at", "last_seen_at", "blocked_at", "deleted_at"),
        }

        erase("--device", str(device.pk))

        assert not Device.objects.exists()

    @states(
        "| the audit log: what support did or opened, to which row, when, who, and why | until the device is erased |"
    )
    def test_of_the_audit_log_ends_with_the_erasure_of_the_device(self, support, device, erase):
        support.get(f"/admin/devices/device/{device.pk}/change/")
        assert AuditEntry.objects.filter(device=device).exists()
        assert columns(AuditEntry) == {
            *("id", "at", "user_id", "user_name", "kind", "object_id", "device_id", "act", "reason")
        }

        erase("--device", str(device.pk))

        assert not AuditEntry.objects.exists()

    @states("Entries of the audit log about accounts of staff are kept for ever.")
    def test_of_the_audit_log_of_accounts_never_ends(self, admin_client, support, device, erase):
        member = User.objects.get(username="ada")
        admin_client.post(f"/admin/auth/user/{member.pk}/delete/", {"post": "yes"})

        erase("--device", str(device.pk))

        assert [(entry.kind, entry.act) for entry in AuditEntry.objects.all()] == [("auth.user", "Deleted")]

    @states("| hashes of addresses and names that rate limits count | removed in the first night after they expire |")
    def test_of_rate_limit_hashes_ends_after_they_expire(self, db, erase):
        Attempts.objects.create(key="old", expires_at=timezone.now().timestamp() - 1)

        erase()

        assert not Attempts.objects.exists()

    @states(
        "| the second factor of a member of staff: a random number, hashes of recovery codes, when it was set up and "
        "last used, wrong codes | until it is replaced or reset, or the account is deleted |"
    )
    @pytest.mark.parametrize("end", [second_factor.reset, User.delete], ids=["reset", "delete"])
    def test_of_a_second_factor_ends_with_its_reset(self, db, end):
        member = User.objects.create_user("grace", is_staff=True)
        Authenticator.objects.create(user=member)
        RecoveryCode.objects.replace(member)
        assert columns(RecoveryCode) == {"id", "user_id", "digest"}
        assert columns(Authenticator) == {
            *("id", "user_id", "name", "confirmed", "key", "created_at", "last_used_at"),
            *("step", "t0", "digits", "tolerance", "drift", "last_t"),
            *("throttling_failure_count", "throttling_failure_timestamp"),
        }

        end(member)

        assert not Authenticator.objects.exists()
        assert not RecoveryCode.objects.exists()

    @states("| sessions of staff | removed in the first night after they expire, which they do after 12 hours |")
    def test_of_sessions_ends_after_they_expire(self, support):
        lifetime = Session.objects.get().expire_date - timezone.now()
        assert timedelta(hours=11.9) < lifetime < timedelta(hours=12.1)
        Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))

        call_command("clearsessions")

        assert not Session.objects.exists()
        assert "manage.py clearsessions" in (ROOT / "deploy/systemd/countonme-erase.service").read_text()
        assert "- python manage.py clearsessions" in (ROOT / "docker-compose.yml").read_text()

    @states(
        "| erasures: the SHA-256 of the device's id, the receipt's id, two times | for ever, so that nobody can "
        "register the id again |"
    )
    def test_of_an_erasure_is_limited_to_ids_and_times(self, api, device, erase):
        api.delete(ME)
        erase()

        (kept,) = Erasure.objects.values()

        assert kept.pop("device_hash") == hash_device_id(device.pk)
        assert kept.pop("device_id") is None
        assert kept.keys() == {"id", "requested_at", "erased_at"}


class TestAccess:
    @states("A device sees its own live rows and no others.")
    def test_of_a_device_is_limited_to_its_own_live_rows(self, api, device, other_device):
        add_rows(device)
        add_rows(other_device)
        with change_set(device):
            FoodEntry.objects.for_device(device).soft_delete()

        seen = api.get("/v1/sync").json()["changes"]

        assert {row["id"] for row in seen["products"]["updated"]} == {
            str(pk) for pk in Product.objects.for_device(device).values_list("pk", flat=True)
        }
        assert seen["food_entries"]["updated"] == []

    @states("Support sees the rows of one device at a time, deleted rows included, and no token.")
    def test_of_support_is_limited_to_one_device_at_a_time(self, support, api, device, other_device):
        add_rows(device)
        add_rows(other_device)
        with change_set(device):
            FoodEntry.objects.for_device(device).soft_delete()

        of_all, of_one = (
            support.get("/admin/food_entries/foodentry/", query).content.decode()
            for query in ({}, {"device__id__exact": str(device.pk)})
        )

        assert FOOD not in of_all
        assert of_one.count(f">{FOOD}<") == 1
        device.refresh_from_db()
        page = support.get(f"/admin/devices/device/{device.pk}/change/").content.decode()
        assert device.token_hash not in page
        assert api.token.partition(".")[2] not in page


class TestLog:
    @states("The log names a device by a keyed hash of its id.")
    def test_names_a_device_by_a_hash(self, api, device, json_log):
        api.get(ME)

        assert [line["device"] for line in json_log()] == [name_in_log(device.pk)]

    @states(
        "nginx writes no access log. Its error log has messages of the level `emerg` alone, and none is about a client."
    )
    def test_is_turned_off_in_nginx(self):
        # TestNginx.test_logs_nothing_about_a_client of tests/project/test_deploy.py tries it, if nginx is installed.
        conf = (ROOT / "deploy/nginx.conf").read_text()

        of_every_server = conf[: conf.index("upstream")]
        assert "\naccess_log off;\n" in of_every_server
        assert "\nerror_log /var/log/nginx/error.log emerg;\n" in of_every_server
        assert re.findall(r"^ +access_log (.*);", conf, re.M) == [
            "syslog:server=unix:/dev/log,nohostname,tag=countonme_nginx countonme if=$countonme_logged"
        ]
        assert conf.count("_log ") == 3

    @states("A line of nginx's log of its own errors has the time, status and duration, and nothing else.")
    def test_has_no_client_in_nginx(self):
        conf = (ROOT / "deploy/nginx.conf").read_text()

        (log_format,) = re.findall(r"^log_format countonme escape=json\n +'(.*)';$", conf, re.M)
        assert re.findall(r"\$\w+", log_format) == ["$time_iso8601", "$status", "$upstream_status", "$request_time"]
        assert conf.count("log_format") == 1

    @states("On a bare host, the log is kept for at most 31 days. With Docker, a container keeps its last 50 MB.")
    def test_is_kept_for_a_limited_time(self):
        journal = (ROOT / "deploy/journald.conf").read_text()
        services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]

        assert "MaxRetentionSec=30day\nMaxFileSec=1day\n" in journal
        assert "deploy/journald.conf /etc/systemd/journald.conf.d/" in (ROOT / "docs/deployment.md").read_text()
        assert {"database", "api", "cleanup", "backup"} <= services.keys()
        for name, service in services.items():
            limited = {"driver": "local", "options": {"max-size": "10m", "max-file": "5"}}
            assert service["logging"] == limited, name


class TestSharedCache:
    @states("A shared cache holds keyed hashes of accepted tokens, for a day.")
    def test_stores_keyed_hashes_for_a_day(self, api, device, monkeypatch):
        calls = []
        monkeypatch.setattr(token_cache.shared_cache, "call", lambda *call: calls.append(call))
        token_cache.local_cache.clear()

        assert api.get(ME).status_code == 200

        ((_, key), (method, same_key, value, seconds)) = calls
        assert (method, same_key, value, seconds) == ("set", key, 1, 24 * 60 * 60)
        assert re.fullmatch("[0-9a-f]{64}", key)


class TestBackups:
    @states("A backup holds the whole database.")
    def test_contain_the_whole_database(self):
        (dump,) = re.findall(r"^pg_dump .*", (ROOT / "deploy/backup.sh").read_text(), re.M)

        assert not re.search("--(exclude|table|schema|data-only)", dump)

    @states(
        "A receipt says when the last backup that holds the data is removed: `BACKUP_RETENTION` days and one more "
        "after the erasure."
    )
    def test_are_removed_at_the_time_that_the_receipt_states(self, api, anonymous, erase, settings):
        settings.BACKUP_RETENTION = 3
        location = api.delete(ME)["Location"]
        erase()

        receipt = anonymous.get(location).json()

        erased_at, expire_at = (
            timezone.datetime.fromisoformat(receipt[name]) for name in ("erased_at", "backups_expire_at")
        )
        assert expire_at - erased_at == timedelta(days=4)


class TestLedger:
    @states(
        "The file that `ERASURE_LEDGER` names has a line for each erasure: the time, the receipt's id, and the SHA-256 "
        "of the device's id. Lines are never removed."
    )
    def test_has_a_line_for_each_erasure(self, api, other_api, erase, ledger):
        locations = [phone.delete(ME)["Location"] for phone in (api, other_api)]
        before = ledger.read_text()
        erase()

        assert ledger.read_text() == before
        assert [f"/v1/erasures/{line.split()[1]}" for line in before.splitlines()] == locations


class TestErasure:
    @states("From the response on, the device's tokens are refused, and neither the API nor the admin shows its rows.")
    def test_hides_its_rows_at_once(self, api, device, support):
        add_rows(device)
        rows = rows_of(device)
        pages = [f"/admin/devices/device/{device.pk}/change/"]
        for row in rows:
            address = f"/admin/{row._meta.app_label}/{row._meta.model_name}/"
            pages += [f"{address}{row.pk}/{page}/" for page in ("change", "history", "soft-delete")]
        lists = {
            f"/admin/{model._meta.app_label}/{model._meta.model_name}/?{query}"
            for model in (*owned_models(), Device)
            for query in (f"device__id__exact={device.pk}", f"q={device.pk}", *(f"q={row.pk}" for row in rows))
            if model is not Device or not query.startswith("device__")
        }
        assert {support.get(page).status_code for page in pages} == {200}

        api.delete(ME)

        assert api.get("/v1/products").status_code == api.get("/v1/sync").status_code == 401
        assert {support.get(page).status_code for page in pages} == {302}
        for address in lists:
            page = support.get(address).content.decode()
            assert FOOD not in page
            assert not [row for row in rows if f"{row.pk}/change" in page]

    @states("The nightly job removes the rows, the audit log's entries about them, and the device.")
    @states(
        "After that, the database, the log and new backups by `deploy/backup.sh` hold neither the device's id nor the "
        "name of a food."
    )
    def test_removes_all_data(self, api, device, support, erase, log):
        add_rows(device)
        entry = FoodEntry.objects.for_device(device).get()
        page = f"/admin/food_entries/foodentry/{entry.pk}"
        support.get(f"/admin/devices/device/{device.pk}/change/")
        support.post(f"{page}/soft-delete/", {"reason": f"He ate no {FOOD}.", "seen": entry.revision})
        FoodEntry.all_objects.for_device(device).purge()  # its entries in the audit log are left
        api.get("/v1/products", {"search": FOOD})
        assert set(traces(stored(), device.pk)) & {str(device.pk), device.pk.hex}
        assert FOOD in traces(stored(), device.pk)
        assert AuditEntry.objects.count() >= 2

        location = api.delete(ME)["Location"]
        erase()

        # A backup holds what the database holds.
        assert traces(stored(), device.pk) == []
        assert traces(log.getvalue(), device.pk) == []
        assert "DELETE /v1/devices/me 204" in log.getvalue()
        assert APIClient().get(location).status_code == 200
        assert not AuditEntry.objects.exists()
