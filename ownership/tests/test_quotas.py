from datetime import timedelta
from importlib import import_module
from io import StringIO
from uuid import uuid4

import pytest
from django.apps import apps
from django.core.checks import run_checks
from django.core.management import call_command
from django.utils import timezone

from devices.models import Device
from ownership.models import change_set, owned_models
from products.models import Product
from tests.harness.at_once import sent_at_once, statuses

BREAD = {"name": "Rye bread", "kcal_100g": 259}


def counters(device) -> dict[str, int]:
    stored = Device.objects.get(pk=device.pk).row_counts
    return {model._meta.db_table: stored.get(model._meta.db_table, 0) for model in owned_models()}


def counted(device) -> dict[str, int]:
    """Return how many rows the device has in each table, deleted ones included."""
    return {model._meta.db_table: model.all_objects.for_device(device).count() for model in owned_models()}


@pytest.fixture
def bread(api) -> dict:
    return api.post("/v1/products", BREAD).json()


@pytest.fixture
def registered_ago(device):
    """Return a function that moves the registration into the past."""

    def registered_ago(**ago) -> None:
        Device.objects.filter(pk=device.pk).update(created_at=timezone.now() - timedelta(**ago))

    return registered_ago


def log(api, bread: dict, **values):
    return api.post("/v1/food-entries", {"product_id": bread["id"], "grams": 50, "date": "2026-01-05", **values})


class TestTheCounters:
    def test_are_those_of_the_stored_rows(self, api, device, bread):
        slice_id = str(uuid4())
        api.post(f"/v1/products/{bread['id']}/portions", {"id": slice_id, "name": "Slice", "grams": 35})
        api.post("/v1/food-entries", [{"product_id": bread["id"], "grams": 1, "date": "2026-01-05"}] * 3)
        before = counted(device)
        assert counters(device) == before == before | {"products": 1, "portions": 2, "food_entries": 3}

        api.patch(f"/v1/products/{bread['id']}", {"kcal_100g": 3})
        api.delete(f"/v1/portions/{slice_id}")
        api.delete(f"/v1/products/{bread['id']}")

        assert counters(device) == counted(device) == before

    def test_are_not_changed_by_what_is_refused_or_sent_again(self, api, device, bread):
        before = counters(device)

        assert api.post("/v1/products", bread).status_code == 200
        assert api.post("/v1/products", {"name": ""}).status_code == 422
        assert api.post("/v1/products", BREAD | {"id": str(device.pk)}).status_code == 201
        assert log(api, bread, grams=-1).status_code == 422
        assert (
            api.post(
                "/v1/food-entries", [{"product_id": bread["id"], "grams": 1, "date": "2026-01-05"}, {}]
            ).status_code
            == 422
        )

        assert counters(device) == counted(device) == before | {"products": 2, "portions": 2}

    def test_are_not_taken_back_by_a_device_that_was_read_before(self, api, device):
        api.post("/v1/products", BREAD)

        device.blocked_at = timezone.now()
        device.save()

        assert counters(device) == counted(device)

    def test_are_repaired(self, api, device, bread, capsys):
        Device.objects.filter(pk=device.pk).update(row_counts={"products": 7})

        call_command("recount")
        call_command("recount")

        assert counters(device) == counted(device)
        assert capsys.readouterr().out.splitlines() == [
            "Repaired the counters of 1 devices.",
            "Repaired the counters of 0 devices.",
        ]

    @pytest.mark.postgres
    def test_are_repaired_under_the_devices_lock(self, api, bread, django_assert_num_queries):
        with django_assert_num_queries(7) as queries:
            call_command("recount", stdout=StringIO())

        assert any("FOR UPDATE" in query["sql"] for query in queries.captured_queries)

    def test_are_those_of_the_rows_from_before_they_were_kept(self, api, device, bread):
        log(api, bread)
        Device.objects.filter(pk=device.pk).update(row_counts={})

        import_module("countonme.migrations.0002_count_rows").count_rows(apps, None)

        assert Device.objects.get(pk=device.pk).row_counts == {"products": 1, "portions": 1, "food_entries": 1}

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_count_each_of_many_rows_that_come_at_once(self, api, device, bread):
        requests = [lambda client: log(client, bread)] * 8 + [lambda client: client.post("/v1/products", BREAD)] * 8

        assert set(statuses(sent_at_once(api, *requests))) == {201}

        assert counters(device) == counted(device) == {"products": 9, "portions": 9, "food_entries": 8}


