"""Generate the benchmarks' data, which is the same in every run, and store it for each service with COPY."""

import base64
import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID

import bcrypt
import psycopg

DEVICES = 1_000
PRODUCTS = 100  # of a device, each with a portion
MANY_PRODUCTS = 200  # of a device for "a first read"
DAYS = 30
ENTRIES_A_DAY = 10
FIRST_DAY = date(2026, 1, 1)
LAST_DAY = FIRST_DAY + timedelta(days=DAYS - 1)
CREATED_AT = datetime(2026, 1, 1, 6, tzinfo=UTC)
ROUNDS = 4  # bcrypt's minimum, because checks of tokens are not measured

MEALS = ("breakfast", "breakfast", "breakfast", "lunch", "lunch", "lunch", "dinner", "dinner", "dinner", "snacks")
FOODS = ("Apple", "Bread", "Cheese", "Egg", "Lentils", "Milk", "Oats", "Potato", "Rice", "Yoghurt")


@dataclass
class Device:
    id: UUID
    token: str
    products: int
    logs: bool
    product_ids: list[UUID] = field(default_factory=list)


@dataclass
class Product:
    id: UUID
    device: Device
    portion_id: UUID
    name: str
    brand: str
    kcal: int
    nutrients: tuple[Decimal, ...]
    created_at: datetime


@dataclass
class Data:
    """Devices in four separate groups: those with entries, those that list, those that write, and large ones."""

    devices: list[Device]
    products: list[Product]

    @property
    def loggers(self) -> list[Device]:
        return self.devices[:50]

    @property
    def listers(self) -> list[Device]:
        return self.devices[50:500]

    @property
    def writers(self) -> list[Device]:
        return self.devices[500:950]

    @property
    def hoarders(self) -> list[Device]:
        return self.devices[950:]


def generate() -> Data:
    """Return the data. The fixed seed produces the same ids, tokens and amounts every time."""
    rng = random.Random(2026)
    data = Data([device(rng, number) for number in range(DEVICES)], [])
    for owner in data.devices:
        owned = [product(rng, owner, number) for number in range(owner.products)]
        owner.product_ids = [one.id for one in owned]
        data.products += owned
    return data


def device(rng: random.Random, number: int) -> Device:
    device_id = random_uuid(rng)
    secret = base64.urlsafe_b64encode(rng.randbytes(32)).rstrip(b"=").decode()
    products = MANY_PRODUCTS if number >= 950 else PRODUCTS
    return Device(device_id, f"{device_id}.{secret}", products, logs=number < 50)


def product(rng: random.Random, owner: Device, number: int) -> Product:
    # The key of an ASCII name is its lower case. With one decimal place, decimals and floats give the same amounts.
    name = f"{FOODS[number % 10]} {number:03}"
    nutrients = tuple(Decimal(rng.randrange(0, 330)) / 10 for _ in NUTRIENTS)
    created_at = CREATED_AT + timedelta(seconds=number, microseconds=1 + rng.randrange(999_000))
    brand, kcal = f"Brand {number % 20}", rng.randrange(20, 900)
    return Product(random_uuid(rng), owner, random_uuid(rng), name, brand, kcal, nutrients, created_at)


def entries(data: Data) -> Iterator[dict]:
    """Yield the entries of the loggers."""
    rng = random.Random(30)
    of_device: dict[UUID, list[Product]] = {}
    for one in data.products:
        of_device.setdefault(one.device.id, []).append(one)
    for owner in data.loggers:
        for number in range(DAYS * ENTRIES_A_DAY):
            day, place = divmod(number, ENTRIES_A_DAY)
            eaten = rng.choice(of_device[owner.id])
            grams = Decimal(10 * rng.randrange(1, 41))
            kcal, *nutrients = (rounded(value * grams / 100) for value in (eaten.kcal, *eaten.nutrients))
            yield {
                "id": random_uuid(rng),
                "device_id": owner.id,
                "revision": 2,
                "created_at": CREATED_AT + timedelta(days=day, minutes=place, microseconds=1),
                "product_id": eaten.id,
                "grams": grams,
                "date": FIRST_DAY + timedelta(days=day),
                "meal_type": MEALS[place],
                "product_name": eaten.name,
                "kcal_100g": eaten.kcal,
                **dict(zip(NUTRIENTS_100G, eaten.nutrients, strict=True)),
                "kcal": kcal,
                **dict(zip(NUTRIENTS, nutrients, strict=True)),
            }


