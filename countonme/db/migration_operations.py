from django.db.migrations import AddIndex, RemoveIndex, RunSQL


def is_postgres(schema_editor) -> bool:
    return schema_editor.connection.vendor == "postgresql"


class PostgresSQL(RunSQL):
    """What only PostgreSQL can do, in a migration. It adds safety or speed, never behaviour; SQLite passes over it."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state) -> None:
        if is_postgres(schema_editor):
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label, schema_editor, from_state, to_state) -> None:
        if is_postgres(schema_editor):
            super().database_backwards(app_label, schema_editor, from_state, to_state)


class AddIndexConcurrently(AddIndex):
    """An index that PostgreSQL makes while the table is in use. Django's own operation does not run on SQLite.

    This one, and the next, can be run again after they were given up half-way, on both databases.
    """

    atomic = False

    def database_forwards(self, app_label, schema_editor, from_state, to_state) -> None:
        make(self.index, to_state.apps.get_model(app_label, self.model_name), schema_editor)

    def database_backwards(self, app_label, schema_editor, from_state, to_state) -> None:
        drop(self.index.name, schema_editor)


class RemoveIndexConcurrently(RemoveIndex):
    """An index that PostgreSQL drops while the table is in use."""

    atomic = False

    def database_forwards(self, app_label, schema_editor, from_state, to_state) -> None:
        drop(self.name, schema_editor)

    def database_backwards(self, app_label, schema_editor, from_state, to_state) -> None:
        index = to_state.models[app_label, self.model_name_lower].get_index_by_name(self.name)
        make(index, to_state.apps.get_model(app_label, self.model_name), schema_editor)


def make(index, model, schema_editor) -> None:
    drop(index.name, schema_editor)  # what one that was given up has left
    schema_editor.add_index(model, index, **({"concurrently": True} if is_postgres(schema_editor) else {}))


def drop(name: str, schema_editor) -> None:
    concurrently = "CONCURRENTLY " if is_postgres(schema_editor) else ""
    schema_editor.execute(f"DROP INDEX {concurrently}IF EXISTS {schema_editor.quote_name(name)}")
