import pytest
from django.core.checks import run_checks

from devices.models import Device
from ownership.tests.counters import counted, counters
from products.models import Product

BREAD = {"name": "Rye bread", "kcal_100g": 259}


@pytest.fixture
def bread(api) -> dict:
    return api.post("/v1/products", BREAD).json()


class TestAQuota:
    @pytest.mark.parametrize(("setting", "words"), [("MAX_PRODUCTS", "2 products"), ("MAX_PORTIONS", "2 portions")])
    def test_refuses_another_product_or_its_portion(self, api, settings, bread, all_rows, setting, words):
        api.post("/v1/products", BREAD)
        setattr(settings, setting, 2)
        before = all_rows()

        response = api.post("/v1/products", BREAD)

        assert response.status_code == 507
        assert response.json() == {"detail": f"A device can have {words}. Deleted ones count until they are purged."}
        assert all_rows() == before

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

    def test_is_required_by_a_system_check(self, settings, monkeypatch):
        monkeypatch.delattr(Product, "quota_setting")
        del settings.MAX_PORTIONS_PER_PRODUCT

        faults = [fault.msg for fault in run_checks() if fault.id == "countonme.E014"]

        assert faults == ["products.Product has no quota.", "products.Portion has no quota."]


class TestTheDailyBudget:
    @pytest.fixture(autouse=True)
    def _limits(self, settings):
        settings.NEW_ROWS_FIRST_DAY = 6

    def test_is_used_by_a_product_and_its_portion(self, api, device):
        statuses = [api.post("/v1/products", BREAD).status_code for _ in range(4)]

        assert statuses == [201, 201, 201, 429]
        assert counters(device) == counted(device)

    def test_refuses_a_request_that_fits_only_partly(self, api, device, all_rows):
        for _ in range(3):
            assert api.post("/v1/products", BREAD).status_code == 201
        Device.objects.filter(pk=device.pk).update(new_rows=5)
        before = all_rows()

        assert api.post("/v1/products", BREAD).status_code == 429
        assert all_rows() == before
