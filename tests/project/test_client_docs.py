"""docs/clients.md, the guide for client developers, agrees with the service and with the code in clients/.

`make test-clients` runs that code. The page shows `setup/`, and links to `src/`.
"""

import json
import re
from itertools import zip_longest
from pathlib import Path

import pytest
from django.conf import settings
from rest_framework.test import APIClient

from catalog.tests import output_of
from sync.registry import tables

ROOT = Path(settings.BASE_DIR)
PAGE = (ROOT / "docs/clients.md").read_text()
PROSE = " ".join(PAGE.split())  # its lines are wrapped anywhere
NODE = ROOT / "clients/watermelondb"
SOURCES = sorted((NODE / "src").glob("*.ts"))
SETUP = [file for file in sorted((NODE / "setup").glob("*.ts")) if file.name != "expo.d.ts"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


def fill_in(shown, real):
    """Return the JSON of the page, with each `…` replaced by the server's generated text."""
    match shown, real:
        case dict(), dict():
            return {name: fill_in(value, real.get(name)) for name, value in shown.items()}
        case list(), list():
            return [fill_in(*pair) for pair in zip_longest(shown, real)]
        case str(), str() if shown.endswith("…") and real.startswith(shown.removesuffix("…")):
            return real
    return shown


class TestTheRequests:
    def test_get_the_responses_that_the_page_shows(self, db):
        output_of("import_usda")
        client = APIClient()
        requests, responses = blocks("http")[::2], blocks("http")[1::2]
        assert len(requests) == len(responses) == 11

        for request, shown in zip(requests, responses, strict=True):
            line, _, sent = request.partition("\n\n")
            status, _, body = shown.partition("\n\n")

            response = client.generic(*line.split(), sent, content_type="application/json")

            assert f"{response.status_code} {response.reason_phrase}" == status, line
            assert response.json() == fill_in(json.loads(body), response.json()), line
            if line == "POST /v1/auth/register":
                client.credentials(HTTP_AUTHORIZATION=f"Bearer {response.json()['token']}")


class TestTheTables:
    @pytest.mark.parametrize("table", tables(), ids=lambda table: table.name)
    def test_have_the_columns_that_the_schema_knows(self, table):
        schema = (NODE / "src/schema.ts").read_text()
        ((columns),) = re.findall(rf'name: "{table.name}",\n      columns: \[\n(.*?)\n      \]', schema, re.S)
        known = {
            name: "isOptional: true" in rest for name, rest in re.findall(r'name: "(\w+)", (type: .*?) \}', columns)
        }

        may_be_null = {field.attname for field in table.model._meta.concrete_fields if field.null}
        assert known == {name: name in may_be_null for name in table.columns if name != "id"}


class TestTheCode:
    def test_is_the_code_that_is_run(self):
        in_an_app = [file.read_text().replace('"../src/', '"./countonme/') for file in SETUP]

        assert len(SETUP) == 5
        assert sorted(blocks("ts")) == sorted(in_an_app)

    def test_is_linked(self):
        assert len(SOURCES) == 7
        assert [
            file.name for file in SOURCES if f"[`{file.name}`](../clients/watermelondb/src/{file.name})" not in PAGE
        ] == []

    def test_uses_nothing_that_react_native_lacks(self):
        lacking = re.compile(r"\bcrypto\b|AbortSignal\.timeout|structuredClone|\bBuffer\b|\bprocess\.|from \"node:")

        assert [file.name for file in SOURCES if lacking.search(file.read_text())] == []

    def test_is_compiled_as_the_page_says(self):
        options = json.loads((NODE / "tsconfig.json").read_text())["compilerOptions"]

        assert "`experimentalDecorators` on and `useDefineForClassFields` off" in PROSE
        assert (options["experimentalDecorators"], options["useDefineForClassFields"]) == (True, False)

    def test_runs_with_the_versions_that_are_pinned(self):
        package = json.loads((NODE / "package.json").read_text())
        pinned = package["dependencies"] | package["devDependencies"]

        assert {name: version for name, version in pinned.items() if not re.fullmatch(r"\d+\.\d+\.\d+", version)} == {}
        (tested,) = re.findall(r"The code was tested with `@nozbe/watermelondb` (\S+),", PROSE)
        (installed,) = re.findall(r"@nozbe/watermelondb@(\S+)", PAGE)
        assert tested == installed == pinned["@nozbe/watermelondb"]

    def test_is_installed_from_wherever_npm_is_told(self):
        packages = json.loads((NODE / "package-lock.json").read_text())["packages"]

        assert len(packages) > 10
        assert [name for name, package in packages.items() if "resolved" in package] == []
