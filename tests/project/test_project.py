import os
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from countonme import __version__
from tests.harness.our_apps import ROOT, our_apps, python_files

TOOLS = {"pip", "setuptools", "wheel"}  # packages of a new virtual environment


# `make pin` writes each of these from a file whose name ends with .in.
PINNED = [
    file
    for pattern in ("requirements*.txt", "*/requirements*.txt", "tests/e2e/*/requirements*.txt")
    for file in ROOT.glob(pattern)
]
each_file = pytest.mark.parametrize("file", PINNED, ids=lambda file: str(file.relative_to(ROOT)))


def requirements(file: Path) -> dict[str, Requirement]:
    """Return the requirements of a file by the names of the packages."""
    found = [Requirement(line) for line in re.findall(r"^[A-Za-z][^#\\\n]*", file.read_text(), re.M)]
    return {canonicalize_name(one.name): one for one in found}


class TestRequirements:
    def test_are_written_by_make_pin(self):
        command = subprocess.run(["make", "--dry-run", "pin"], cwd=ROOT, capture_output=True, text=True, check=True)

        (names,) = re.findall(r"^for file in (.+?);", command.stdout, re.M)
        assert sorted(ROOT / f"{name}.txt" for name in names.split()) == sorted(PINNED)

    @each_file
    def test_pin_each_package_to_one_version_with_hashes(self, file):
        lines = file.read_text().replace("\\\n", "").splitlines()
        packages = [re.sub(r" +# via .*", "", line).rstrip() for line in lines if line.strip() and line[0] not in "# "]

        assert len(packages) > 15
        pin = r"[\w.-]+(\[\w+\])?==[0-9][\w.]*( ; [^#]+?)?( +--hash=sha256:[0-9a-f]{64})+"
        assert [line for line in packages if not re.fullmatch(pin, line)] == []

    @each_file
    def test_have_the_versions_that_people_chose(self, file):
        chosen, pinned = requirements(file.with_suffix(".in")), requirements(file)

        assert chosen
        assert {
            name: str(one) for name, one in chosen.items() if not re.fullmatch(r"==[\d.]+", str(one.specifier))
        } == {}
        assert {name: (one.specifier, one.extras) for name, one in chosen.items()} == {
            name: (one.specifier, one.extras) for name, one in pinned.items() if name in chosen
        }

    @each_file
    def test_name_no_registry(self, file):
        assert [line for line in file.read_text().splitlines() if "://" in line or line.startswith("-")] == []

    def test_pin_every_installed_package(self):
        pinned = requirements(ROOT / "requirements-dev.txt") | requirements(ROOT / "requirements.txt")
        installed = {canonicalize_name(found.name): f"=={found.version}" for found in distributions()}

        packages = {name: version for name, version in installed.items() if name not in TOOLS}
        assert {name: version for name, version in packages.items() if str(pinned[name].specifier) != version} == {}

    def test_are_installed_only_with_their_hashes(self):
        installs = re.findall(
            r".*\bpip install\b.*", (ROOT / "Makefile").read_text() + (ROOT / "Dockerfile").read_text()
        )

        assert len(installs) == 2
        assert [line for line in installs if "--require-hashes" not in line] == []


class TestAVirtualEnvironment:
    @pytest.mark.parametrize("module", ["ensurepip", "venv"])
    def test_needs_a_debian_package_that_make_names(self, tmp_path, module):
        """Debian's python3 has neither module before python3-venv is installed."""
        (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError({module!r})")
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        command = ["make", f"--file={ROOT / 'Makefile'}", f"--directory={tmp_path}", ".venv/bin/pip"]

        run = subprocess.run([*command, f"PYTHON={sys.executable}"], env=environment, capture_output=True, text=True)

        assert run.returncode == 2
        assert run.stderr.splitlines()[0].endswith("On Debian: sudo apt-get install python3-venv")
        assert not (tmp_path / ".venv").exists()


class TestTheVersion:
    def test_is_the_newest_one_of_the_changelog(self):
        changes = (ROOT / "CHANGELOG.md").read_text()

        newest = re.search(r"^## (\S+)", changes, re.M)[1]

        assert newest == __version__

    def test_is_the_one_of_the_openapi_document(self, client):
        assert client.get("/v1/schema").json()["info"]["version"] == __version__


def files_outside(files: list[Path], testpaths: list[str]) -> list[str]:
    """Return the test files outside of all test paths, which pytest would never run."""
    folders = [folder for pattern in testpaths for folder in ROOT.glob(pattern)]
    return [str(file) for file in files if not any((ROOT / file).is_relative_to(folder) for folder in folders)]


class TestEveryTestFile:
    def test_is_run(self, pytestconfig):
        """Except for those in tests/e2e, which have their own targets in the Makefile."""
        files = [file for file in python_files() if file.match("test_*.py") and not file.is_relative_to("tests/e2e")]

        assert len(files) > 90
        assert files_outside(files, pytestconfig.getini("testpaths")) == []

    def test_is_reported_if_no_path_includes_it(self):
        files = [Path("devices/tests/test_rates.py"), Path("tests/devices/test_races.py")]

        assert files_outside(files, ["*/tests", "tests/sync"]) == ["tests/devices/test_races.py"]


class TestTheArchitecturePage:
    def test_lists_the_apps_in_the_order_of_their_imports(self):
        table = (ROOT / "docs/architecture.md").read_text().partition("\nAn app imports")[0]

        assert re.findall(r"^\| `(\w+)/` \|", table, re.M) == our_apps()

    def test_names_files_and_functions_that_exist(self):
        page = (ROOT / "docs/architecture.md").read_text()
        steps = re.findall(r"`([\w/]+\.py)`: `(\w+)(?:\(\))?`", page)

        assert len(steps) >= 15
        for file, name in steps:
            assert re.search(rf"^ *(?:def|class) {name}\b", (ROOT / file).read_text(), re.M), (file, name)


class TestTheLinterOfMigrations:
    def test_reports_migrations_that_break_running_code(self):
        """The linter checks the first migrations here, as if they came after the first release."""
        script = (
            "import runpy, sys; main = runpy.run_path('.ci/lint_migrations.py')['main'];"
            "main.__globals__['BEFORE_THE_FIRST_RELEASE'].clear(); sys.exit(main())"
        )

        run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)

        assert run.returncode == 1, run.stderr
        found = run.stdout
        assert all(rule in found for rule in ("adding-required-field", "constraint-missing-not-valid"))