NUTRIENTS = ("protein", "carbs", "fat", "sugars", "saturated_fat", "fiber", "salt")
NUTRIENTS_100G = tuple(f"{name}_100g" for name in NUTRIENTS)


def with_key(name: str) -> tuple[str, str]:
    """Return a name and its key, by which it is searched."""
    return name, name.lower()


def random_uuid(rng: random.Random) -> UUID:
    return UUID(int=rng.getrandbits(128), version=4)


def rounded(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


def store_ours(database: str, data: Data) -> None:
    """Fill CountOnMe's tables. They must be migrated and empty."""
    now = datetime.now(UTC)
    with psycopg.connect(database) as connection:
        columns = ("id", "token_hash", "revision", "purged_through", "created_at", "last_seen_at")
        rows = ((one.id, bcrypt_hash(one.token), 2, 0, now, now) for one in data.devices)
        copy_rows(connection, "devices", columns, rows)
        columns = ("id", "device_id", "revision", "created_at", "name", "name_key", "brand", "brand_key", "kcal_100g")
        rows = (
            (
                *(one.id, one.device.id, 2, one.created_at),
                *with_key(one.name),
                *with_key(one.brand),
                one.kcal,
                *one.nutrients,
            )
            for one in data.products
        )
        columns += NUTRIENTS_100G
        copy_rows(connection, "products", columns, rows)
        columns = ("id", "device_id", "revision", "created_at", "product_id", "name", "name_key", "grams", "is_default")
        rows = (
            (one.portion_id, one.device.id, 2, one.created_at, one.id, "100g", "100g", 100, True)
            for one in data.products
        )
        copy_rows(connection, "portions", columns, rows)
        copy_entries(connection, data, leave_out=())
    vacuum(database)


def store_peer(database: str, data: Data) -> None:
    """Fill the tables of the FastAPI peer. They must exist and be empty."""
    now = datetime.now(UTC)
    with psycopg.connect(database) as connection:
        rows = ((one.id, hashlib.sha256(one.token.encode()).hexdigest(), now, now) for one in data.devices)
        copy_rows(connection, "devices", ("id", "token_hash", "created_at", "last_seen_at"), rows)
        columns = ("id", "device_id", "created_at", "name", "brand", "unit", "kcal_100g", *NUTRIENTS_100G)
        rows = (
            (one.id, one.device.id, one.created_at, one.name, one.brand, "g", one.kcal, *one.nutrients)
            for one in data.products
        )
        copy_rows(connection, "products", (*columns, "is_favorite"), ((*row, False) for row in rows))
        columns = ("id", "created_at", "product_id", "name", "grams", "is_default")
        rows = ((one.portion_id, one.created_at, one.id, "100g", 100, True) for one in data.products)
        copy_rows(connection, "portions", columns, rows)
        unused = ("revision", "product_name", "kcal_100g", *NUTRIENTS_100G, "kcal", *NUTRIENTS)
        copy_entries(connection, data, leave_out=unused)
    vacuum(database)


def copy_entries(connection: psycopg.Connection, data: Data, leave_out: Iterable[str]) -> None:
    rows = ({name: value for name, value in row.items() if name not in leave_out} for row in entries(data))
    first = next(rows)
    copy_rows(connection, "food_entries", tuple(first), (tuple(row.values()) for row in (first, *rows)))


def copy_rows(connection: psycopg.Connection, table: str, columns: tuple[str, ...], rows: Iterable[tuple]) -> None:
    """Copy the rows, without the columns that the table of an earlier checkout (BENCH_BEFORE) lacks."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT column_name FROM information_schema.columns WHERE table_name = %s", [table])
        existing = {name for (name,) in cursor}
        places = [place for place, name in enumerate(columns) if name in existing]
        names = ", ".join(columns[place] for place in places)
        with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row([row[place] for place in places])


def bcrypt_hash(token: str) -> str:
    return bcrypt.hashpw(token.rpartition(".")[2].encode(), bcrypt.gensalt(ROUNDS)).decode()


def vacuum(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
