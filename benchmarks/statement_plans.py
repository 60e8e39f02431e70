"""Print all of CountOnMe's SQL statements with their plans, as JSON. indexes.py runs it, with CountOnMe's environment.

It makes every call of the API and runs the commands' queries, often enough for PostgreSQL to use a generic plan. Each
is rolled back. The plans come from PostgreSQL's auto_explain, which includes checks of foreign keys.
"""

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from uuid import uuid4

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from benchmarks import data
from benchmarks.call_plans import listen, notices  # sets Django up
from devices.models import Device, Restore
from sync.purge import devices_with_tombstones, purge_device

TIMES = 8  # runs of each call; PostgreSQL may use a generic plan from the sixth on
DAY = "2026-01-05"


def main() -> None:
    dataset = data.generate()
    listen()
    with connection.cursor() as cursor:
        for name, value in {"log_format": "json", "log_nested_statements": "on"}.items():
            cursor.execute(f"SET auto_explain.{name} = {value}")
    calls = calls_of(dataset) | support_calls(dataset) | jobs(dataset)
    json.dump({name: statements(name, call) for name, call in calls.items()}, sys.stdout)


def statements(name: str, call: Callable) -> list[dict]:
    """Return the text and the plan of each statement in the last run of a call."""
    for _ in range(TIMES):
        with transaction.atomic():
            notices.clear()
            response = call()
            connection.check_constraints()  # as in a commit
            transaction.set_rollback(True)
        # Read the notices only now: a statement's plan comes with the next statement or at the transaction's end.
    if getattr(response, "status_code", 200) >= 400:
        raise SystemExit(f"{name}: {response.status_code} {response.content[:500]}")
    plans = [json.loads(notice.partition("plan:\n")[2]) for notice in notices if "plan:\n" in notice]
    return [{"sql": plan["Query Text"], "plan": plan["Plan"]} for plan in plans]


def send(token: str, method: str, path: str, body=None):
    headers = {"Authorization": f"Bearer {token}", "Host": "127.0.0.1"}
    content = "" if body is None else json.dumps(body)
    return Client().generic(method, path, content, content_type="application/json", headers=headers)


def calls_of(dataset: data.Data) -> dict[str, Callable]:
    """Return every call of the API, for a device with entries."""
    device = dataset.loggers[0]
    call = partial(send, device.token)
    product_id, other_id = map(str, device.product_ids[:2])
    portion_id = str(next(one.portion_id for one in dataset.products if one.id == device.product_ids[0]))
    entry = next(one for one in data.entries(dataset) if one["device_id"] == device.id)
    entry_path, product_path, portions = f"/v1/food-entries/{entry['id']}", f"/v1/products/{product_id}", "portions"
    pulled_at = call("GET", "/v1/sync").json()["timestamp"]
    eaten = {"product_id": product_id, "date": DAY}
    new = {"name": "Rye", "kcal_100g": 1}

    def default():
        sent_portion = {"id": str(uuid4()), "name": "Slice", "grams": 1, "is_default": True}
        call("POST", f"{product_path}/{portions}", sent_portion)
        return call("DELETE", f"/v1/portions/{sent_portion['id']}")

    def restore(path: str):
        call("DELETE", path)
        return call("POST", f"{path}/restore")

    def used():
        return send(call("POST", "/v1/auth/rotate").json()["token"], "GET", "/v1/devices/me")

    return {
        "register": lambda: call("POST", "/v1/auth/register", {"device_id": str(uuid4())}),
        "rotate, and use the new token": used,
        "me": lambda: call("GET", "/v1/devices/me"),
        "delete me": lambda: call("DELETE", "/v1/devices/me"),
        "list many products": lambda: send(dataset.hoarders[0].token, "GET", "/v1/products?limit=50&offset=50"),
        "list products": lambda: call("GET", "/v1/products?limit=50&offset=50"),
        "search products": lambda: call("GET", "/v1/products?search=rye"),
        "a product by its barcode": lambda: call("GET", "/v1/products?barcode=96385074"),
        "read a product": lambda: call("GET", product_path),
        "create a product": lambda: call("POST", "/v1/products", new | {"id": str(uuid4()), "barcode": "96385074"}),
        "change a product": lambda: call("PATCH", product_path, {"name": "Rye", "barcode": "96385074"}),
        "delete a product": lambda: call("DELETE", product_path),
        "delete a product, restore it": lambda: restore(product_path),
        "list portions": lambda: call("GET", f"{product_path}/{portions}"),
        "create a default portion, delete it": default,
        "read a portion": lambda: call("GET", f"/v1/portions/{portion_id}"),
        "change a portion": lambda: call("PATCH", f"/v1/portions/{portion_id}", {"grams": 9}),
        "list entries": lambda: call("GET", "/v1/food-entries?limit=50&offset=50"),
        "list a day's entries": lambda: call("GET", f"/v1/food-entries?date={DAY}&meal_type=lunch"),
        "list a week's entries": lambda: call("GET", f"/v1/food-entries?from={DAY}&to=2026-01-11"),
        "sum up a month": lambda: call("GET", f"/v1/food-entries/summary?from={DAY}&to=2026-02-04"),
        "read an entry": lambda: call("GET", entry_path),
        "create an entry": lambda: call(
            "POST", "/v1/food-entries", eaten | {"portion_id": portion_id, "id": str(uuid4())}
        ),
        "create a batch": lambda: call("POST", "/v1/food-entries/batch", [eaten | {"grams": 1}] * 20),
        "change an entry": lambda: call("PATCH", entry_path, {"product_id": other_id}),
        "delete an entry": lambda: call("DELETE", entry_path),
        "delete an entry, restore it": lambda: restore(entry_path),
        "first pull": lambda: call("GET", "/v1/sync"),
        "pull": lambda: call("GET", f"/v1/sync?last_pulled_at={pulled_at}"),
        "pull after a restore": lambda: call("GET", "/v1/sync?last_pulled_at=2"),
        "pull a whole table": lambda: call(
            "GET",
            f'/v1/sync?last_pulled_at={pulled_at}&migration={{"from":1,"tables":["food_entries"],"columns":[]}}',
        ),
        "push": lambda: call(
            "POST", f"/v1/sync?last_pulled_at={pulled_at}", pushed(product_id, other_id, str(entry["id"]))
        ),
    }


