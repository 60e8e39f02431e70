from pathlib import Path

from django.conf import settings

ROOT = Path(settings.BASE_DIR)


def our_apps() -> list[str]:
    """Return the project's own apps, in the order of the settings."""
    return [name for name in settings.INSTALLED_APPS if (ROOT / name).is_dir()]


def sources(app: str) -> list[Path]:
    """Return the Python files of an app, without tests and migrations."""
    return [file for file in sorted((ROOT / app).rglob("*.py")) if not {"tests", "migrations"} & set(file.parts)]
