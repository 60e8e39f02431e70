"""A further nutrient is one line in `nutrition/nutrients.py` and a migration: everything else follows from the list."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from nutrition.nutrients import NUTRIENTS
from tests.harness.our_apps import ROOT, our_apps

LAST = f'    Nutrient("{NUTRIENTS[-1].name}"'
NEW = '    Nutrient("caffeine", is_new=True),\n'

# What an app and support would do with the new nutrient. It runs in the copy, and prints what it gets.
TRY_IT = """
import json
from uuid import uuid4
from django.contrib import admin
from django.db import IntegrityError, transaction
from rest_framework.test import APIClient
from countonme.api import schema_views
from devices.models import Device
from ownership.models import change_set
from products.models import Product

api = APIClient(SERVER_NAME="localhost")
token = api.post("/v1/auth/register", {"device_id": str(uuid4())}).json()["token"]
api.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
coffee = api.post("/v1/products", {"name": "Coffee", "kcal_100g": 1, "caffeine_100g": 0.045}).json()
water = api.post("/v1/products", {"name": "Water", "kcal_100g": 0}).json()
refused = api.post("/v1/products", {"name": "Coffee", "kcal_100g": 1, "caffeine_100g": 101}).json()
for product in (coffee, water):
    entry = {"product_id": product["id"], "grams": 250, "date": "2026-01-05"}
    api.post("/v1/food-entries", entry)
(day,) = api.get("/v1/food-entries/summary?from=2026-01-05&to=2026-01-05").json()
pushed = {"id": coffee["id"], "caffeine_100g": 0.1}
push = api.post("/v1/sync?last_pulled_at=5", {"products": {"updated": [pushed]}}).json()
pulled = api.get("/v1/sync").json()["changes"]
components = schema_views.document()["components"]["schemas"]
device = Device.objects.get()
try:
    with transaction.atomic(), change_set(device):
        Product.objects.for_device(device).update(caffeine_100g=-1)
except IntegrityError as error:
    constraint = str(error)
admins = {model._meta.model_name: each for model, each in admin.site._registry.items()}
print(json.dumps({
    "created": coffee["caffeine_100g"],
    "refused": [error["field"] for error in refused["errors"]],
    "day": [day["caffeine"], day["incomplete"][-1], list(day["meals"].values())[0]["caffeine"]],
    "rejected": push["rejected"],
    "products": sorted(row["caffeine_100g"] or 0 for row in pulled["products"]["updated"]),
    "entries": sorted(row["caffeine"] or 0 for row in pulled["food_entries"]["updated"]),
    "described": sorted(name for name, schema in components.items() if "caffeine" in str(schema)),
    "constraint": "product_caffeine_100g_within_bounds" in constraint,
    "corrected": "caffeine_100g" in admins["product"].correctable_fields,
    "shown": "caffeine" in admins["foodentry"].displayed_fields,
}))
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs manage.py in a copy of the apps, whose list has one more nutrient."""
    for app in our_apps():
        without = shutil.ignore_patterns("tests", "__pycache__")
        shutil.copytree(ROOT / app, tmp_path / app, ignore=without)
    for name in ("manage.py", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    file = tmp_path / "nutrition/nutrients.py"
    before, last, after = file.read_text().partition(LAST)
    line, end, rest = after.partition("\n")
    file.write_text(f"{before}{last}{line}{end}{NEW}{rest}")
    settings = {"ALLOWED_HOSTS": "localhost", "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3"}

    def manage(*arguments: str, **options) -> str:
        command = [sys.executable, "manage.py", *arguments]
        run = subprocess.run(
            command, cwd=tmp_path, env=os.environ | settings, capture_output=True, text=True, check=False, **options
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    return manage


class TestAFurtherNutrient:
    def test_needs_a_line_and_a_migration(self, run):
        made = run("makemigrations")
        run("migrate", "--noinput")
        tried = json.loads(run("shell", "--verbosity", "0", "--command", TRY_IT).splitlines()[-1])

        changes = {line.strip(" +-") for line in made.splitlines() if line.startswith("    ")}
        assert changes >= {
            "Add field caffeine_100g to product",
            "Add field caffeine to foodentry",
            "Add field caffeine_100g to foodentry",
            "Create constraint product_caffeine_100g_within_bounds on model product",
            "Create constraint foodentry_caffeine_100g_within_bounds on model foodentry",
            "Create constraint foodentry_total_of_caffeine_is_known on model foodentry",
        }
        assert tried == {
            "created": 0.05,
            "refused": ["caffeine_100g"],
            "day": [0.13, "caffeine", 0.13],
            "rejected": [],
            "products": [0, 0.1],
            "entries": [0, 0.13],
            "described": [
                *("CatalogFood", "DaySummary", "FoodEntry", "FoodEntryRow", "MealSummary", "PatchedProductRequest"),
                *("Product", "ProductRequest", "ProductRow", "ProductRowRequest"),
            ],
            "constraint": True,
            "corrected": True,
            "shown": True,
        }
