"""The wire contract as a model in plain Python, written from its page and not from the code: it shares only JSON.

A call returns the status and the body that the service must answer with, or raises Refused; afterwards the model is as
the service must be. What the service alone can know, ids that it makes and times, is taken from its answer, `said`.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]{6})?Z")
CHANGED = "changed, at a time that nobody has said yet"
MEALS = ("breakfast", "lunch", "dinner", "snacks")
PER_100G = {"kcal": "kcal_100g", "protein": "protein_100g", "carbs": "carbs_100g", "fat": "fat_100g"}
SYNCED = {
    "products": ("id", "name", "kcal_100g", "protein_100g", "carbs_100g", "fat_100g", "barcode"),
    "portions": ("id", "product_id", "name", "grams", "is_default"),
    "food_entries": (
        *("id", "product_id", "portion_id", "date", "meal_type", "quantity", "grams"),
        *("product_name", "kcal", "protein", "carbs", "fat"),
    ),
}
NAMES = {"products": "Product", "portions": "Portion", "food_entries": "Food entry"}


class Refused(Exception):
    """`locs` are where the errors of a 422 are; a `detail` of None is one that the contract leaves open."""

    def __init__(self, status: int, detail: str | None = None, *locs: tuple):
        self.status, self.detail, self.locs = status, detail, set(locs)


def wrong(*locs: tuple) -> Refused:
    return Refused(422, "Validation error", *locs)


# --- values ---------------------------------------------------------------------------------------


def half_up(value) -> Decimal:
    return Decimal(str(value)).quantize(Decimal("0.01"), ROUND_HALF_UP)


def must(holds: bool) -> None:
    if not holds:
        raise ValueError


def name(value) -> str:
    must(isinstance(value, str) and not re.search("[\0\ud800-\udfff]", value) and 1 <= len(value.strip()) <= 100)
    return value.strip()


def whole(least: int, most: int) -> Callable:
    def check(value) -> int:
        must(type(value) is int and least <= value <= most)
        return value

    return check


def amount(least: str, most: int) -> Callable:
    def check(value) -> Decimal:
        must(type(value) in (int, float))
        must(Decimal(least) <= half_up(value) <= most)
        return half_up(value)

    return check


def flag(value) -> bool:
    must(isinstance(value, bool))
    return value


def day(value) -> str:
    must(isinstance(value, str) and len(value) == 10)
    return str(date.fromisoformat(value))


def meal(value) -> str:
    must(value in MEALS)
    return value


def gtin(value) -> str:
    must(isinstance(value, str) and re.fullmatch("[0-9]{8}|[0-9]{12,14}", value) is not None)
    must(sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(reversed(value))) % 10 == 0)
    return value


def nullable(check: Callable) -> Callable:
    return lambda value: None if value is None else check(value)


NUTRIENT = nullable(amount("0", 100))
FIELDS = {
    "products": {
        "name": name,
        "kcal_100g": whole(0, 1000),
        "protein_100g": NUTRIENT,
        "carbs_100g": NUTRIENT,
        "fat_100g": NUTRIENT,
        "barcode": nullable(gtin),
    },
    "portions": {"name": name, "grams": amount("0.01", 10_000), "is_default": flag},
    "food_entries": {
        "quantity": nullable(amount("0.01", 1000)),
        "grams": nullable(amount("0.01", 100_000)),
        "date": day,
        "meal_type": meal,
    },
}
REQUIRED = {"products": ("name", "kcal_100g"), "portions": ("name", "grams"), "food_entries": ("date",)}


def shown(value):
    """Return a value as it is in JSON: numbers are numbers."""
    if isinstance(value, dict):
        return {name: shown(one) for name, one in value.items()}
    if isinstance(value, list):
        return [shown(one) for one in value]
    return float(value) if isinstance(value, Decimal) else value


def folded(text: str) -> str:
    """Return a text without regard to case and accents."""
    return "".join(one for one in unicodedata.normalize("NFD", text.casefold()) if not unicodedata.combining(one))


# --- rows -----------------------------------------------------------------------------------------


@dataclass
class Row:
    values: dict
    per_100g: dict = field(default_factory=dict)  # what an entry keeps of its product
    revision: int = 0
    live: bool = True

    def __getitem__(self, column: str):
        return self.values[column]


def adopt(row: Row, said: dict) -> None:
    """Take the times that the service says, where they are possible; the comparison that follows says if they are."""
    times = row.values
    if times["created_at"] is CHANGED and TIME.fullmatch(said.get("created_at") or ""):
        times["created_at"] = said["created_at"]
    if times["updated_at"] is CHANGED and TIME.fullmatch(said.get("updated_at") or ""):
        must(said["updated_at"] >= times["created_at"])
        times["updated_at"] = said["updated_at"]


def eaten(values: dict, grams: Decimal, per_100g: dict) -> dict:
    """Return an entry's weight and what follows from it."""
    totals = {
        total: None if per_100g[name] is None else half_up(per_100g[name] * grams / 100)
        for total, name in PER_100G.items()
    }
    return values | {"grams": grams} | totals


