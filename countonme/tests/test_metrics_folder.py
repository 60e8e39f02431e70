import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from countonme.serving import metrics_folder

CREATE = (
    "import sys; from countonme.serving import metrics_folder;"
    " print(metrics_folder.create(sys.argv[1]), flush=True); sys.stdin.read()"
)


@contextmanager
def service(parent: Path):
    """Run a process that creates a folder. Yield the process and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", CREATE, parent],
        cwd=settings.BASE_DIR,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, Path(process.stdout.readline().strip())
    finally:
        process.kill()
        process.communicate()


class TestCreate:
    def test_removes_the_folder_of_a_killed_service(self, tmp_path):
        with service(tmp_path) as (process, killed):
            (killed / "counter.db").touch()
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert killed.exists()

        with service(tmp_path) as (_, folder):
            assert list(tmp_path.iterdir()) == [folder]

    def test_keeps_the_folder_of_another_service(self, tmp_path):
        with service(tmp_path) as (_, one), service(tmp_path) as (_, two), service(tmp_path) as (_, three):
            assert set(tmp_path.iterdir()) == {one, two, three}

    def test_keeps_other_files(self, tmp_path):
        other = tmp_path / "other"
        other.mkdir()
        (other / "file").touch()
        (tmp_path / f"{metrics_folder.PREFIX}link").symlink_to(other)
        (tmp_path / f"{metrics_folder.PREFIX}file").touch()

        with service(tmp_path) as (_, folder):
            assert len({*tmp_path.iterdir()} - {folder}) == 3
        assert (other / "file").exists()

    def test_keeps_folders_of_other_users(self, tmp_path, monkeypatch):
        theirs = tmp_path / f"{metrics_folder.PREFIX}1-x"
        theirs.mkdir()
        monkeypatch.setattr(os, "geteuid", lambda: theirs.stat().st_uid + 1)

        assert metrics_folder.lock_if_unused(theirs) is None

    def test_creates_another_folder_if_a_starting_service_has_removed_it(self, tmp_path, monkeypatch):
        lock_if_unused, locked = metrics_folder.lock_if_unused, []

        def remove_the_first(folder):
            if not locked:
                folder.rmdir()
            locked.append(folder)
            return lock_if_unused(folder)

        monkeypatch.setattr(metrics_folder, "lock_if_unused", remove_the_first)

        folder = metrics_folder.create(str(tmp_path))

        assert [str(each) for each in locked[1:]] == [folder]
        assert list(tmp_path.iterdir()) == [Path(folder)]


class TestRemove:
    def test_removes_only_the_folder_of_this_process(self, tmp_path):
        theirs = tmp_path / f"{metrics_folder.PREFIX}1-x"
        theirs.mkdir()
        ours = metrics_folder.create(None)

        for folder in (str(theirs), ours, ""):
            metrics_folder.remove(folder)

        assert theirs.exists()
        assert not Path(ours).exists()
