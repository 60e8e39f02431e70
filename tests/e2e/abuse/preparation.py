"""Prepare the attacks: register devices with the API, and copy many rows with SQL."""

from dataclasses import dataclass, field, replace
from itertools import count
from uuid import uuid4

import psycopg

from tests.e2e.abuse.attacks import LONG_NAME, SHARED_ADDRESS, Caller
from tests.e2e.abuse.honest import DAY, phone_of
from tests.harness.servers import Server

HONEST = 2
NEWCOMERS = 10
PRODUCTS = 20_000  # as many as the quotas allow
PORTIONS = 40_000
ENTRIES = 250_000

# Copy a row that the service itself has stored, with new values of some columns. `place` is not a column: the reference
# to it makes PostgreSQL evaluate gen_random_uuid() for each copy.
COPY = """
    INSERT INTO {table} SELECT copy.* FROM {table} AS source CROSS JOIN {places}
    CROSS JOIN LATERAL jsonb_populate_record(
        source, jsonb_build_object({values}, 'id', gen_random_uuid(), 'place', place)
    ) AS copy WHERE source.id = %(source)s
"""


@dataclass
class World:
    """All devices that send requests."""

    honest: list[Caller] = field(default_factory=list)
    newcomers: list[Caller] = field(default_factory=list)
    hostile: dict[str, list[Caller]] = field(default_factory=dict)  # by the name of the attack


class Preparation:
    """Creates devices with the API of a running service, and their rows in its database."""

    def __init__(self, service: Server, database_url: str):
        self.port, self.database_url = service.port, database_url
        self.numbers = count(1)

    def world(self, attacks: list[str], devices: int) -> World:
        """Create the honest devices, and this number of hostile devices for each attack."""
        world = World()
        world.honest = [self.with_product(self.device(f"198.51.100.{number}")) for number in range(1, HONEST + 1)]
        world.newcomers = [self.device(SHARED_ADDRESS) for _ in range(NEWCOMERS)]
        for name in attacks:
            world.hostile[name] = [self.with_product(self.device()) for _ in range(devices)]
        if "tokens" in attacks:
            world.hostile["tokens"] = [self.device(SHARED_ADDRESS) for _ in range(2)]
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")  # foreign keys aren't checked row by row
            for caller in world.hostile.get("searches", []):
                self.copy_rows(connection, caller, PRODUCTS, PRODUCTS, 0)
            for caller in [*world.hostile.get("pulls", []), *world.hostile.get("reads", [])]:
                self.copy_rows(connection, caller, PRODUCTS, PORTIONS, ENTRIES)
            if "tokens" in attacks:
                (blocked, _) = world.hostile["tokens"]
                connection.execute("UPDATE devices SET blocked_at = now() WHERE id = %s", [blocked.id])
            connection.execute("VACUUM ANALYZE")
        return world

    def device(self, address: str = "") -> Caller:
        """Register a device from a new IP address, because the registrations of an address are limited."""
        number = next(self.numbers)
        caller = Caller(str(uuid4()), "", f"203.0.113.{number}")
        token = self.call(caller, "POST", "/v1/auth/register", {"device_id": caller.id})["token"]
        return replace(caller, token=token, address=address or caller.address)

    def with_product(self, caller: Caller) -> Caller:
        product = self.call(caller, "POST", "/v1/products", {"id": str(uuid4()), "name": LONG_NAME, "kcal_100g": 259})
        revision = self.call(caller, "GET", "/v1/sync?last_pulled_at=0")["timestamp"]
        return replace(caller, product_id=product["id"], revision=revision)

    def copy_rows(self, connection: psycopg.Connection, caller: Caller, products: int, portions: int, entries: int):
        """Give a device this number of rows: copies of its product with portions, and copies of an entry."""
        of_product = f"/v1/products/{caller.product_id}/portions"
        (default,) = self.call(caller, "GET", of_product)
        one_more = self.call(caller, "POST", of_product, {"name": LONG_NAME, "grams": 35})
        entry = {"product_id": caller.product_id, "grams": 70, "date": DAY, "meal_type": "lunch"}
        entry = self.call(caller, "POST", "/v1/food-entries", entry)
        copy(connection, "products", caller.product_id, numbered(products))
        others = "(SELECT id FROM products WHERE device_id = %(device)s AND id <> %(product)s LIMIT {}) AS place"
        of = {"device": caller.id, "product": caller.product_id}
        copy(connection, "portions", default["id"], others.format(products), "'product_id', place.id", of)
        rest = portions - products - 1
        copy(connection, "portions", one_more["id"], others.format(max(0, rest)), "'product_id', place.id", of)
        copy(connection, "food_entries", entry["id"], numbered(entries))

    def call(self, caller: Caller, method: str, path: str, body=None):
        response = phone_of(caller, self.port).send(method, path, body)
        if response.status_code not in (200, 201):
            raise SystemExit(f"{method} {path}: {response}")
        return response.json()


def numbered(rows: int) -> str:
    """Return the SQL that turns one row into this number of rows."""
    return f"generate_series(2, {rows}) AS place"


def copy(
    connection: psycopg.Connection, table: str, source: str, places: str, values: str = "", of: dict | None = None
):
    statement = COPY.format(table=table, places=places, values=values or "'deleted_at', NULL")
    connection.execute(statement, {"source": source, **(of or {})})