class TestAQuota:
    @pytest.mark.parametrize(("setting", "words"), [("MAX_PRODUCTS", "2 products"), ("MAX_PORTIONS", "2 portions")])
    def test_refuses_another_product_or_its_portion(self, api, settings, bread, everything, setting, words):
        api.post("/v1/products", BREAD)
        setattr(settings, setting, 2)
        before = everything()

        response = api.post("/v1/products", BREAD)

        assert response.status_code == 507
        assert response.json() == {"detail": f"A device can have {words}. Deleted ones count until they are purged."}
        assert everything() == before

    def test_refuses_another_portion(self, api, settings, bread):
        settings.MAX_PORTIONS = 2
        portions = f"/v1/products/{bread['id']}/portions"

        assert api.post(portions, {"name": "Slice", "grams": 35}).status_code == 201
        assert api.post(portions, {"name": "Loaf", "grams": 700}).status_code == 507

    def test_refuses_another_portion_of_one_product(self, api, settings, bread):
        settings.MAX_PORTIONS_PER_PRODUCT = 3
        oats = api.post("/v1/products", BREAD).json()
        portions = f"/v1/products/{bread['id']}/portions"
        slice_id = api.post(portions, {"name": "Slice", "grams": 35}).json()["id"]
        assert api.post(portions, {"name": "Loaf", "grams": 700}).status_code == 201

        refused = api.post(portions, {"name": "Crumb", "grams": 1})
        api.delete(f"/v1/portions/{slice_id}")
        refused_again = api.post(portions, {"name": "Crumb", "grams": 1})

        assert (refused.status_code, refused_again.status_code) == (507, 507)
        assert refused.json()["detail"] == "A product can have 3 portions. Deleted ones count until they are purged."
        assert api.post(f"/v1/products/{oats['id']}/portions", {"name": "Cup", "grams": 90}).status_code == 201

    def test_refuses_another_entry_and_a_whole_batch_with_it(self, api, settings, bread, everything):
        settings.MAX_FOOD_ENTRIES = 2
        row = {"product_id": bread["id"], "grams": 50, "date": "2026-01-05"}
        assert api.post("/v1/food-entries", [row]).status_code == 201
        before = everything()

        assert api.post("/v1/food-entries", [row, row]).status_code == 507
        assert everything() == before
        assert api.post("/v1/food-entries", row).status_code == 201
        assert api.post("/v1/food-entries", row).status_code == 507

    def test_leaves_reads_retries_edits_and_deletions_alone(self, api, settings, bread):
        entry = log(api, bread).json()
        settings.MAX_PRODUCTS = settings.MAX_PORTIONS = settings.MAX_FOOD_ENTRIES = 0

        assert api.post("/v1/products", bread).status_code == 200
        assert api.patch(f"/v1/products/{bread['id']}", {"kcal_100g": 1}).status_code == 200
        assert api.patch(f"/v1/food-entries/{entry['id']}", {"grams": 1}).status_code == 200
        assert api.get("/v1/food-entries").status_code == 200
        assert api.delete(f"/v1/food-entries/{entry['id']}").status_code == 204
        assert api.delete(f"/v1/products/{bread['id']}").status_code == 204

    def test_counts_deleted_rows(self, api, settings, bread):
        settings.MAX_PRODUCTS = 1
        api.delete(f"/v1/products/{bread['id']}")

        assert api.post("/v1/products", BREAD).status_code == 507

    def test_is_each_devices_own(self, api, stranger, settings, bread):
        settings.MAX_PRODUCTS = 1

        assert stranger.post("/v1/products", BREAD).status_code == 201
        assert api.post("/v1/products", BREAD).status_code == 507

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_is_never_passed_by_requests_at_once(self, api, device, settings):
        settings.MAX_PRODUCTS = 5

        answers = sent_at_once(api, *[lambda client: client.post("/v1/products", BREAD)] * 12)

        assert statuses(answers) == {201: 5, 507: 7}
        assert counters(device) == counted(device) == {"products": 5, "portions": 5, "food_entries": 0}


