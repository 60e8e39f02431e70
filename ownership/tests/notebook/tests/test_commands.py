from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from devices.models import Device
from ownership.models import change_set
from ownership.tests.notebook.models import Line, Note


def run(*command: str) -> str:
    out = StringIO()
    call_command(*command, stdout=out)
    return out.getvalue()


def counters(device) -> dict[str, int]:
    return Device.objects.get(pk=device.pk).row_counts


@pytest.fixture
def old_tombstones(api, device, note, line) -> None:
    """Delete the note and its line, a year ago."""
    api.delete(f"/v1/notes/{note['id']}")
    with change_set(device):
        for model in (Note, Line):
            model.all_objects.for_device(device).update(deleted_at=timezone.now() - timedelta(days=365))


class TestPurgeTombstones:
    def test_removes_tombstones(self, device, old_tombstones):
        run("purge_tombstones", "--older-than", "180d", "--commit")

        assert not Note.all_objects.for_device(device).exists()
        assert not Line.all_objects.for_device(device).exists()
        assert counters(device) == counters(device) | {"notes": 0, "lines": 0}


class TestErase:
    def test_removes_all_rows(self, api, device, note, line):
        api.delete("/v1/devices/me")

        run("erase")

        assert not Note.all_objects.for_device(device).exists()
        assert not Line.all_objects.for_device(device).exists()
        assert not Device.objects.filter(pk=device.pk).exists()


class TestRecount:
    def test_counts_the_rows(self, device, note, line):
        Device.objects.filter(pk=device.pk).update(row_counts={})

        run("recount")

        assert counters(device) == counters(device) | {"notes": 1, "lines": 1}
