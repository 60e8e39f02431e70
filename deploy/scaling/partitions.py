"""Replace the migrated tables with hash partitions by device.

The primary keys become (device_id, id): PostgreSQL can't enforce a unique id across partitions. Each partition is in a
schema of its own, so that its constraints keep their names, from which the service derives its error messages.
"""

from graphlib import TopologicalSorter

import psycopg

# Foreign keys of unpartitioned tables; those of a partition have a parent. A table whose device_id may be null isn't
# partitioned: its rows may outlive their device, as the receipt of an erasure does.
OWNED = """
    SELECT conrelid::regclass::text, attname FROM pg_constraint
    JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
    WHERE contype = 'f' AND confrelid = 'devices'::regclass AND conparentid = 0 AND attnotnull
"""
REFERENCES = """
    SELECT conrelid::regclass::text, array_agg(confrelid::regclass::text) FROM pg_constraint
    WHERE contype = 'f' AND conparentid = 0 GROUP BY conrelid
"""

# All indexes that the new primary key doesn't replace, and the foreign keys that include the device.
INDEXES = """
    SELECT pg_get_indexdef(indexrelid), indisunique FROM pg_index WHERE indrelid = %s::regclass AND NOT indisprimary
    AND indexrelid::regclass::text NOT LIKE '%%_is_of_its_device'
"""
FOREIGN_KEYS = """
    SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'f'
    AND (cardinality(conkey) = 2 OR confrelid = 'devices'::regclass)
"""
TRIGGERS = "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal"
NAMES = """
    SELECT part.oid::regclass::text, whole.relname FROM pg_inherits
    JOIN pg_class AS part ON part.oid = inhrelid JOIN pg_class AS whole ON whole.oid = inhparent
    WHERE part.relkind = 'i' AND part.relname <> whole.relname
"""


def partition(database: psycopg.Connection, count: int) -> None:
    """Replace the migrated tables with partitioned ones, and copy their rows."""
    tables = tables_of_devices(database)
    rules = {table: rules_of(database, table) for table in tables}
    for schema in ("migrated", *(f"p{number}" for number in range(count))):
        database.execute(f"CREATE SCHEMA {schema}")
    for table in tables:
        database.execute(f"ALTER TABLE {table} SET SCHEMA migrated")
    for table, key in tables.items():
        columns = f"LIKE migrated.{table} INCLUDING CONSTRAINTS INCLUDING DEFAULTS INCLUDING IDENTITY"
        primary = ", ".join(dict.fromkeys((key, "id")))
        database.execute(f"CREATE TABLE {table} ({columns}, PRIMARY KEY ({primary})) PARTITION BY HASH ({key})")
        for number in range(count):
            values = f"FOR VALUES WITH (MODULUS {count}, REMAINDER {number})"
            database.execute(f"CREATE TABLE p{number}.{table} PARTITION OF {table} {values}")
        database.execute(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM migrated.{table}")
        for rule in rules[table]:
            database.execute(rule)
    database.execute("DROP SCHEMA migrated CASCADE")
    for index, name in database.execute(NAMES).fetchall():
        database.execute(f"ALTER INDEX {index} RENAME TO {name}")


def tables_of_devices(database: psycopg.Connection) -> dict[str, str]:
    """Return the tables of devices and of their rows, referenced ones first, with the column of the device's id."""
    keys = {"devices": "id", **dict(database.execute(OWNED).fetchall())}
    ordered = TopologicalSorter(dict(database.execute(REFERENCES).fetchall())).static_order()
    return {table: keys[table] for table in ordered if table in keys}


def rules_of(database: psycopg.Connection, table: str) -> list[str]:
    """Return the statements that recreate a migrated table's indexes, foreign keys and triggers."""
    indexes = [
        definition.replace("(product_id)", "(device_id, product_id)") if unique else definition
        for definition, unique in database.execute(INDEXES, [table])
    ]
    keys = [
        f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"
        for name, definition in database.execute(FOREIGN_KEYS, [table])
    ]
    return [*indexes, *keys, *(trigger for (trigger,) in database.execute(TRIGGERS, [table]))]
