import re
from datetime import date
from pathlib import Path

import pytest
from django.conf import settings
from django.utils.text import slugify

ROOT = Path(settings.BASE_DIR)
INDEX = ROOT / "docs/decisions/README.md"
PAGES = sorted(set(INDEX.parent.glob("*.md")) - {INDEX})
STATUS = r"accepted|superseded by \[\d{4}\]\(\d{4}-[a-z0-9-]+\.md\)"
PATH = re.compile(r"(?:[\w.-]+/)+[\w.-]*")


def title_of(page: Path) -> str:
    return page.read_text().partition("\n")[0].removeprefix("# ")


def enforced_by(page: Path) -> list[str]:
    """Return the names in backticks in the page's last section."""
    return re.findall(r"`([^`]+)`", page.read_text().partition("\n## Enforced by\n")[2])


def test_the_index_has_one_line_for_each_page():
    lines = re.findall(r"^- .*", INDEX.read_text(), re.M)

    assert PAGES
    assert lines == [f"- [{page.name[:4]}]({page.name}): {title_of(page)}" for page in PAGES]


def test_numbers_are_unique():
    numbers = [page.name[:4] for page in PAGES]

    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name[:4])
class TestADecisionPage:
    def test_is_named_by_its_number_and_title(self, page):
        assert re.fullmatch(r"\d{4}", page.name[:4])
        assert page.stem[5:] == slugify(title_of(page))

    def test_has_a_date_and_a_status(self, page):
        header = re.fullmatch(rf"Date: (.*)\. Status: (?:{STATUS})\.", page.read_text().split("\n")[2])

        assert header
        assert date.fromisoformat(header[1])

    def test_has_four_sections_that_are_not_empty(self, page):
        _, *parts = re.split(r"^## ", page.read_text(), flags=re.M)

        sections = {name: text.strip() for name, _, text in (part.partition("\n") for part in parts)}
        assert list(sections) == ["Context", "Decision", "Consequences", "Enforced by"]
        assert all(sections.values())

    def test_names_what_enforces_it(self, page):
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
        classes = []

        for name in enforced_by(page):
            if re.fullmatch(r"Test\w+", name):
                classes.append(name)
            elif PATH.fullmatch(name):
                assert (ROOT / name).exists(), name
                text = (ROOT / name).read_text() if classes else ""
                assert [each for each in classes if f"\nclass {each}:" not in text] == []
                classes = []
            else:
                command, _, target = name.partition(" ")
                assert command == "make", f"{name} is neither a test, nor a path, nor a make target"
                assert target in targets
        assert enforced_by(page)
        assert classes == []  # the file of each class follows it
