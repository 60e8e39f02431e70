"""Check a live service against its OpenAPI document with Schemathesis: `python -m tests.e2e.schema.run`.

COUNTONME_URL is the service's address, which `python -m tests.e2e.clients.live` sets. Arguments are passed to
Schemathesis.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from tests.harness.phone import Phone

HERE = Path(__file__).resolve().parent
# A device that erases itself has no valid token afterwards, so `eraseDevice` has its own run, with another device.
RUNS = (
    ["--exclude-operation-id", "eraseDevice"],
    ["--include-operation-id", "eraseDevice", "--phases", "examples,coverage"],
)


def main(arguments: list[str]) -> int:
    return max(run_schemathesis(os.environ["COUNTONME_URL"], [*run, *arguments]) for run in RUNS)


def run_schemathesis(api: str, arguments: list[str]) -> int:
    command = [str(HERE / ".venv/bin/schemathesis"), "--config-file", str(HERE / "schemathesis.toml"), "run"]
    command += ["--header", f"Authorization: Bearer {register_device(api)}", f"{api}/schema", *arguments]
    with TemporaryDirectory() as folder:  # Schemathesis writes files into the current folder
        return subprocess.run(command, cwd=folder, check=False).returncode


def register_device(api: str) -> str:
    """Register a new device and return its token."""
    phone = Phone(urlsplit(api).port)
    phone.register()
    return phone.token


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
