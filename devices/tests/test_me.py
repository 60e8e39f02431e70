from datetime import datetime
from uuid import uuid4

from devices.models import Device
from devices.owned import change_set, owned_models
from food_entries.tests.factories import FoodEntryFactory
from products.tests.factories import PortionFactory, ProductFactory

ME = "/v1/devices/me"
INVALID = {"detail": "Invalid or expired token"}


def rows_of(device_id) -> list:
    return [row for model in owned_models() for row in model.all_objects.for_device(device_id)]


class TestReadMe:
    def test_shows_the_device(self, api, device):
        response = api.get(ME)

        assert response.status_code == 200
        body = response.json()
        assert body.keys() == {"id", "created_at", "last_seen_at"}
        assert body["id"] == str(device.pk)
        for name in ("created_at", "last_seen_at"):
            assert body[name].endswith("Z")
            assert datetime.fromisoformat(body[name]) == getattr(device, name)

    def test_shows_each_device_itself(self, api, stranger):
        assert api.get(ME).json()["id"] != stranger.get(ME).json()["id"]

    def test_answers_401_without_a_token(self, anonymous):
        response = anonymous.get(ME)

        assert response.status_code == 401
        assert response.json() == {"detail": "Authentication credentials were not provided."}

    def test_costs_one_query(self, api, django_assert_num_queries):
        with django_assert_num_queries(1):  # the device, which the token names
            api.get(ME)


class TestDeleteMe:
    def test_answers_204_and_the_token_is_refused(self, api, device):
        response = api.delete(ME)

        assert response.status_code == 204
        assert response.content == b""
        device.refresh_from_db()
        assert device.deleted_at is not None
        for again in (api.get(ME), api.delete(ME), api.post("/v1/auth/rotate"), api.get("/v1/products")):
            assert again.status_code == 401
            assert again.json() == INVALID
            assert again["WWW-Authenticate"] == "Bearer"

    def test_buries_all_its_rows_under_one_revision(self, api, device):
        entry = FoodEntryFactory(device=device)
        PortionFactory(product=entry.product)
        ProductFactory(device=device)
        device.refresh_from_db()
        before = device.revision

        api.delete(ME)

        device.refresh_from_db()
        rows = rows_of(device)
        assert device.revision == before + 1
        assert {type(row) for row in rows} == set(owned_models())
        assert len(rows) == 6  # two products, their default portions, one more, the entry
        assert {row.revision for row in rows} == {device.revision}
        assert all(row.deleted_at and row.updated_at for row in rows)

    def test_leaves_what_was_deleted_before_as_it_was(self, api, device):
        product = ProductFactory(device=device)
        with change_set(device):
            product.soft_delete()
        product.refresh_from_db()
        before = (product.revision, product.deleted_at)

        api.delete(ME)

        product.refresh_from_db()
        assert (product.revision, product.deleted_at) == before

    def test_leaves_other_devices_alone(self, api, device, stranger):
        other = Device.objects.get(pk=stranger.token.partition(".")[0])
        FoodEntryFactory(device=other)
        ProductFactory(device=device)

        api.delete(ME)

        other.refresh_from_db()
        assert (other.deleted_at, other.revision) == (None, 3)
        assert [row.deleted_at for row in rows_of(other)] == [None] * 3
        assert len(stranger.get("/v1/food-entries").json()) == 1

    def test_keeps_its_id_taken(self, api, device, anonymous):
        api.delete(ME)

        response = anonymous.post("/v1/auth/register", {"device_id": device.pk})

        assert response.status_code == 409
        assert response.json() == {"detail": "Device already registered"}

    def test_keeps_the_ids_of_its_rows_taken(self, api, device, stranger):
        sent = {"id": str(uuid4()), "name": "Rye", "kcal_100g": 259}
        api.post("/v1/products", sent)
        api.delete(ME)

        response = stranger.post("/v1/products", sent)

        assert response.status_code == 409
        assert response.json() == {"detail": "This id is taken"}

    def test_has_a_rotated_token_refused_too(self, api, device):
        new = api.post("/v1/auth/rotate").json()["token"]
        api.delete(ME)

        api.use(new)

        assert api.get(ME).status_code == 401
        assert api.get(ME).json() == INVALID

    def test_works_with_nothing_to_bury(self, api, device):
        api.delete(ME)

        device.refresh_from_db()
        assert (device.revision, rows_of(device)) == (2, [])

    def test_answers_401_without_a_token(self, anonymous, device):
        response = anonymous.delete(ME)

        assert response.status_code == 401
        assert response.json() == {"detail": "Authentication credentials were not provided."}
        device.refresh_from_db()
        assert device.deleted_at is None

    def test_costs_the_same_queries_however_many_rows(self, django_assert_num_queries, api, stranger):
        for client, count in ((api, 1), (stranger, 5)):
            device = Device.objects.get(pk=client.token.partition(".")[0])
            for _ in range(count):
                FoodEntryFactory(device=device)
            client.get(ME)

            # the device; savepoint; its revision; products, portions, entries; the device; savepoint
            with django_assert_num_queries(8):
                assert client.delete(ME).status_code == 204
