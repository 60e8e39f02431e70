"""Install, back up, restore, update and stop the service with Docker, with the commands of docs/deployment.md.

`python -m tests.e2e.docker`, as root, on a Docker engine with the Compose plugin. PYTHON_IMAGE and POSTGRES_IMAGE name
other base images. Containers, volumes and folders have names of their own, and are removed at the end. Exits with 1 if
a step fails.
"""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.e2e.restore.__main__ import Failed, RestoringInstall, settle
from tests.harness.phone import Phone
from tests.harness.processes import ROOT, free_port
from tests.harness.servers import say

PAGE = (ROOT / "docs/deployment.md").read_text()
BACK_UP = "docker compose run --rm --no-deps backup /deploy/backup.sh"
PASSWORD = "a/b+c@d%e#f:g$h"
PROXIED = {"Host": "api.example.org", "X-Forwarded-Proto": "https"}
MIGRATION = """from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("support", "{last}")]
    operations = [migrations.RunSQL("SELECT 1 / {divisor}", "SELECT 1")]
"""
# The image runs scripts in the order of their names. During this one, PostgreSQL listens on its socket only.
SLOW_START = """services:
  database:
    volumes: ["./slow.sh:/docker-entrypoint-initdb.d/0.sh:ro"]
"""


def commands(part: str) -> str:
    """Return the block of commands on the page that contains a text. A block begins with "```sh"."""
    (block,) = [block for block in re.findall(r"```sh\n.*?(?=```)", PAGE, re.S) if part in block]
    return block.removeprefix("```sh\n")


def check(claim: bool, what: str) -> None:
    if not claim:
        raise Failed(what)


class Machine:
    """An installation: its checkout, its folder of backups, its port, and the repository that it pulls from."""

    def __init__(self, folder: Path):
        self.repository, self.checkout, self.backups = folder / "repository", folder / "countonme", folder / "backups"
        self.port = free_port()
        # As few variables as in a job of cron.
        self.environment = {
            "PATH": os.environ["PATH"],
            "NAME": PROXIED["Host"],
            "COMPOSE_PROJECT_NAME": f"countonme-test-{secrets.token_hex(4)}",
            "BACKUPS": str(self.backups),
            "PORT": str(self.port),
            **{name: value for name, value in os.environ.items() if re.match(r"HOME$|DOCKER_|\w+_IMAGE$", name)},
        }

    def run(self, script: str, *, error: str = "") -> str:
        """Run commands in the checkout until one fails. Return their output. With `error`, one must fail with it."""
        script = script.replace("/opt/countonme", str(self.checkout)).replace(
            "127.0.0.1:8000", f"127.0.0.1:{self.port}"
        )
        done = subprocess.run(
            ["sh", "-ec", script], cwd=self.checkout, env=self.environment, capture_output=True, text=True
        )
        if bool(done.returncode) != bool(error) or error not in done.stderr + done.stdout:
            raise Failed(f"exit status {done.returncode} of:\n{script}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def containers(self) -> dict[str, dict]:
        """Return what Docker knows of the containers, by the names of their services."""
        found = json.loads(self.run("docker inspect $(docker compose ps --all --quiet)"))
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in found}

    def query(self, statement: str) -> str:
        psql = "docker compose exec -T database psql --username=postgres --tuples-only --no-align countonme"
        return self.run(f'{psql} --command="{statement}"').strip()

    def dumps(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in self.backups.iterdir() if ".dump" in file.name}

    def version(self) -> str:
        response, _ = Phone(self.port, headers=PROXIED).retry("GET", "/v1")
        return response.json()["version"]

    def phone(self, name: str) -> RestoringInstall:
        phone = RestoringInstall(name)
        phone.api.port, phone.api.headers = self.port, PROXIED
        phone.api.register()
        phone.eat("Rye bread")
        settle(phone)
        return phone

    def remove(self) -> None:
        """Remove everything that Docker has of this installation. The files of Compose may be incomplete now."""
        project = f"label=com.docker.compose.project={self.environment['COMPOSE_PROJECT_NAME']}"
        self.run("cd / && docker compose down --volumes --rmi local --timeout 5")
        self.run(f"docker image prune --force --filter {project}")

    def clone(self) -> None:
        """Commit the code of this working tree to the repository, and clone it."""
        listed = subprocess.check_output(
            ["git", "ls-files", "-z", "-c", "-o", "--exclude-standard"], cwd=ROOT, text=True
        )
        for name in filter(None, listed.split("\0")):
            (self.repository / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, self.repository / name)
        self.git("init", "--quiet")
        self.commit()
        self.git("clone", "--quiet", ".", str(self.checkout))

    def publish(self, version: str, *, divisor: int) -> None:
        """Commit a new version with a migration, which fails if the divisor is 0."""
        code = self.repository / "countonme/__init__.py"
        code.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', code.read_text()))
        migrations = self.repository / "support/migrations"
        last = max(file.stem for file in migrations.glob("0*.py"))
        name = f"{int(last[:4]) + 1:04}_of_the_test.py"
        (migrations / name).write_text(MIGRATION.format(last=last, divisor=divisor))
        self.commit()

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "--quiet", "--message=test")

    def git(self, *command: str) -> None:
        subprocess.run(["git", *command], cwd=self.repository, check=True)


