"""Migration operations: SQL for one database, and indexes and constraints that lock the table only for a moment."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db.migrations import AddConstraint, AddIndex, RemoveIndex, RunSQL


def is_postgres(schema_editor) -> bool:
    return schema_editor.connection.vendor == "postgresql"


class PostgresSQL(RunSQL):
    """RunSQL that is skipped on SQLite. Use it for safety or speed, never for a difference in behaviour."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state) -> None:
        if is_postgres(schema_editor):
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label, schema_editor, from_state, to_state) -> None:
        if is_postgres(schema_editor):
            super().database_backwards(app_label, schema_editor, from_state, to_state)


class SQLiteSQL(RunSQL):
    """RunSQL that is skipped on PostgreSQL: for an index that PostgreSQL has in another form."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state) -> None:
        if not is_postgres(schema_editor):
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label, schema_editor, from_state, to_state) -> None:
        if not is_postgres(schema_editor):
            super().database_backwards(app_label, schema_editor, from_state, to_state)


class AddIndexConcurrently(AddIndex):
    """Create an index while the table is in use. Unlike Django's operation, this one also runs on SQLite.

    If it fails half-way, it can be run again. So can `RemoveIndexConcurrently`.
    """

    atomic = False

    def database_forwards(self, app_label, schema_editor, from_state, to_state) -> None:
        create(self.index, to_state.apps.get_model(app_label, self.model_name), schema_editor)

    def database_backwards(self, app_label, schema_editor, from_state, to_state) -> None:
        drop(self.index.name, schema_editor)


class RemoveIndexConcurrently(RemoveIndex):
    """Drop an index while the table is in use."""

    atomic = False

    def database_forwards(self, app_label, schema_editor, from_state, to_state) -> None:
        drop(self.name, schema_editor)

    def database_backwards(self, app_label, schema_editor, from_state, to_state) -> None:
        index = to_state.models[app_label, self.model_name_lower].get_index_by_name(self.name)
        create(index, to_state.apps.get_model(app_label, self.model_name), schema_editor)


class AddUniqueConstraintConcurrently(AddConstraint):
    """Add a unique constraint with a condition, which is an index, while the table is in use."""

    atomic = False

    def database_forwards(self, app_label, schema_editor, from_state, to_state) -> None:
        drop(self.constraint.name, schema_editor)  # a failed attempt leaves an invalid index
        sql = str(self.constraint.create_sql(to_state.apps.get_model(app_label, self.model_name), schema_editor))
        if is_postgres(schema_editor):
            sql = sql.replace("CREATE UNIQUE INDEX", "CREATE UNIQUE INDEX CONCURRENTLY", 1)
        schema_editor.execute(sql, params=None)

    def database_backwards(self, app_label, schema_editor, from_state, to_state) -> None:
        drop(self.constraint.name, schema_editor)


class AddConstraintNotValid(AddConstraint):
    """Add a check constraint that applies to new and changed rows. Validate it in the next migration.

    Unlike Django's operation, this one also runs on SQLite, where the constraint is valid at once.
    """

    def database_forwards(self, app_label, schema_editor, from_state, to_state) -> None:
        if not is_postgres(schema_editor):
            return super().database_forwards(app_label, schema_editor, from_state, to_state)
        sql = self.constraint.create_sql(to_state.apps.get_model(app_label, self.model_name), schema_editor)
        return schema_editor.execute(f"{sql} NOT VALID", params=None)


class ValidateConstraintOnPostgres(ValidateConstraint):
    """Check the existing rows while the table is in use. On SQLite, they were checked already."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state) -> None:
        if is_postgres(schema_editor):
            super().database_forwards(app_label, schema_editor, from_state, to_state)


def create(index, model, schema_editor) -> None:
    drop(index.name, schema_editor)  # a failed attempt leaves an invalid index
    schema_editor.add_index(model, index, **({"concurrently": True} if is_postgres(schema_editor) else {}))


def drop(name: str, schema_editor) -> None:
    concurrently = "CONCURRENTLY " if is_postgres(schema_editor) else ""
    schema_editor.execute(f"DROP INDEX {concurrently}IF EXISTS {schema_editor.quote_name(name)}")