def pushed(product_id: str, other_id: str, entry_id: str) -> dict:
    """Return a push of new, changed and deleted rows of every kind."""
    row = {"name": "Rye", "kcal_100g": 1}
    part = {"name": "Slice", "grams": 1, "is_default": True}
    eaten = {"product_id": product_id, "grams": 1, "date": DAY, "meal_type": "lunch"}
    return {
        "products": {
            "created": [row | {"id": str(uuid4()), "barcode": "4006381333931"}],
            "updated": [row | {"id": product_id, "barcode": "96385074"}],
            "deleted": [other_id],
        },
        "portions": {"created": [part | {"id": str(uuid4()), "product_id": product_id}]},
        "food_entries": {"created": [eaten | {"id": str(uuid4())} for _ in range(20)], "deleted": [entry_id]},
    }


def support_calls(dataset: data.Data) -> dict[str, Callable]:
    """Return the pages of the admin: devices and their rows."""
    user = get_user_model().objects.create_superuser("support", password="only here")
    device_id = dataset.loggers[0].id

    def open_page(path: str):
        client = Client(headers={"Host": "127.0.0.1"})
        client.force_login(user)
        return client.get(f"/admin/{path}")

    kinds = ("products/product", "products/portion", "food_entries/foodentry")
    calls = {f"support: {kind.split('/')[1]} of a device": f"{kind}/?device__id__exact={device_id}" for kind in kinds}
    calls |= {f"support: {kind.split('/')[1]} by id": f"{kind}/?q={dataset.products[0].id}" for kind in kinds}
    calls |= {"support: a device": f"devices/device/{device_id}/change/"}
    calls |= {"support: blocked devices": "devices/device/?state=blocked"}
    calls |= {f"support: all of {kind.split('/')[1]}": f"{kind}/" for kind in (*kinds, "devices/device")}
    return {name: partial(open_page, path) for name, path in calls.items()}


def jobs(dataset: data.Data) -> dict[str, Callable]:
    now = timezone.now() + timedelta(days=1)
    with_tombstones = devices_with_tombstones(now)[0]
    return {
        "purge: devices with tombstones": lambda: devices_with_tombstones(now),
        "purge: a device": lambda: purge_device(with_tombstones, now),
        "after a restore": lambda: Restore.objects.record(timezone.now()),
        "register after a restore": lambda: Device.objects.create_registered(uuid4(), "x" * 60),
    }


if __name__ == "__main__":
    main()
