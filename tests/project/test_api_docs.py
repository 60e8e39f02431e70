"""docs/api.md, the reference for client developers, agrees with the OpenAPI document and the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from countonme.api import schema_views
from sync.registry import tables
from tests.harness.our_apps import our_apps, sources

PAGE = Path(settings.BASE_DIR, "docs/api.md").read_text()
DOCUMENT = schema_views.document()

# Statuses that the page explains once, not for each call.
SHARED_STATUSES = {"406", "500", "503"}
WITH_A_TOKEN = {"401", "403", "429"}

FRAMEWORK_TYPES = {
    *("blank", "invalid", "invalid_choice", "max_length", "max_string_length", "max_value", "min_value"),
    *("not_a_list", "null", "null_characters_not_allowed", "required", "surrogate_characters_not_allowed"),
}


def section(heading: str) -> str:
    return re.search(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", PAGE, re.S | re.M)[1]


def names(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def columns(cell: str) -> dict[str, bool]:
    """Return the columns that a cell names, and whether each can be null."""
    return {name: mark == "?" for name, mark in re.findall(r"`(\w+)`(\??)", cell)}


def columns_of(table, *, read_only: bool) -> dict[str, bool]:
    may_be_null = {field.attname for field in table.model._meta.concrete_fields if field.null}
    return {name: name in may_be_null for name in table.columns if (name in table.read_only) == read_only}


def described_calls() -> Iterator[tuple[str, str, list[str], list[str]]]:
    for methods, path, query, statuses in re.findall(r"^\| `([A-Z, ]+) (/\S*)` \|(.*?)\|(.*?)\|", PAGE, re.M):
        for method in methods.split(", "):
            yield method, path, sorted(names(query)), sorted(names(statuses))


def calls() -> Iterator[tuple[str, str, list[str], list[str]]]:
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            query = [parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]
            shared = SHARED_STATUSES | (WITH_A_TOKEN if operation["security"] else set())
            yield method.upper(), path, sorted(query), sorted(operation["responses"].keys() - shared)


def raised_types() -> set[str]:
    """Return the `type` of each error that the code raises itself."""
    found = set()
    for app in set(our_apps()) - {"support"}:  # its errors are the admin's
        for node in (node for file in sources(app) for node in ast.walk(ast.parse(file.read_text()))):
            match node:
                case ast.Call(func=ast.Name("refusal" | "ErrorDetail" | "ValidationError")):
                    *_, code = [None, *node.args[1:], *(keyword.value for keyword in node.keywords)]
                    found |= {code.value} if isinstance(code, ast.Constant) else set()
                case ast.Call(func=ast.Attribute(attr="fail"), args=[ast.Constant(code)]):
                    found.add(code)
                case ast.Call(func=ast.Name("error_item"), args=[_, _, ast.Constant(code)]):
                    found.add(code)
    return found


class TestTheCalls:
    def test_are_those_of_the_openapi_document(self):
        assert sorted(described_calls()) == sorted(calls())


class TestTheFields:
    @pytest.mark.parametrize(
        ("heading", "component"),
        [
            ("Catalogue", "CatalogFood"),
            ("Products", "Product"),
            ("Portions", "Portion"),
            ("Food entries", "FoodEntry"),
        ],
    )
    def test_are_those_of_the_openapi_document(self, heading, component):
        rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section(heading), re.M)

        described = [name for row in rows for name in names(row)]
        assert sorted(described) == sorted(DOCUMENT["components"]["schemas"][component]["properties"])


class TestTheTypes:
    def test_are_those_that_the_code_uses(self):
        rows = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \|", section("Errors"), re.M)

        described = [name for row in rows for name in names(row)]
        assert len(raised_types()) > 12
        assert sorted(described) == sorted(raised_types() | FRAMEWORK_TYPES)


class TestTheTablesOfSync:
    @pytest.mark.parametrize("table", tables(), ids=lambda table: table.name)
    def test_have_the_columns_that_the_page_names(self, table):
        ((writable, read_only),) = re.findall(rf"^\| `{table.name}` \| (.*) \| (.*)\|$", section("Sync"), re.M)

        assert columns(writable) == columns_of(table, read_only=False)
        assert columns(read_only) == columns_of(table, read_only=True)

    def test_require_the_columns_that_the_page_names(self):
        for table in tables():
            (required,) = re.findall(rf"A new row of `{table.name}` needs (.*)\.$", PAGE, re.M)
            assert set(names(required)) == set(table.required)
