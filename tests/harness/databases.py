"""Create and drop databases of a PostgreSQL server."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

SERVER = os.environ.get("BENCH_POSTGRES", "postgres://postgres@127.0.0.1:5432").rstrip("/")


def url_of(database: str, server: str = SERVER) -> str:
    return f"{server}/{database}"


@contextmanager
def create_databases(*names: str, server: str = SERVER) -> Iterator[None]:
    """Create empty databases, and drop them at the end of the block. Replace any that an interrupted run has left."""
    for name in names:
        drop_database(name, server)
        run_on_server(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'", server)
    try:
        yield
    finally:
        for name in names:
            drop_database(name, server)


def drop_database(name: str, server: str = SERVER) -> None:
    run_on_server(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", server)


def run_on_server(statement: str, server: str = SERVER) -> None:
    try:
        with psycopg.connect(url_of("postgres", server), autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement)
    except psycopg.OperationalError as error:
        raise SystemExit(f"Can't connect to PostgreSQL. Set BENCH_POSTGRES or DATABASE_URL.\n{error}") from error
