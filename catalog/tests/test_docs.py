"""docs/catalog.md agrees with the commands and the sources."""

import re
import shlex
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import load_command_class

from catalog import importing
from catalog.management.import_command import REASONS
from catalog.sources import SOURCES

PAGE = Path(settings.BASE_DIR, "docs/catalog.md").read_text()
COMMANDS = re.findall(r"manage\.py (import_\w+ .+)$", "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.S)), re.M)


def rows(heading: str) -> list[tuple]:
    table = re.search(rf"^\| {heading} .*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.M)[1]
    return [tuple(line.strip("| ").split(" | ")) for line in table.splitlines()]


class TestThePage:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_has_valid_commands(self, command):
        name, *arguments = shlex.split(command)

        load_command_class("catalog", name).create_parser("manage.py", name).parse_args(arguments)

    def test_has_all_options(self):
        parser = load_command_class("catalog", "import_off").create_parser("manage.py", "import_off")
        documented = [option.strip("`").split()[0] for option, _ in rows("option")]

        own = {"--languages", "--countries", "--complete", "--dry-run"}
        assert len(COMMANDS) == 2
        assert set(documented) == own
        assert vars(parser.parse_args(["-", *own - {"--languages", "--countries"}])).keys() >= {
            option.strip("-").replace("-", "_") for option in own
        }

    def test_has_all_reasons(self):
        assert [(reason.strip("`"), text) for reason, text in rows("reason")] == list(REASONS.items())

    def test_has_all_licenses(self):
        licenses = [(source.strip("`"), license.strip("`")) for source, license, _ in rows("source")]

        assert licenses == [(name, source.license) for name, source in SOURCES.items()]

    def test_has_messages_and_numbers_of_the_code(self):
        code = "".join(
            path.read_text() for path in Path(settings.BASE_DIR, "catalog").rglob("*.py") if "tests" not in path.parts
        )

        for message, _ in rows("message"):
            assert message.strip("`") in code
        assert f"more than {importing.MAX_WITHDRAWN:.0%}".replace("%", " %") in PAGE
        assert f"batches of {importing.BATCH:,}" in PAGE
