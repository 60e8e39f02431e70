"""Have Schemathesis try the published document against a live service: `python -m tests.e2e.schema.run`.

COUNTONME_URL holds the service's address; `python -m tests.e2e.clients.live` sets it. All arguments are passed on.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from tests.harness.phone import Phone

HERE = Path(__file__).resolve().parent
# The device that deletes itself has no token afterwards: it is another one, in a run of its own.
RUNS = (
    ["--exclude-operation-id", "delete_me"],
    ["--include-operation-id", "delete_me", "--phases", "examples,coverage"],
)


def main(arguments: list[str]) -> int:
    return max(tried(os.environ["COUNTONME_URL"], [*run, *arguments]) for run in RUNS)


def tried(api: str, arguments: list[str]) -> int:
    command = [str(HERE / ".venv/bin/schemathesis"), "--config-file", str(HERE / "schemathesis.toml"), "run"]
    command += ["--header", f"Authorization: Bearer {registered(api)}", f"{api}/schema", *arguments]
    with TemporaryDirectory() as folder:  # it keeps what it found beside itself
        return subprocess.run(command, cwd=folder, check=False).returncode


def registered(api: str) -> str:
    phone = Phone(urlsplit(api).port)
    phone.register()
    return phone.token


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
