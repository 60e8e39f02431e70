import sqlite3
from contextlib import closing, contextmanager
from datetime import timedelta
from threading import Event, Thread

import pytest
from django.db import connection, connections, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from devices.models import Device
from devices.tests.test_tokens import wrong

ME = "/v1/devices/me"


def away(device, **since) -> None:
    """Set `last_seen_at` to this long ago."""
    Device.objects.filter(pk=device.pk).update(last_seen_at=timezone.now() - timedelta(**since))
    device.refresh_from_db()


def seen_again(device) -> bool:
    before = device.last_seen_at
    device.refresh_from_db()
    return device.last_seen_at != before


class TestLastSeenAt:
    def test_is_written_after_15_minutes(self, api, device):
        away(device, minutes=15, seconds=1)

        response = api.get(ME)

        assert response.status_code == 200
        assert seen_again(device)
        assert timezone.now() - device.last_seen_at < timedelta(minutes=1)

    def test_is_not_written_before(self, api, device, django_assert_num_queries):
        away(device, minutes=14)

        with django_assert_num_queries(1):  # the device
            response = api.get(ME)

        assert response.status_code == 200
        assert not seen_again(device)

    def test_is_written_once(self, api, device, django_assert_num_queries):
        away(device, days=3)
        api.get(ME)
        seen_again(device)

        with django_assert_num_queries(1):  # the device
            api.get(ME)

        assert not seen_again(device)

    def test_does_not_change_the_revision(self, api, device):
        known = api.get("/v1/products")["ETag"]
        away(device, hours=1)

        response = api.get("/v1/products", headers={"If-None-Match": known})

        assert response.status_code == 304
        assert seen_again(device)
        assert device.revision == 1

    def test_is_not_written_for_a_wrong_secret(self, anonymous, api, device):
        away(device, hours=1)

        anonymous.get(ME, headers={"Authorization": f"Bearer {wrong(api.token)}"})

        assert not seen_again(device)

    def test_is_written_for_the_calling_device_only(self, api, device, other_api):
        away(device, hours=1)

        other_api.get(ME)

        assert not seen_again(device)


@contextmanager
def held(lock):
    """Hold a lock on another connection. Fail if the block waits for it: it is released after 5 seconds."""
    taken, free, waited_for = Event(), Event(), []

    def hold():
        try:
            with lock:
                taken.set()
                waited_for.append(not free.wait(5))
        finally:
            connections.close_all()

    holder = Thread(target=hold)
    holder.start()
    try:
        assert taken.wait(5)
        yield
    finally:
        free.set()
        holder.join()
    assert waited_for == [False]


@contextmanager
def row_lock(device):
    with transaction.atomic():
        yield Device.objects.select_for_update().get(pk=device.pk)


@contextmanager
def file_lock(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestALockedRow:
    def test_neither_delays_nor_fails_the_request(self, api, device):
        away(device, hours=1)

        with held(row_lock(device)):
            response = api.get(ME)

        assert response.status_code == 200
        assert not seen_again(device)

    def test_is_written_by_a_later_request(self, api, device):
        away(device, hours=1)
        with held(row_lock(device)):
            api.get(ME)

        api.get(ME)

        assert seen_again(device)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="tests a SQLite file")
class TestALockedFile:
    @pytest.fixture
    def file(self, db, tmp_path):
        """Use a SQLite database in a file, as in production."""
        here = connections["default"]
        there = connections.create_connection("default")
        there.settings_dict = {**there.settings_dict, "NAME": tmp_path / "db.sqlite3"}
        connections["default"] = there
        executor = MigrationExecutor(connection)
        executor.migrate([node for node in executor.loader.graph.leaf_nodes() if node[0] == "devices"])
        yield tmp_path / "db.sqlite3"
        there.close()
        connections["default"] = here

    def test_neither_delays_nor_fails_the_request(self, file, api, device):
        away(device, hours=1)

        with held(file_lock(file)):
            response = api.get(ME)

        assert response.status_code == 200
        assert not seen_again(device)

    def test_is_written_by_a_later_request_with_the_old_timeout(self, file, api, device):
        away(device, hours=1)
        with held(file_lock(file)):
            api.get(ME)

        api.get(ME)

        assert seen_again(device)
        with connection.cursor() as cursor:
            assert cursor.execute("PRAGMA busy_timeout").fetchone() == (10_000,)
