"""Apps import each other in one direction only. The check walks the syntax trees of all Python files."""

import ast
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

from tests.harness.our_apps import ROOT, our_apps, python_files

# Each app comes after those that it may import. The notebook is an example app of the tests, which imports support.
APPS = our_apps()
APPS.insert(APPS.index("support") + 1, "ownership.tests.notebook")

WIRING = ("countonme/migrations", "countonme/settings.py", "countonme/urls.py")  # may import all apps


def imported_names(source: str, package: str) -> Iterator[str]:
    """Yield the dotted name of each import of a module in this package."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                module = resolve_name("." * level + (module or ""), package)
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Call(func=func, args=[ast.Constant(value=str(name))]) if "import_module" in ast.unparse(func):
                yield name


def place_of(name: str) -> tuple[str, bool]:
    """Return the app or the top-level folder of a dotted name, and whether the name is in its tests."""
    inside = [app for app in APPS if f"{name}.".startswith(f"{app}.")]
    place = max(inside, key=len) if inside else name.partition(".")[0]
    return place, place in ("conftest", "tests") or name.removeprefix(place).startswith(".tests")


def forbidden_imports(file: Path, source: str) -> list[str]:
    """Return the forbidden imports of a file. Its path is relative to the repository."""
    module = ".".join(file.with_suffix("").parts)
    place, is_test = place_of(module)
    is_free = place not in APPS or any(file.is_relative_to(path) for path in WIRING)
    upper = [] if is_free else APPS[APPS.index(place) + 1 :]

    def is_forbidden(name: str) -> bool:
        target, of_tests = place_of(name)
        if target == "benchmarks" or place == "benchmarks":
            return place != "benchmarks"
        return target in upper or (of_tests and not is_test)

    return [name for name in imported_names(source, module.rpartition(".")[0]) if is_forbidden(name)]


class TestApps:
    def test_import_in_one_direction(self):
        """This includes the tests of the apps. Only tests import tests."""
        files = list(python_files())

        assert {place_of(".".join(file.parts))[0] for file in files} >= {*APPS, "benchmarks", "tests"}
        offenders = [
            f"{file} imports {name}" for file in files for name in forbidden_imports(file, (ROOT / file).read_text())
        ]
        assert not offenders, "\n".join(offenders)

    @pytest.mark.parametrize(
        ("file", "offender"),
        [
            ("products/models.py", "from food_entries.models import FoodEntry"),
            ("products/urls.py", "import account.urls"),
            ("products/migrations/0001_initial.py", "import_module('food_entries.migrations.0001_initial')"),
            ("products/views.py", "def list():\n    from account import views"),
            ("products/views.py", "from products.tests.factories import ProductFactory"),
            ("products/views.py", "from .tests import factories"),
            ("products/views.py", "from tests.harness.sync import product"),
            ("products/views.py", "import benchmarks.data"),
            ("products/tests/test_search.py", "from food_entries.tests.factories import FoodEntryFactory"),
            ("products/tests/test_search.py", "from benchmarks.data import NAMES"),
            ("ownership/tests/test_new_app.py", "from ownership.tests.notebook.models import Note"),
            ("ownership/tests/test_new_app.py", "from ownership.tests import notebook"),
            ("ownership/tests/test_new_app.py", "from sync.registry import tables"),
            ("ownership/tests/notebook/models.py", "from ownership.tests.notebook.tests.factories import NoteFactory"),
            ("ownership/tests/notebook/models.py", "from nutrition.names import name_key"),
            ("ownership/tests/notebook/tests/test_api.py", "from products.models import Product"),
            ("tests/harness/servers.py", "from benchmarks import run"),
            ("gunicorn.conf.py", "from tests.harness.servers import say"),
        ],
    )
    def test_are_reported_otherwise(self, file, offender):
        assert len(forbidden_imports(Path(file), offender)) == 1

    @pytest.mark.parametrize(
        ("file", "source"),
        [
            ("countonme/urls.py", "import account.urls"),
            ("countonme/migrations/0001_support_group.py", "from support.group import GROUP"),
            ("food_entries/models.py", "from products.models import Product"),
            ("food_entries/tests/test_admin.py", "from products.tests.factories import ProductFactory"),
            ("food_entries/tests/test_admin.py", "from tests.harness.sync import pull_changes"),
            ("ownership/tests/notebook/models.py", "from ownership.models import DeviceOwned"),
            ("ownership/tests/notebook/tests/test_api.py", "from ownership.tests.notebook.models import Note"),
            ("ownership/tests/notebook/tests/test_support.py", "from support.tests import entries"),
            ("tests/sync/test_pull.py", "from food_entries.tests.factories import FoodEntryFactory"),
            ("conftest.py", "import tests.harness.environment"),
            ("benchmarks/sync.py", "from benchmarks.data import NAMES\nfrom tests.harness.servers import say"),
        ],
    )
    def test_may_import_lower_apps(self, file, source):
        assert forbidden_imports(Path(file), source) == []