def install(machine: Machine) -> None:
    """Install with a difficult password and a slow start of PostgreSQL, after `make run` was used in the checkout."""
    machine.run("make --silent key")
    check("HTTPS_ONLY=off" in (machine.checkout / ".env").read_text(), "make wrote no .env")
    (machine.checkout / "docker-compose.override.yml").write_text(SLOW_START)
    (machine.checkout / "slow.sh").write_text("sleep 15\n")
    script = commands("> docker.env").replace("secrets.token_urlsafe(30)", f'"{PASSWORD}"')
    script = script.replace("> docker.env\n", "> docker.env; echo SYNC_MAX_BODY=2000000 >> docker.env\n")
    machine.run(script.replace("/var/backups/countonme", str(machine.backups)))
    check((machine.checkout / "secrets/database_password").read_text() == f"{PASSWORD}\n", "another password is used")
    check(len(machine.dumps()) == 1, "there is no backup")


def check_requests(machine: Machine) -> None:
    plain = Phone(machine.port, headers={"Host": PROXIED["Host"]}).get("/v1")
    check(plain.status_code == 308, f"a request without HTTPS got {plain}")
    proxied = Phone(machine.port, headers=PROXIED).get("/v1")
    check("max-age" in proxied.headers["Strict-Transport-Security"], "there is no HSTS")
    check(proxied.json()["limits"]["sync_body_bytes"] == 2_000_000, "a setting of docker.env has no effect")