class TestTheDailyBudget:
    @pytest.fixture(autouse=True)
    def _limits(self, settings):
        settings.NEW_ROWS_FIRST_DAY, settings.NEW_ROWS_PER_DAY = 6, 4

    def products_added(self, api) -> int:
        """Add products, of two rows each, until one is refused; return how many."""
        for number in range(10):
            response = api.post("/v1/products", BREAD)
            if response.status_code != 201:
                assert response.status_code == 429
                return number
        raise AssertionError("nothing was refused")

    def test_is_larger_on_the_first_day(self, api, device, registered_ago):
        assert self.products_added(api) == 3

        registered_ago(hours=23, minutes=59)
        assert self.products_added(api) == 0

        registered_ago(hours=24)
        assert self.products_added(api) == 2
        assert counters(device) == counted(device)

    def test_is_full_again_each_day(self, api, registered_ago):
        registered_ago(days=9, hours=1)
        assert self.products_added(api) == 2

        registered_ago(days=10, hours=1)
        assert self.products_added(api) == 2

    def test_says_when_the_next_day_begins(self, api, registered_ago):
        registered_ago(days=3, hours=23)
        self.products_added(api)

        response = api.post("/v1/products", BREAD)

        assert response.status_code == 429
        assert response.json()["detail"].startswith("A device can add 4 rows a day. Expected available in 3")
        assert 3590 <= int(response["Retry-After"]) <= 3600

    def test_is_full_by_a_part_of_what_is_sent(self, api, device, everything):
        assert self.products_added(api) == 3
        Device.objects.filter(pk=device.pk).update(new_rows=5)
        before = everything()

        assert api.post("/v1/products", BREAD).status_code == 429
        assert everything() == before

    def test_holds_while_the_clock_is_behind(self, api, device):
        Device.objects.filter(pk=device.pk).update(created_at=timezone.now() + timedelta(hours=1))

        assert self.products_added(api) == 3


class TestASupportMember:
    def test_sees_the_counters(self, api, device, support, bread):
        page = support.get(f"/admin/devices/device/{device.pk}/change/").content.decode()

        assert "<p>Products: 1 of 20,000</p><p>Portions: 1 of 40,000</p><p>Food entries: 0 of 250,000</p>" in page
        assert "<p>Rows added today: 2 of 100,000</p>" in page


class TestEveryModelThatADeviceOwns:
    def test_has_a_quota(self, settings):
        for model in owned_models():
            assert getattr(settings, model.quota_setting) > 0, model

    def test_is_refused_at_the_start_without_a_quota(self, settings, monkeypatch):
        monkeypatch.delattr(Product, "quota_setting")
        del settings.MAX_PORTIONS_PER_PRODUCT

        faults = [fault.msg for fault in run_checks() if fault.id == "countonme.E014"]

        assert faults == ["products.Product has no quota.", "products.Portion has no quota."]

    def test_is_counted_however_a_row_is_added(self, device):
        with change_set(device) as changes:
            for model in owned_models():
                model.new(device_id=device.pk).stamp()
                model.new(device_id=device.pk).stamp()

            assert changes.quota.row_counts == {model._meta.db_table: 2 for model in owned_models()}
            assert changes.quota.new_rows == 2 * len(owned_models())
