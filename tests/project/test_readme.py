"""README.md and the pages in docs/ agree with the code, the settings and each other."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from django.conf import settings

from catalog.tests import output_of

ROOT = Path(settings.BASE_DIR)
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.django_db(transaction=True)
class TestTheFirstRequests:
    def test_get_the_responses_of_the_page(self, live_server, tmp_path):
        (requests,) = re.findall(r"```sh\n(.*?)```", README, re.S)
        (expected,) = re.findall(r"The last response is:\n\n```json\n(.*?)```", README, re.S)
        assert "API=http://127.0.0.1:8000/v1\n" in requests
        script = requests.replace("http://127.0.0.1:8000", live_server.url)
        output_of("import_usda")

        run = subprocess.run(["sh", "-ec", script], cwd=tmp_path, capture_output=True, text=True)

        responses = [json.loads(line) for line in run.stdout.splitlines()]
        assert run.stderr == ""
        assert [type(response) for response in responses] == [dict, dict, dict, list]
        assert responses[-1] == json.loads(expected)


class TestThePages:
    def test_list_every_setting_with_its_default(self):
        page, _ = (ROOT / "docs/settings.md").read_text().split("\n## With Docker\n")
        rows = re.findall(r"^\| (`[A-Z].*?) \| (.+?) \| .+ \|$", page, re.M)
        table = [tuple(re.findall(r"`(.+?)`", cell) for cell in row) for row in rows]
        template = dict(re.findall(r"^(?:# )?([A-Z_]+)=(.*)", (ROOT / ".env.example").read_text(), re.M))

        assert sorted(name for names, _ in table for name in names) == sorted(template)
        stated = {
            name: value
            for names, values in table
            if len(names) == len(values)
            for name, value in zip(names, values, strict=True)
        }
        assert len(stated) > 20
        assert stated == {name: template[name] for name in stated}

    def test_list_what_differs_with_docker(self):
        _, section = (ROOT / "docs/settings.md").read_text().split("\n## With Docker\n")
        defaults, fixed, _ = re.findall(r"^- (.*?)(?=^- |\n\n)", section, re.M | re.S)
        compose = (ROOT / "docker-compose.yml").read_text()
        services = yaml.safe_load(compose)["services"]
        read = dict(re.findall(r"\$\{(\w+):-(.+?)\}", compose))
        read |= re.findall(r"^ARG (\w+)=(.+)", (ROOT / "Dockerfile").read_text(), re.M)

        assert set(re.findall(r"`([A-Z_]+)`", defaults)) == set(
            re.findall(r"^(\w+)=", (ROOT / "deploy/docker/defaults.env").read_text(), re.M)
        )
        assert set(re.findall(r"`([A-Z]+\w*)`", fixed)) == set(services["api"]["environment"])
        assert dict(re.findall(r"^\| `([A-Z_]+)` \| `(.+?)` \|", section, re.M)) == read

    def test_list_every_command_that_must_pass_before_a_merge(self):
        run = set(re.findall(r"\bmake ([a-z-]+)", (ROOT / ".ci/run").read_text())) - {"nightly"}

        listed = set(re.findall(r"`make ([a-z-]+)`", README[README.index("## For developers") :])) - {"nightly"}
        assert listed == run

    def test_name_only_existing_make_targets(self):
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))

        named = {name for page in PAGES for name in re.findall(r"\bmake ([a-z-]+)\b(?=`|\n```)", page.read_text())}
        assert {"run", "test", "lint"} <= named <= targets

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
    def test_link_only_to_existing_files(self, page):
        links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())

        assert [link for link in links if not (page.parent / link).exists()] == []

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
    def test_link_only_to_existing_headings(self, page):
        links = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text())

        assert [link for link in links if link[1] not in anchors(page.parent / link[0] if link[0] else page)] == []

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
    def test_name_only_existing_files_and_test_classes(self, page):
        text = page.read_text()
        files = re.findall(r"`((?:\w+/)+[\w.]+\.(?:py|md))`", text)
        classes = re.findall(r"`(Test\w+)` in `([\w/.]+)`", text)

        assert [file for file in files if not (ROOT / file).exists()] == []
        for name, file in classes:
            assert f"class {name}" in (ROOT / file).read_text()
