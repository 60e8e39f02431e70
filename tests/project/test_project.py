import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from countonme import __version__
from tests.harness.our_apps import ROOT, our_apps, python_files

TOOLS = {"pip", "setuptools", "wheel"}  # packages of a new virtual environment


def pins() -> dict[str, str]:
    """Return the version of each package in the requirement files."""
    lines = [
        line for name in ("requirements.txt", "requirements-dev.txt") for line in (ROOT / name).read_text().splitlines()
    ]
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(requirement.name): str(requirement.specifier) for requirement in requirements}


class TestRequirements:
    def test_pin_each_package_to_one_version(self):
        assert len(pins()) > 20
        assert {name: version for name, version in pins().items() if not re.fullmatch(r"==[0-9][0-9.]*", version)} == {}

    def test_pin_every_installed_package(self):
        installed = {canonicalize_name(found.name): f"=={found.version}" for found in distributions()}

        unpinned = {name: version for name, version in installed.items() if name not in TOOLS}
        assert {name: version for name, version in unpinned.items() if pins().get(name) != version} == {}


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
