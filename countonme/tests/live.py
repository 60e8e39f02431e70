import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from django.conf import settings

ROOT = Path(settings.BASE_DIR)


class Live:
    """The service on a SQLite database of its own, as `gunicorn countonme.wsgi` starts it."""

    def __init__(self, folder: Path, **environment: str):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{port}"
        self.database = folder / "db.sqlite3"
        self.log = folder / "log"
        here = {"DATABASE_URL": f"sqlite:///{self.database}", "ALLOWED_HOSTS": "127.0.0.1", "LOG_FORMAT": "json"}
        self.environment = {**os.environ, **here, "PORT": port, "HOST": "127.0.0.1", **environment}

    def __enter__(self):
        migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(migrate, cwd=ROOT, env=self.environment, check=True)
        serve = [sys.executable, "-m", "gunicorn", "countonme.wsgi"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(serve, cwd=ROOT, env=self.environment, stderr=log, start_new_session=True)
        for _ in range(200):
            try:
                self.get("/healthz")
                return self
            except OSError:
                time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def __exit__(self, *error):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def get(self, path: str, **headers: str) -> str:
        with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers), timeout=20) as answer:
            return answer.read().decode()

    def post(self, path: str, body: dict) -> int:
        asked = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.status

    def workers(self) -> set[int]:
        return set(map(int, Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()))

    def wait_for_others(self, than: set[int]) -> None:
        """Return when as many new workers serve in the place of these."""
        for _ in range(200):
            if len(self.workers() - than) == len(than) and not self.workers() & than:
                time.sleep(1)  # a worker exists before it serves
                return
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def memory(self) -> str:
        """Return which files the workers have in their memory."""
        return "".join(Path(f"/proc/{worker}/maps").read_text() for worker in self.workers())

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]