class Device:
    """What one device has. `taken` are the ids that anybody has, or had, by table."""

    def __init__(self, device_id: str, token: str, taken: dict[str, set[str]]):
        self.id, self.token, self.taken = device_id, token, taken
        self.rotated: str | None = None
        self.revision = 1
        self.rows: dict[str, dict[str, Row]] = {table: {} for table in FIELDS}

    def live(self, table: str, **values) -> list[Row]:
        rows = [row for row in self.rows[table].values() if row.live]
        return [row for row in rows if all(row[name] == value for name, value in values.items())]

    def row(self, table: str, row_id) -> Row:
        row = self.rows[table].get(row_id)
        if row is None or not row.live:
            raise Refused(404, f"{NAMES[table]} not found")
        return row

    def stamp(self, *rows: Row) -> None:
        """Give rows that changed the next revision."""
        for row in rows:
            row.revision = self.revision + 1
            if row["created_at"] is not CHANGED:
                row.values["updated_at"] = CHANGED

    def commit(self) -> None:
        if any(row.revision > self.revision for rows in self.rows.values() for row in rows.values()):
            self.revision += 1

    def checked(self, table: str, sent: dict, *, new: bool) -> dict:
        values, broken = {}, set()
        for column, check in FIELDS[table].items():
            if column in sent:
                try:
                    values[column] = check(sent[column])
                except ValueError:
                    broken.add((column,))
            elif new and column in REQUIRED[table]:
                broken.add((column,))
        if new and "id" in sent and not (isinstance(sent["id"], str) and UUID.fullmatch(sent["id"])):
            broken.add(("id",))
        if broken:
            raise wrong(*broken)
        return values

    def retried(self, table: str, sent: dict) -> Row | None:
        row = self.rows[table].get(sent["id"]) if isinstance(sent.get("id"), str) else None
        return row if row and row.live else None

    def keep(self, table: str, sent: dict, said, values: dict, per_100g: dict | None = None) -> Row:
        """Return a new row, its id the client's or, without one, a free one of the service's."""
        row_id = sent.get("id") or (said or {}).get("id")
        if row_id in self.taken[table]:
            raise Refused(409, "This id is taken")
        must(isinstance(row_id, str) and UUID.fullmatch(row_id) is not None)
        row = Row({"id": row_id, **values, "created_at": CHANGED, "updated_at": None}, per_100g or {})
        self.taken[table].add(row_id)
        self.rows[table][row_id] = row
        self.stamp(row)
        return row

    # --- products ----------------------------------------------------------------------------------

    def shown_product(self, row: Row, said=None) -> dict:
        portions = self.shown_portions(row["id"], (said or {}).get("portions"))
        return self.shown_row(row, said) | {"portions": portions}

    def shown_row(self, row: Row, said=None) -> dict:
        adopt(row, said or {})
        return shown(row.values)

    def create_product(self, sent: dict, said) -> tuple:
        if row := self.retried("products", sent):
            return 200, self.shown_product(row, said)
        values = dict.fromkeys(FIELDS["products"]) | self.checked("products", sent, new=True)
        if self.holds(values["barcode"]):
            raise Refused(
                409, None if sent.get("id") in self.taken["products"] else "Another product has this barcode."
            )
        row = self.keep("products", sent, said, values)
        of = {"product_id": row["id"], "name": "100g", "grams": Decimal(100), "is_default": True}
        self.keep("portions", {}, ((said or {}).get("portions") or [{}])[0], of)
        self.commit()
        return 201, self.shown_product(row, said)

    def holds(self, barcode: str | None) -> bool:
        return barcode is not None and bool(self.live("products", barcode=barcode))

    def change_product(self, row_id, sent: dict, said) -> tuple:
        row = self.row("products", row_id)
        values = self.checked("products", sent, new=False)
        if values.get("barcode") != row["barcode"] and self.holds(values.get("barcode")):
            raise Refused(409, "Another product has this barcode.")
        self.change(row, values)
        self.commit()
        return 200, self.shown_product(row, said)

    def change(self, row: Row, values: dict) -> None:
        """Put values on a row; one that says the same already is not touched."""
        if row.values | values != row.values:
            row.values |= values
            self.stamp(row)

    def delete_product(self, row_id) -> tuple:
        gone = [self.row("products", row_id), *self.live("portions", product_id=row_id)]
        return self.deleted(*gone)

    def deleted(self, *rows: Row) -> tuple:
        for row in rows:
            row.live = False
        self.stamp(*rows)
        self.commit()
        return 204, None

    def list_products(self, query: dict, said) -> tuple:
        rows = sorted(self.live("products"), key=lambda row: (folded(row["name"]), row["id"]))
        if "search" in query:
            rows = [row for row in rows if folded(query["search"]) in folded(row["name"])]
        if "barcode" in query:
            rows = [row for row in rows if row["barcode"] == query["barcode"]]
        return self.page(rows, query, said, self.shown_product)

    def page(self, rows: list[Row], query: dict, said, show: Callable) -> tuple:
        limit, offset = limits(query)
        found = rows[offset : offset + limit]
        more = {"limit": str(limit), "offset": str(offset + limit)} if len(rows) > offset + limit else None
        said = [*said, *[None] * len(found)] if isinstance(said, list) else [None] * len(found)
        return 200, [show(row, one) for row, one in zip(found, said, strict=False)], more

    # --- portions ----------------------------------------------------------------------------------

    def shown_portions(self, product_id: str, said=None) -> list[dict]:
        rows = self.live("portions", product_id=product_id)
        rows.sort(key=lambda row: (not row["is_default"], folded(row["name"]), row["id"]))
        said = {one["id"]: one for one in said or ()}
        return [self.shown_row(row, said.get(row["id"])) for row in rows]

    def list_portions(self, product_id, query: dict, said) -> tuple:
        limits(query)
        self.row("products", product_id)
        rows = self.live("portions", product_id=product_id)
        rows.sort(key=lambda row: (not row["is_default"], folded(row["name"]), row["id"]))
        return self.page(rows, query, said, self.shown_row)

    def create_portion(self, product_id, sent: dict, said) -> tuple:
        self.row("products", product_id)
        if row := self.retried("portions", sent):
            return 200, self.shown_row(row, said)
        values = {"product_id": product_id, "is_default": False} | self.checked("portions", sent, new=True)
        row = self.keep("portions", sent, said, values)
        self.settle_default(row)
        self.commit()
        return 201, self.shown_row(row, said)

    def settle_default(self, row: Row) -> None:
        """Take the default from whichever other portion has it."""
        others = self.live("portions", product_id=row["product_id"], is_default=True) if row["is_default"] else []
        for other in others:
            if other is not row:
                self.change(other, {"is_default": False})

    def change_portion(self, row_id, sent: dict, said) -> tuple:
        row = self.row("portions", row_id)
        values = self.checked("portions", sent, new=False)
        if row["is_default"] and not values.get("is_default", True):
            raise Refused(409)
        self.change(row, values)
        self.settle_default(row)
        self.commit()
        return 200, self.shown_row(row, said)

    def delete_portion(self, row_id) -> tuple:
        row = self.row("portions", row_id)
        others = [one for one in self.live("portions", product_id=row["product_id"]) if one is not row]
        if not others:
            raise Refused(409)
        if row["is_default"]:
            heir = min(others, key=lambda one: (one["created_at"], one["id"]))
            self.change(heir, {"is_default": True})
        return self.deleted(row)

    # --- food entries ------------------------------------------------------------------------------

    def create_entry(self, sent: dict, said) -> tuple:
        status, rows = self.logged([sent], [said], ())
        return status, self.shown_row(rows[0], said)

    def create_entries(self, sent: list[dict], said) -> tuple:
        answers = said if isinstance(said, list) else [None] * len(sent)
        status, rows = self.logged(sent, answers, None)
        return status, [self.shown_row(row, one) for row, one in zip(rows, answers, strict=True)]

    def logged(self, sent: list[dict], said: list, at) -> tuple[int, list[Row]]:
        """Log all entries or none; `at` is where the errors of a single one are, None for a batch."""
        drafts, broken, fresh = {}, [], set()
        for index, one in enumerate(sent):
            if self.retried("food_entries", one) or one.get("id") in fresh:
                continue
            try:
                drafts[index] = self.draft(one)
                fresh.add(one.get("id"))
                fresh.discard(None)
            except Refused as refused:
                broken += [((index,) if at is None else at) + loc for loc in refused.locs]
        if broken:
            raise wrong(*broken)
        if any(sent[index].get("id") in self.taken["food_entries"] for index in drafts):
            raise Refused(409, "This id is taken")
        for index, (values, per_100g) in drafts.items():
            self.keep("food_entries", sent[index], said[index], values, per_100g)
        self.commit()
        ids = [one.get("id") or answer["id"] for one, answer in zip(sent, said, strict=True)]
        return 201 if drafts else 200, [self.rows["food_entries"][row_id] for row_id in ids]

    def read_entry(self, sent: dict, row: Row | None = None) -> tuple[dict, dict[str, Row | None]]:
        """Return what was sent, and the live rows that it names; what is stored already counts as not sent."""
        values, named, broken = {}, {}, set()
        try:
            values = self.checked("food_entries", sent, new=row is None)
        except Refused as refused:
            broken |= refused.locs
        for column, table in (("product_id", "products"), ("portion_id", "portions")):
            if row and sent.get(column, row[column]) == row[column]:
                continue
            if sent.get(column) is None and column == "portion_id":
                named[column] = None
                continue
            try:
                named[column] = self.row(table, sent.get(column))
            except Refused:
                broken.add((column,))
        if broken:
            raise wrong(*broken)
        return {name: value for name, value in values.items() if row is None or value != row[name]}, named

    def draft(self, sent: dict) -> tuple[dict, dict]:
        """Return a new entry's values, and what it keeps of its product."""
        values, named = self.read_entry(sent)
        product, portion = named["product_id"], named["portion_id"]
        weight = self.weighed(product["id"], portion, values.get("quantity"), values.get("grams"))
        return self.of_product({"meal_type": "snacks"} | values | weight, product)

    def of_product(self, values: dict, product: Row) -> tuple[dict, dict]:
        per_100g = {name: product[name] for name in PER_100G.values()}
        values = values | {"product_id": product["id"], "product_name": product["name"]}
        return eaten(values, values["grams"], per_100g), per_100g

    def weighed(self, product_id: str, portion: Row | None, quantity, grams) -> dict:
        """Return portion, quantity and grams of an entry of this product."""
        if portion is None:
            if quantity is not None:
                raise wrong(("quantity",))
            if grams is None:
                raise wrong(("grams",))
            return {"portion_id": None, "quantity": None, "grams": grams}
        if portion["product_id"] != product_id:
            raise wrong(("portion_id",))
        quantity = Decimal(1) if quantity is None else quantity
        return {"portion_id": portion["id"]} | self.counted(portion["grams"] * quantity, quantity, grams)

    def counted(self, weight: Decimal, quantity: Decimal, grams) -> dict:
        if grams is not None:
            raise wrong(("grams",))
        if not Decimal("0.01") <= half_up(weight) <= 100_000:
            raise wrong(("quantity",))
        return {"quantity": quantity, "grams": half_up(weight)}

    def change_entry(self, row_id, sent: dict, said) -> tuple:
        row = self.row("food_entries", row_id)
        values, named = self.read_entry(sent, row)
        product, portion = named.get("product_id"), named.get("portion_id")
        quantity, grams = values.pop("quantity", None), values.pop("grams", None)
        product_id = product["id"] if product else row["product_id"]
        if portion is not None:
            count = row["quantity"] if quantity is None else quantity
            values |= self.weighed(product_id, portion, count, grams)
        elif product is not None or "portion_id" in named or row["portion_id"] is None:  # by weight from now on
            values |= self.weighed(product_id, None, quantity, row["grams"] if grams is None else grams)
        elif quantity is not None:
            values |= self.counted(row["grams"] * quantity / row["quantity"], quantity, grams)
        elif grams is not None:
            values |= self.weighed(product_id, None, None, grams)
        new, per_100g = row.values | values, row.per_100g
        if product is not None:
            new, per_100g = self.of_product(new, product)
        row.per_100g = per_100g
        self.change(row, eaten(new, new["grams"], per_100g))
        self.commit()
        return 200, self.shown_row(row, said)

    def delete_entry(self, row_id) -> tuple:
        return self.deleted(self.row("food_entries", row_id))

    def list_entries(self, query: dict, said) -> tuple:
        limits(query)
        first, last = query.get("from", "0001-01-01"), query.get("to", "9999-12-31")
        if last < first:
            raise wrong(("to",))
        wanted = [row for row in self.live("food_entries") if first <= row["date"] <= last]
        for column in ("date", "meal_type"):
            if column in query:
                wanted = [row for row in wanted if row[column] == query[column]]
        wanted.sort(key=lambda row: (row["created_at"], row["id"]))
        wanted.sort(key=lambda row: row["date"], reverse=True)
        return self.page(wanted, query, said, self.shown_row)

    def summary(self, first: str, last: str) -> tuple:
        start, end = date.fromisoformat(first), date.fromisoformat(last)
        if end < start or (end - start).days >= 366:
            raise wrong(("to",))
        return 200, [self.summed(str(start + timedelta(days=n))) for n in range((end - start).days + 1)]

    def summed(self, on: str) -> dict:
        rows = self.live("food_entries", date=on)
        meals = {one: [row for row in rows if row["meal_type"] == one] for one in MEALS}
        of_meals = {one: added_up(of_meal) for one, of_meal in meals.items() if of_meal}
        return {"date": on, **added_up(rows), "meals": of_meals}

    # --- sync --------------------------------------------------------------------------------------

    def pulled(self, since: int) -> dict:
        """Return what has changed since a revision: by table, live rows and deleted ids."""
        changed = {table: [row for row in rows.values() if row.revision > since] for table, rows in self.rows.items()}
        return {
            table: (
                {row["id"]: {name: shown(row[name]) for name in SYNCED[table]} for row in rows if row.live},
                {row["id"] for row in rows if not row.live and since},
            )
            for table, rows in changed.items()
        }


def limits(query: dict) -> tuple[int, int]:
    limit, offset = int(query.get("limit", 50)), int(query.get("offset", 0))
    broken = [("limit",)] * (not 1 <= limit <= 200) + [("offset",)] * (not 0 <= offset <= 1_000_000)
    if broken:
        raise wrong(*broken)
    return limit, offset


def added_up(rows: list[Row]) -> dict:
    """Return the sums of entries; an unknown value counts as 0."""
    return {"entries": len(rows)} | {total: float(sum((row[total] or 0) for row in rows)) for total in PER_100G}
