"""Reads of a product that is deleted between the query for products and the query for their portions."""

import pytest
from django.db import connection

from products.tests.factories import ProductFactory
from tests.harness.client import DeviceClient


@pytest.fixture
def delete_before_portions(api):
    """Return a function that makes a context manager: inside, the product is deleted just before portions are read."""

    def hook(product):
        deletions = iter([f"/v1/products/{product.pk}"])

        def before(execute, sql, *args):
            if 'FROM "portions"' in sql and (path := next(deletions, None)):
                assert DeviceClient(api.token).delete(path).status_code == 204
            return execute(sql, *args)

        return connection.execute_wrapper(before)

    return hook


class TestAProductThatIsDeletedWhileItIsRead:
    def test_is_not_in_the_list(self, api, device, delete_before_portions):
        gone, kept = ProductFactory(device=device), ProductFactory(device=device)

        with delete_before_portions(gone):
            response = api.get("/v1/products")

        assert response.status_code == 200
        assert [row["id"] for row in response.json()] == [str(kept.pk)]

    @pytest.mark.parametrize("read", ["", "/portions"])
    def test_is_not_found(self, api, device, delete_before_portions, read):
        gone = ProductFactory(device=device)

        with delete_before_portions(gone):
            response = api.get(f"/v1/products/{gone.pk}{read}")

        assert (response.status_code, response.json()) == (404, {"detail": "Product not found"})
        assert "ETag" not in response
