"""docs/internals.md lists each use of a dependency's private API, and nothing else."""

import re
import subprocess
import sys

import pytest

from tests.harness.our_apps import ROOT
from tests.project.private_apis import overridden_methods, private_names, product_files

# Undocumented names of dependencies that don't begin with an underscore.
UNDOCUMENTED = {
    "countonme/db/compiled/query.py": {"get_compiler", "is_sliced", "no_limit_value"},
    "countonme/db/compiled/rows.py": {
        "ModelIterable",
        "ModelState",
        "ValuesIterable",
        "ValuesListIterable",
        "annotation_select",
        "apply_converters",
        "col_count",
        "get_converters",
        "select",
        "select_related",
        "selected",
    },
    "countonme/db/postgresql/__init__.py": {"wrap_database_errors"},
    "countonme/db/postgresql/base.py": {"wait"},
    "countonme/db/postgresql/cursors.py": {
        "chunked_cursor",
        "create_cursor",
        "make_cursor",
        "make_debug_cursor",
        "queries_logged",
        "wrap_database_errors",
    },
    "countonme/db/sqlite/base.py": {"SQLiteCursorWrapper"},
    "countonme/middleware/disconnects.py": {"gunicorn.socket"},
    "countonme/observability/query_timer.py": {"commit"},
    "countonme/serving/worker.py": {"write_error", "write_nonblock"},
    "countonme/wsgi.py": {"close_caches", "close_old_connections", "reset_queries"},
    "gunicorn.conf.py": {"LISTENERS", "reexec_pid"},
}

PAGE = (ROOT / "docs/internals.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| `")]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def listed_names() -> set[tuple[str, str]]:
    """Return the file and the name of each row of the page."""
    return {(file, name) for files, names, *_ in ROWS for file in quoted(files) for name in quoted(names)}


def used_names() -> set[tuple[str, str]]:
    """Return the file and the name of each use of a private API."""
    found = set()
    for file in product_files():
        path, code = str(file.relative_to(ROOT)), file.read_text()
        undocumented = {name for name in UNDOCUMENTED.get(path, ()) if name in code}
        found |= {(path, name) for name in private_names(code) | overridden_methods(file) | undocumented}
    return found


class TestThePage:
    def test_lists_each_use_and_nothing_else(self):
        assert len(product_files()) > 100
        assert (used_names() - listed_names(), listed_names() - used_names()) == (set(), set())

    def test_lists_undocumented_names(self):
        named = {(file, name) for file, names in UNDOCUMENTED.items() for name in names}

        assert named - listed_names() == set()

    @pytest.mark.parametrize("test", sorted({quoted(row[-1])[0] for row in ROWS}))
    def test_names_tests_that_exist(self, test):
        file, _, name = test.partition("::")

        assert not name or re.search(rf"^class {name}\b", (ROOT / file).read_text(), re.M)
        assert (ROOT / file).exists()


class TestTheSearch:
    def test_does_not_import_the_wsgi_module(self):
        """Importing it changes the process: it sets timeouts for statements and configures logging."""
        code = (
            "import django, sys; django.setup(); from tests.project.test_internals import used_names; used_names();"
            "print('countonme.wsgi' in sys.modules)"
        )

        run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

        assert run.stdout.strip() == "False"

    @pytest.mark.parametrize(
        "code",
        [
            "request._name",
            "f(request)._name",
            "request._name = 1",
            "module.sub._name()",
            "from module import _name",
            "from module._name import public",
            "import module._name",
            "class A(B):\n    def f(self):\n        self._name()",
            "class A(B):\n    def _name(self):\n        super()._name()",
        ],
    )
    def test_finds(self, code):
        assert private_names(code) == {"_name"}

    def test_finds_assignments_to_imported_objects(self):
        assert private_names("from module import thing\nthing.part.name = 1") == {"name"}

    @pytest.mark.parametrize(
        "code",
        [
            "model._meta",
            "row._state.adding = True",
            "object.__dict__",
            "from countonme import settings\nsettings.name = 1",
            "class A:\n    def _name(self): ...\n    def f(self):\n        self._name()",
            "class A:\n    def f(self):\n        self._name = 1\n        return self._name",
        ],
    )
    def test_ignores(self, code):
        assert private_names(code) == set()

    def test_finds_overridden_methods(self):
        assert "_connect_gen" in overridden_methods(ROOT / "countonme/db/postgresql/base.py")
        assert overridden_methods(ROOT / "countonme/middleware/hosts.py") == set()
