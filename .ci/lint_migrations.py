"""Check with squawk that migrations are safe while the old code still runs, and lock no table for long: `make lint`.

The SQL is generated for PostgreSQL, without a server. docs/migrations.md explains what to do about each finding. A
migration that must break a rule is listed in BASELINE, with the reason.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SQUAWK = Path(sys.executable).with_name("squawk")

# The last migration of each app before the first release: until then no table had rows to lock, and no other code ran.
BEFORE_THE_FIRST_RELEASE = {"devices": "0004", "products": "0004", "food_entries": "0004"}

# Later migrations that must break a rule, each with the reason.
BASELINE: dict[str, str] = {
    "food_entries.0007_names_of_meals": "PostgreSQL makes a varchar longer without rewriting the table.",
    "products.0006_barcode_key": "The constraint that it drops is replaced by one that allows more.",
}


def main() -> int:
    written = dict(written_migrations())
    if gone := BASELINE.keys() - written.keys():
        raise SystemExit(f"BASELINE names migrations that don't exist: {', '.join(sorted(gone))}")
    new = {name: sql for name, sql in written.items() if name not in BASELINE and is_later(*name.split("."))}
    if not new:
        return 0
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{name}.sql") for name in new]
        for file, sql in zip(files, new.values(), strict=True):
            file.write_text(sql)
        command = [SQUAWK, "--config", ROOT / ".ci/squawk.toml", *files]
        return subprocess.run(command, check=False).returncode  # noqa: S603 - the command is a constant


def is_later(app: str, name: str) -> bool:
    return name[:4] > BEFORE_THE_FIRST_RELEASE.get(app, "")


def written_migrations() -> Iterator[tuple[str, str]]:
    """Yield the name of each of the project's migrations, and its SQL for PostgreSQL."""
    os.environ.update(DJANGO_SETTINGS_MODULE="countonme.settings", DATABASE_URL="postgres://127.0.0.1:1/nowhere")
    sys.path.insert(0, str(ROOT))
    import django

    django.setup()
    from django.conf import settings
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader
    from psycopg.sql import quote

    # Django would connect to a server to put the parameters into the SQL.
    connection.ops.compose_sql = lambda sql, params: sql % tuple(map(quote, params)) if params is not None else sql
    loader = MigrationLoader(None)
    state = loader.project_state([])
    plan = dict.fromkeys(key for leaf in loader.graph.leaf_nodes() for key in loader.graph.forwards_plan(leaf))
    for app, name in plan:
        migration = loader.graph.nodes[app, name]
        with connection.schema_editor(collect_sql=True, atomic=False) as editor:
            state = migration.apply(state, editor, collect_sql=True)
        if app in settings.INSTALLED_APPS and (ROOT / app).is_dir():
            statements = "\n".join(editor.collected_sql)
            yield f"{app}.{name}", f"BEGIN;\n{statements}\nCOMMIT;\n" if migration.atomic else statements


if __name__ == "__main__":
    sys.exit(main())
