from django.db.migrations import RunSQL


class PostgresSQL(RunSQL):
    """What only PostgreSQL can do, in a migration. It adds safety or speed, never behaviour; SQLite passes over it."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state) -> None:
        if schema_editor.connection.vendor == "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label, schema_editor, from_state, to_state) -> None:
        if schema_editor.connection.vendor == "postgresql":
            super().database_backwards(app_label, schema_editor, from_state, to_state)
