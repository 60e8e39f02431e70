"""List the project's apps and Python files."""

import os
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

ROOT = Path(settings.BASE_DIR)


def our_apps() -> list[str]:
    """Return the project's own apps, in the order of INSTALLED_APPS."""
    return [name for name in settings.INSTALLED_APPS if (ROOT / name).is_dir()]


def sources(app: str) -> list[Path]:
    """Return the Python files of an app, without tests and migrations."""
    return [file for file in sorted((ROOT / app).rglob("*.py")) if not {"tests", "migrations"} & set(file.parts)]


def python_files() -> Iterator[Path]:
    """Yield all Python files of the repository, relative to its folder, without virtual environments."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "node_modules"]
        yield from (Path(folder, name).relative_to(ROOT) for name in names if name.endswith(".py"))
