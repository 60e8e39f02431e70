from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.utils import timezone

from devices.models import Device
from ownership.models import change_set, owned_models
from ownership.tests.counters import counted, counters
from ownership.tests.notebook.models import Note
from tests.harness.at_once import at_once, call, statuses

NOTES = "/v1/notes"
PARTY = {"title": "Party"}


@pytest.fixture
def lines(note) -> str:
    """The path of the note's lines."""
    return f"{NOTES}/{note['id']}/lines"


@pytest.fixture
def registered_ago(device):
    """Return a function that moves the registration into the past."""

    def registered_ago(**ago) -> None:
        Device.objects.filter(pk=device.pk).update(created_at=timezone.now() - timedelta(**ago))

    return registered_ago


class TestCounters:
    def test_match_the_stored_rows(self, api, device, note, lines):
        line_id = str(uuid4())
        api.post(lines, {"id": line_id, "text": "Bread"})
        api.post(lines, {"text": "Butter"})
        before = counted(device)
        assert counters(device) == before == before | {"notes": 1, "lines": 2}

        api.patch(f"{NOTES}/{note['id']}", PARTY)
        api.delete(f"/v1/lines/{line_id}")
        api.delete(f"{NOTES}/{note['id']}")

        assert counters(device) == counted(device) == before

    def test_do_not_change_if_a_request_is_refused_or_retried(self, api, device, note, lines):
        before = counters(device)

        assert api.post(NOTES, note).status_code == 200
        assert api.post(NOTES, {"title": ""}).status_code == 422
        assert api.post(NOTES, PARTY | {"id": str(device.pk)}).status_code == 201
        assert api.post(lines, {"text": ""}).status_code == 422

        assert counters(device) == counted(device) == before | {"notes": 2}

    def test_are_not_overwritten_by_a_stale_device(self, api, device):
        api.post(NOTES, PARTY)

        device.blocked_at = timezone.now()
        device.save()

        assert counters(device) == counted(device)

    def test_are_repaired_by_recount(self, api, device, note, capsys):
        Device.objects.filter(pk=device.pk).update(row_counts={"notes": 7})

        call_command("recount")
        call_command("recount")

        assert counters(device) == counted(device)
        assert capsys.readouterr().out.splitlines() == [
            "Repaired the counters of 1 device.",
            "Repaired the counters of 0 devices.",
        ]

    @pytest.mark.postgres
    def test_are_repaired_under_the_lock_of_the_device(self, api, note, django_assert_num_queries):
        with django_assert_num_queries(4 + len(owned_models())) as queries:
            call_command("recount", stdout=StringIO())

        assert any("FOR UPDATE" in query["sql"] for query in queries.captured_queries)

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_count_all_rows_of_concurrent_requests(self, api, device, note, lines):
        responses = at_once(
            *(call(api, "POST", lines, {"text": "Bread"}) for _ in range(8)),
            *(call(api, "POST", NOTES, PARTY) for _ in range(8)),
        )

        assert statuses(responses) == {201: 16}
        assert counters(device) == counted(device) == counted(device) | {"notes": 9, "lines": 8}


class TestQuota:
    def test_refuses_another_note(self, api, settings, note, all_rows):
        settings.MAX_NOTES = 1
        before = all_rows()

        response = api.post(NOTES, PARTY)

        assert response.status_code == 507
        assert response.json() == {"detail": "A device can have 1 notes. Deleted ones count until they are purged."}
        assert all_rows() == before

    def test_refuses_another_line(self, api, settings, line, lines):
        settings.MAX_LINES = 2

        assert api.post(lines, {"text": "Butter"}).status_code == 201
        assert api.post(lines, {"text": "Jam"}).status_code == 507

    def test_allows_reads_retries_edits_and_deletions(self, api, settings, note, line):
        settings.MAX_NOTES = settings.MAX_LINES = 0

        assert api.post(NOTES, note).status_code == 200
        assert api.patch(f"{NOTES}/{note['id']}", PARTY).status_code == 200
        assert api.patch(f"/v1/lines/{line['id']}", {"text": "Butter"}).status_code == 200
        assert api.get(NOTES).status_code == 200
        assert api.delete(f"/v1/lines/{line['id']}").status_code == 204
        assert api.delete(f"{NOTES}/{note['id']}").status_code == 204

    def test_counts_deleted_rows(self, api, settings, note):
        settings.MAX_NOTES = 1
        api.delete(f"{NOTES}/{note['id']}")

        assert api.post(NOTES, PARTY).status_code == 507

    def test_applies_to_each_device(self, api, other_api, settings, note):
        settings.MAX_NOTES = 1

        assert other_api.post(NOTES, PARTY).status_code == 201
        assert api.post(NOTES, PARTY).status_code == 507

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_is_not_exceeded_by_concurrent_requests(self, api, device, settings):
        settings.MAX_NOTES = 5

        answers = at_once(*(call(api, "POST", NOTES, PARTY) for _ in range(12)))

        assert statuses(answers) == {201: 5, 507: 7}
        assert counters(device) == counted(device) == counted(device) | {"notes": 5, "lines": 0}


class TestDailyLimit:
    @pytest.fixture(autouse=True)
    def _limits(self, settings):
        settings.NEW_ROWS_FIRST_DAY, settings.NEW_ROWS_PER_DAY = 3, 2

    def notes_added(self, api) -> int:
        """Add notes until one is refused; return how many."""
        for number in range(10):
            response = api.post(NOTES, PARTY)
            if response.status_code != 201:
                assert response.status_code == 429
                return number
        raise AssertionError("nothing was refused")

    def test_is_larger_on_the_first_day(self, api, device, registered_ago):
        assert self.notes_added(api) == 3

        registered_ago(hours=23, minutes=59)
        assert self.notes_added(api) == 0

        registered_ago(hours=24)
        assert self.notes_added(api) == 2
        assert counters(device) == counted(device)

    def test_starts_again_each_day(self, api, registered_ago):
        registered_ago(days=9, hours=1)
        assert self.notes_added(api) == 2

        registered_ago(days=10, hours=1)
        assert self.notes_added(api) == 2

    def test_returns_the_seconds_until_the_next_day(self, api, registered_ago):
        registered_ago(days=3, hours=23)
        self.notes_added(api)

        response = api.post(NOTES, PARTY)

        assert response.status_code == 429
        assert response.json()["detail"].startswith("A device can add 2 rows a day. Expected available in 3")
        assert 3590 <= int(response["Retry-After"]) <= 3600

    def test_applies_while_the_clock_is_behind(self, api, device):
        Device.objects.filter(pk=device.pk).update(created_at=timezone.now() + timedelta(hours=1))

        assert self.notes_added(api) == 3


class TestDeviceOwnedModels:
    def test_have_quotas(self, settings):
        for model in owned_models():
            assert getattr(settings, model.quota_setting) > 0, model

    def test_fail_the_system_check_without_a_quota(self, settings, monkeypatch):
        monkeypatch.delattr(Note, "quota_setting")
        del settings.MAX_LINES

        faults = [fault.msg for fault in run_checks() if fault.id == "countonme.E014"]

        assert faults == ["notebook.Note has no quota.", "notebook.Line has no quota."]

    def test_are_counted_by_stamp(self, device):
        with change_set(device) as changes:
            for model in owned_models():
                model.new(device_id=device.pk).stamp()
                model.new(device_id=device.pk).stamp()

            assert changes.quota.row_counts == {model._meta.db_table: 2 for model in owned_models()}
            assert changes.quota.new_rows == 2 * len(owned_models())
