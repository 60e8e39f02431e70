"""Requests for rows of another device, deleted rows and missing rows get identical responses."""

from uuid import uuid4

import pytest

from products.models import Portion, Product
from products.tests.factories import PortionFactory, ProductFactory

PRODUCT = {"name": "Rye", "kcal_100g": 250}
PORTION = {"name": "Slice", "grams": 40}

LIST_REQUESTS = [("GET", "/v1/products", None), ("POST", "/v1/products", PRODUCT)]
PRODUCT_REQUESTS = [
    ("GET", "/v1/products/{id}", None),
    ("PUT", "/v1/products/{id}", PRODUCT),
    ("PATCH", "/v1/products/{id}", {"name": "Other"}),
    ("PATCH", "/v1/products/{id}", {"name": ""}),
    ("DELETE", "/v1/products/{id}", None),
    ("GET", "/v1/products/{id}/portions", None),
    ("GET", "/v1/products/{id}/portions?limit=1", None),
    ("POST", "/v1/products/{id}/portions", PORTION),
    ("POST", "/v1/products/{id}/portions", {"name": ""}),
]
PORTION_REQUESTS = [
    ("GET", "/v1/portions/{id}", None),
    ("PUT", "/v1/portions/{id}", PORTION),
    ("PATCH", "/v1/portions/{id}", {"is_default": True}),
    ("PATCH", "/v1/portions/{id}", {"is_default": False}),
    ("PATCH", "/v1/portions/{id}", {"grams": 0}),
    ("DELETE", "/v1/portions/{id}", None),
]
RESTORES = [("POST", "/v1/products/{id}/restore", None), ("POST", "/v1/portions/{id}/restore", None)]
INVALID_UUIDS = ("rye", "7", "7f1c2f6e61a54a6a9d550a3f0c5f8e10", "%00", "é", "null")


def calls(rows):
    return pytest.mark.parametrize(
        ("method", "path", "body"), rows, ids=[f"{method} {path} {body or ''}".strip() for method, path, body in rows]
    )


def call(client, method: str, path: str, body: dict | None):
    return getattr(client, method.lower())(path, body) if body is not None else client.generic(method, path)


def without_request_id(response) -> tuple:
    """Return everything of a response except its request id."""
    headers = {name: value for name, value in response.headers.items() if name != "X-Request-ID"}
    return response.status_code, tuple(sorted(headers.items())), response.content


class TestARowThatIsNotTheCallers:
    @calls(PRODUCT_REQUESTS)
    def test_looks_like_a_product_that_does_not_exist(self, api, device, other_device, all_rows, method, path, body):
        theirs, gone = ProductFactory(device=other_device), ProductFactory(device=device)
        api.delete(f"/v1/products/{gone.pk}")
        before = all_rows()

        responses = {
            without_request_id(call(api, method, path.format(id=row_id), body))
            for row_id in (theirs.pk, gone.pk, uuid4(), *INVALID_UUIDS)
        }

        ((status, _, content),) = responses
        assert (status, content) == (404, b'{"detail":"Product not found"}')
        assert all_rows() == before

    @calls(PORTION_REQUESTS)
    def test_looks_like_a_portion_that_does_not_exist(self, api, device, other_device, all_rows, method, path, body):
        theirs, gone = PortionFactory(product=ProductFactory(device=other_device)), ProductFactory(device=device)
        gone_with_its_product = PortionFactory(product=gone)
        gone_alone = PortionFactory(product=ProductFactory(device=device))
        api.delete(f"/v1/products/{gone.pk}")
        api.delete(f"/v1/portions/{gone_alone.pk}")
        before = all_rows()

        responses = {
            without_request_id(call(api, method, path.format(id=row_id), body))
            for row_id in (theirs.pk, gone_with_its_product.pk, gone_alone.pk, uuid4(), *INVALID_UUIDS)
        }

        ((status, _, content),) = responses
        assert (status, content) == (404, b'{"detail":"Portion not found"}')
        assert all_rows() == before

    @pytest.mark.parametrize(("factory", "name"), [(ProductFactory, b"Product"), (PortionFactory, b"Portion")])
    def test_can_not_be_restored(self, api, device, other_device, other_api, all_rows, factory, name):
        path = f"/v1/{factory._meta.model._meta.db_table}/{{}}"
        theirs = [factory(device=other_device) for _ in range(2)]
        assert other_api.delete(path.format(theirs[0].pk)).status_code == 204
        before = all_rows()

        unknown = without_request_id(api.get(path.format(uuid4())))
        responses = {
            without_request_id(api.post(path.format(row_id) + "/restore"))
            for row_id in (*(row.pk for row in theirs), uuid4(), *INVALID_UUIDS)
        }

        assert responses == {unknown}
        assert unknown[0::2] == (404, b'{"detail":"%s not found"}' % name)
        assert all_rows() == before

    def test_can_not_be_restored_after_a_purge(self, api, device):
        product = ProductFactory(device=device)
        api.delete(f"/v1/products/{product.pk}")
        portion = Portion.all_objects.for_device(device).get()
        for model in (Portion, Product):
            model.all_objects.for_device(device).purge()

        for kind, row in (("products", product), ("portions", portion)):
            restored, unknown = api.post(f"/v1/{kind}/{row.pk}/restore"), api.post(f"/v1/{kind}/{uuid4()}/restore")
            assert restored.status_code == 404
            assert without_request_id(restored) == without_request_id(unknown)


class TestARequestWithoutAToken:
    @calls(LIST_REQUESTS + PRODUCT_REQUESTS + PORTION_REQUESTS + RESTORES)
    def test_is_refused(self, anonymous, device, all_rows, method, path, body):
        product = ProductFactory(device=device)
        row = product.portions.get() if "/portions/{id}" in path else product
        before = all_rows()

        response = call(anonymous, method, path.format(id=row.pk), body)

        assert response.status_code == 401
        assert response.content == b'{"detail":"Authentication credentials were not provided."}'
        assert response["WWW-Authenticate"] == "Bearer"
        assert all_rows() == before