def check_settings(machine: Machine) -> None:
    """Every setting of .env.example reaches every container, except for those that docker-compose.yml sets."""
    names = re.findall(r"^(?:# )?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M)
    settings = machine.checkout / "docker.env"
    before = settings.read_text()
    settings.write_text("".join(f"{name}=for-test\n" for name in names))
    services = json.loads(machine.run("docker compose config --format json"))["services"]
    settings.write_text(before)
    for service in set(services) - {"database"}:
        lost = {name for name in names if services[service]["environment"].get(name) != "for-test"}
        check(lost <= {"ERASURE_LEDGER", "HOST", "PORT"}, f"{service} does not get {lost}")
    override = "--file docker-compose.yml --file deploy/docker/external-database.yml"
    started = machine.run(f"docker compose {override} config --services").split()
    check(set(started) == set(services) - {"database"}, f"external-database.yml starts {started}")


def check_confinement(machine: Machine) -> None:
    containers = machine.containers()
    services = machine.run("docker compose config --services").split()
    check(set(containers) == set(services), f"there are {set(containers)}")
    for service, container in containers.items():
        limits = container["HostConfig"]
        confined = (
            limits["ReadonlyRootfs"] and limits["CapDrop"] == ["ALL"] and limits["Memory"] and limits["PidsLimit"]
        )
        check(confined and limits["SecurityOpt"] == ["no-new-privileges:true"], f"{service} has privileges: {limits}")
        check(container["Config"]["User"] in ("10001", "postgres"), f"{service} runs as {container['Config']['User']}")
        check(PASSWORD not in json.dumps(container), f"docker inspect shows the password to {service}")
    rights = "rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls"
    check(machine.query(f"SELECT {rights} FROM pg_roles WHERE rolname = 'countonme'") == "f", "the role has rights")


def check_failing_backups(machine: Machine) -> None:
    """A backup that lacks what it needs fails, and the existing backups stay as they are."""
    before = machine.dumps()
    for name in ("secrets/database_password", "docker.env"):
        file = machine.checkout / name
        file.rename(f"{file}.away")
        machine.run(BACK_UP, error=name)
        Path(f"{file}.away").rename(file)
    password = machine.checkout / "secrets/database_password"
    password.write_text("wrong\n")
    machine.run(BACK_UP, error="password authentication failed")
    password.write_text(f"{PASSWORD}\n")
    machine.run("docker compose stop database")
    machine.run(BACK_UP, error='could not translate host name "database"')
    machine.run("docker compose up --detach --wait database")
    check(machine.dumps() == before, "a failed backup changed the folder")


def restore(machine: Machine) -> None:
    """Restore a backup that lacks rows of one phone, and contains another one that was erased later."""
    stays, leaves = machine.phone("stays"), machine.phone("leaves")
    name = Path(machine.run(BACK_UP)).name.strip()
    stays.eat("Plum cake")
    settle(stays)
    leaves.erase()
    machine.run(commands("purge_tombstones --older-than 180d --commit\ndocker"))  # runs all jobs
    check(machine.query("SELECT count(*) FROM devices") == "1", "the device is not erased")

    for new_machine in (False, True):
        if new_machine:  # it has the folder of the backups, and no ledger of its own
            machine.run("docker compose down --volumes")
            machine.run(commands("docker compose up --detach --wait database"))
        machine.run(commands("docker compose stop api").replace("countonme-….dump", name))
        machine.run(commands("```sh\ndocker compose up --detach\n"))

        check(leaves.api.get("/v1/devices/me").status_code == 401, "the erased device is back")
        before, stays.saw_restore = stays.local_rows(), False
        settle(stays)
        settle(stays)
        check(stays.saw_restore, "no pull reported the restore")
        check(stays.local_rows() == stays.server_rows() == before, "the phone lost a row")


def update(machine: Machine) -> None:
    machine.publish("1.0.98", divisor=1)
    machine.run(commands("git pull --ff-only\n"))
    check(machine.version() == "1.0.98", "the old version still serves")
    check(
        machine.query("SELECT count(*) FROM django_migrations WHERE name LIKE '%_of_the_test'") == "1", "no migration"
    )


def update_with_failing_migration(machine: Machine) -> None:
    """The old version serves until the operator goes back to its code, and afterwards."""
    started = machine.containers()["api"]["State"]["StartedAt"]
    commit = machine.run("git rev-parse HEAD").strip()
    machine.publish("1.0.99", divisor=0)
    machine.run(commands("git pull --ff-only\n"), error="division by zero")
    check(machine.version() == "1.0.98", "the new version serves without its migration")
    check(machine.containers()["api"]["State"]["StartedAt"] == started, "the service was restarted")
    machine.run(commands("git pull --ff-only\n").replace("git pull --ff-only", f"git checkout --quiet {commit}"))
    check(machine.version() == "1.0.98", "the old version is not back")


def stop(machine: Machine) -> None:
    machine.run("docker compose stop")
    containers = machine.containers()
    codes = {service: containers[service]["State"]["ExitCode"] for service in ("api", "backup", "cleanup", "database")}
    check(codes == {"api": 0, "backup": 143, "cleanup": 143, "database": 0}, f"exit codes: {codes}")


STEPS = (
    install,
    check_requests,
    check_settings,
    check_confinement,
    check_failing_backups,
    restore,
    update,
    update_with_failing_migration,
    stop,
)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # exit normally, to remove the containers
    ready = subprocess.run(["sh", "-c", "docker info && docker compose version"], capture_output=True)
    if os.getuid() != 0 or ready.returncode != 0:
        say("test-docker needs root, a Docker engine that runs, and the Compose plugin.")
        return 1
    with tempfile.TemporaryDirectory(prefix="countonme.") as folder:
        machine = Machine(Path(folder))
        machine.clone()
        try:
            for step in STEPS:
                step(machine)
                say(f"{step.__name__.replace('_', ' ')}: passed")
        except Failed as failed:
            say(f"FAILED: {step.__name__.replace('_', ' ')}: {failed}")
            return 1
        finally:
            machine.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
