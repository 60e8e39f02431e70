from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from countonme.api.errors import Conflict, InvalidToken
from devices.models import Device, Erasure
from ownership.models import OutsideChangeSet, change_set, owned_models
from ownership.tests.notebook.models import Line, Note
from ownership.tests.notebook.tests.factories import LineFactory, NoteFactory


class TestDeviceOwnedModels:
    def test_come_from_all_apps(self):
        assert set(owned_models()) > {Note, Line}

    @pytest.mark.parametrize("model", owned_models())
    def test_have_no_default_revision(self, model):
        assert not model._meta.get_field("revision").has_default()

    @pytest.mark.parametrize("model", owned_models())
    def test_have_an_index_on_device_and_revision(self, model):
        assert ["device", "revision"] in [index.fields for index in model._meta.indexes]


class TestRestore:
    def test_needs_a_tombstone(self, device):
        line = LineFactory(device=device)

        for row in (line, line.note):
            with pytest.raises(Conflict, match="not deleted"), change_set(device):
                row.restore()

        device.refresh_from_db()
        assert device.revision == 3

    def test_includes_lines_of_several_notes_that_were_deleted_in_one_change_set(self, device):
        lines = [LineFactory(device=device) for _ in range(3)]
        with change_set(device):
            for line in lines:
                line.note.soft_delete()

        for line in lines:
            with change_set(device):
                line.note.restore()

        assert set(Line.objects.for_device(device)) == set(lines)

    def test_needs_a_change_set(self, device):
        line = LineFactory(device=device)
        with change_set(device):
            line.soft_delete()

        with pytest.raises(OutsideChangeSet):
            line.restore()

        line.refresh_from_db()
        assert line.deleted_at is not None


class TestChangeSet:
    def test_the_first_write_has_revision_2(self, device):
        note = NoteFactory(device=device)

        device.refresh_from_db()
        assert device.revision == note.revision == 2

    def test_all_rows_get_one_revision_and_increasing_times(self, device):
        with change_set(device):
            rows = [NoteFactory(device=device) for _ in range(3)]

        device.refresh_from_db()
        assert {row.revision for row in rows} == {device.revision} == {2}
        assert rows[0].created_at < rows[1].created_at < rows[2].created_at

    def test_keeps_the_revision_if_nothing_is_written(self, device):
        with change_set(device):
            list(Note.objects.for_device(device))

        device.refresh_from_db()
        assert device.revision == 1

    def test_does_not_write_a_row_that_has_not_changed(self, device):
        note = NoteFactory(device=device, title="Party")

        with change_set(device):
            changed = note.change(title="Party")

        device.refresh_from_db()
        note.refresh_from_db()
        assert not changed
        assert (device.revision, note.revision, note.updated_at) == (2, 2, None)

    def test_writes_all_or_nothing(self, device):
        class Trouble(Exception):
            pass

        with pytest.raises(Trouble), change_set(device):
            NoteFactory(device=device)
            raise Trouble

        device.refresh_from_db()
        assert device.revision == 1
        assert not Note.all_objects.for_device(device).exists()

    def test_raises_invalid_token_if_the_device_was_deleted(self, device):
        Erasure.objects.request(device.pk, uuid4())

        with pytest.raises(InvalidToken), change_set(device):
            pass

    def test_can_not_contain_a_change_set_of_another_device(self, device, other_device):
        with pytest.raises(OutsideChangeSet), change_set(device), change_set(other_device):
            pass

    def test_can_not_write_rows_of_another_device(self, device, other_device):
        theirs = NoteFactory(device=other_device, title="Theirs")

        with change_set(device):
            assert Note.objects.filter(pk=theirs.pk).update(title="Mine") == 0
            assert Note.objects.filter(pk=theirs.pk).soft_delete() == 0
            with pytest.raises(OutsideChangeSet):
                theirs.change(title="Mine")

        theirs.refresh_from_db()
        assert (theirs.title, theirs.revision, theirs.deleted_at) == ("Theirs", 2, None)


WRITES = {
    "save": lambda row: row.save(),
    "change": lambda row: row.change(title="Other"),
    "soft_delete": lambda row: row.soft_delete(),
    "delete": lambda row: row.delete(),
    "create": lambda row: Note.objects.create(device=row.device, title="New"),
    "bulk_create": lambda row: Note.objects.bulk_create([Note(device=row.device, title="New")]),
    "update": lambda row: Note.objects.filter(pk=row.pk).update(title="Other"),
    "update of all": lambda row: Note.all_objects.update(title="Other"),
    "soft_delete of many": lambda row: Note.objects.filter(pk=row.pk).soft_delete(),
    "delete of many": lambda row: Note.objects.filter(pk=row.pk).delete(),
    "related update": lambda row: row.device.notes.update(title="Other"),
}


class TestWriteOutsideOfAChangeSet:
    @pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
    def test_raises_an_error_and_changes_nothing(self, device, write):
        row = NoteFactory(device=device, title="Party")

        with pytest.raises(OutsideChangeSet):
            write(row)

        assert list(Note.all_objects.for_device(device).values_list("title", "deleted_at")) == [("Party", None)]


class TestManagers:
    def test_return_live_rows_or_all_rows(self, device):
        gone, kept = NoteFactory(device=device), NoteFactory(device=device)
        with change_set(device):
            gone.soft_delete()

        assert list(Note.objects.for_device(device)) == [kept]
        assert list(device.notes.all()) == [kept]
        assert set(Note.all_objects.for_device(device)) == {gone, kept}


class TestRevision:
    def test_is_not_lowered_by_a_stale_instance(self, device):
        stale = Device.objects.get(pk=device.pk)
        NoteFactory(device=device)

        stale.last_seen_at += timedelta(hours=1)
        stale.save()
        stale.revision = 1
        stale.save(update_fields=["revision", "last_seen_at"])

        device.refresh_from_db()
        assert device.revision == 2

    @pytest.mark.postgres
    def test_can_not_be_lowered_by_raw_sql(self, device):
        NoteFactory(device=device)

        with (
            pytest.raises(IntegrityError, match="would fall from 2 to 1"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute("UPDATE devices SET revision = 1 WHERE id = %s", [device.pk])

        device.refresh_from_db()
        assert device.revision == 2


class TestClientChosenId:
    @pytest.mark.parametrize("factory", [NoteFactory, LineFactory])
    def test_raises_an_error_if_another_device_has_it(self, device, other_device, factory):
        theirs, mine = NoteFactory(device=other_device), NoteFactory(device=device)
        of_note = {} if factory is NoteFactory else {"note": theirs}
        taken = factory(device=other_device, **of_note)

        of_note = {} if factory is NoteFactory else {"note": mine}
        with pytest.raises(IntegrityError), transaction.atomic():
            factory(id=taken.pk, device=device, **of_note)

        taken.refresh_from_db()
        assert taken.device_id == other_device.pk
