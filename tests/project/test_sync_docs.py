"""What docs/sync.md says to client developers. `make test-clients` runs the code that it shows."""

import json
import re
from pathlib import Path

import pytest
from django.conf import settings

from sync.registry import tables

ROOT = Path(settings.BASE_DIR)
PAGE = (ROOT / "docs/sync.md").read_text()
NODE = ROOT / "clients/watermelondb"
SOURCES = sorted((NODE / "src").glob("*.ts"))

Columns = dict[str, bool]  # each with whether it may be null


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


def named(cell: str) -> Columns:
    """Return the columns that a cell of the page's table names."""
    return {name: mark == "?" for name, mark in re.findall(r"`(\w+)`(\??)", cell)}


def of_serializer(table, *, read_only: bool) -> Columns:
    fields = table.serializer_class().fields
    may_be_null = {f.attname for f in table.model._meta.concrete_fields if f.null}
    return {name: name in may_be_null for name in fields if (name in table.read_only) == read_only}


class TestTheTwoCalls:
    def test_go_as_they_are_written(self, api):
        asked, answered = blocks("http")[::2], blocks("http")[1::2]
        assert len(asked) == len(answered) == 5

        for request, promised in zip(asked, answered, strict=True):
            line, _, sent = request.partition("\n\n")
            status, _, body = promised.partition("\n\n")

            response = api.generic(*line.split(), sent, content_type="application/json")

            assert f"{response.status_code} {response.reason_phrase}" == status
            assert response.json() == json.loads(body)


class TestTheTables:
    @pytest.mark.parametrize("table", tables(), ids=lambda table: table.name)
    def test_have_the_columns_that_the_page_names(self, table):
        ((writable, read_only),) = re.findall(rf"^\| `{table.name}` \| (.*) \| (.*)\|$", PAGE, re.M)

        assert named(writable) == of_serializer(table, read_only=False)
        assert named(read_only) == of_serializer(table, read_only=True)

    @pytest.mark.parametrize("table", tables(), ids=lambda table: table.name)
    def test_have_the_columns_that_the_schema_knows(self, table):
        schema = (NODE / "src/schema.ts").read_text()
        ((columns),) = re.findall(rf'name: "{table.name}",\n      columns: \[\n(.*?)\n      \]', schema, re.S)
        known = {
            name: "isOptional: true" in rest for name, rest in re.findall(r'name: "(\w+)", (type: .*?) \}', columns)
        }

        every = of_serializer(table, read_only=False) | of_serializer(table, read_only=True)
        assert known == {name: optional for name, optional in every.items() if name != "id"}


class TestTheCode:
    def test_is_the_code_that_is_run(self):
        assert len(SOURCES) == 4
        assert sorted(blocks("ts")) == sorted(source.read_text() for source in SOURCES)

    def test_is_compiled_as_the_page_says(self):
        options = json.loads((NODE / "tsconfig.json").read_text())["compilerOptions"]

        assert "`experimentalDecorators` on and `useDefineForClassFields` off" in PAGE
        assert (options["experimentalDecorators"], options["useDefineForClassFields"]) == (True, False)

    def test_runs_with_the_versions_that_are_pinned(self):
        package = json.loads((NODE / "package.json").read_text())
        pinned = package["dependencies"] | package["devDependencies"]

        assert {name: version for name, version in pinned.items() if not re.fullmatch(r"\d+\.\d+\.\d+", version)} == {}
        (tested,) = re.findall(r"Tested with `@nozbe/watermelondb` (\S+)\. ", PAGE)
        assert tested == pinned["@nozbe/watermelondb"]

    def test_is_installed_from_wherever_npm_is_told(self):
        assert "://" not in (NODE / "package-lock.json").read_text()
