import re
from itertools import chain
from urllib.parse import parse_qs, urlsplit

import pytest

from ownership.models import change_set
from products.tests.factories import ProductFactory
from tests.harness.bounds import error_above, error_below
from tests.harness.errors import validation_error_body

NEXT = re.compile(r'<(http://testserver/\S+)>; rel="next"')


def make(device, count: int, **values) -> list[str]:
    """Store `count` products, and return their ids in the order of the list."""
    with change_set(device):
        products = [ProductFactory(device=device, **values) for _ in range(count)]
    return [str(product.pk) for product in sorted(products, key=lambda product: (product.name_key, product.pk))]


def pages(client, path: str) -> list[list[str]]:
    """Return the ids on each page. Follow the links from `path` on."""
    found = []
    while path:
        response = client.get(path)
        assert response.status_code == 200
        found.append([row["id"] for row in response.json()])
        path = NEXT.fullmatch(response["Link"])[1].removeprefix("http://testserver") if "Link" in response else None
    return found


class TestAList:
    def test_is_a_bare_array(self, api):
        response = api.get("/v1/products")

        assert response.status_code == 200
        assert response.json() == []
        assert "Link" not in response

    def test_has_pages_of_50_by_default(self, api, device):
        ids = make(device, 101)

        assert pages(api, "/v1/products") == [ids[:50], ids[50:100], ids[100:]]

    @pytest.mark.parametrize(
        ("limit", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (4, [4, 1]), (5, [5]), (6, [5]), (200, [5])]
    )
    def test_can_be_read_by_following_the_links(self, api, device, limit, sizes):
        ids = make(device, 5)

        found = pages(api, f"/v1/products?limit={limit}")

        assert [len(page) for page in found] == sizes
        assert list(chain(*found)) == ids

    def test_repeats_and_skips_nothing_if_names_are_equal(self, api, device):
        ids = make(device, 7, name="Rye")

        assert list(chain(*pages(api, "/v1/products?limit=2"))) == ids == sorted(ids)

    def test_may_have_200_rows_per_page(self, api, device):
        ids = make(device, 201)

        assert pages(api, "/v1/products?limit=200") == [ids[:200], ids[200:]]

    def test_skips_offset_rows(self, api, device):
        ids = make(device, 5)

        assert pages(api, "/v1/products?limit=2&offset=1") == [ids[1:3], ids[3:]]
        assert pages(api, "/v1/products?offset=4") == [ids[4:]]
        assert pages(api, "/v1/products?offset=5") == [[]]
        assert pages(api, "/v1/products?offset=1000000") == [[]]

    def test_links_to_the_next_page_with_the_rest_of_its_query(self, api, device):
        make(device, 3, name="Crème brûlée & co")
        make(device, 1, name="Rye")

        response = api.get("/v1/products?search=br%C3%BBl%C3%A9e+%26&limit=2")

        address = NEXT.fullmatch(response["Link"])[1]
        assert urlsplit(address).path == "/v1/products"
        assert parse_qs(urlsplit(address).query) == {"search": ["brûlée &"], "limit": ["2"], "offset": ["2"]}
        assert len(api.get(address).json()) == 1

    def test_shows_another_device_nothing(self, other_api, device):
        make(device, 3)

        assert pages(other_api, "/v1/products?limit=1") == [[]]

    @pytest.mark.parametrize(
        ("name", "value", "code"),
        [
            ("limit", "0", "min_value"),
            ("limit", "-1", "min_value"),
            ("limit", "201", "max_value"),
            ("limit", "1" + "0" * 30, "max_value"),
            ("limit", "9" * 5000, "max_string_length"),
            ("limit", "x", "invalid"),
            ("limit", "", "invalid"),
            ("limit", "1_0", "invalid"),
            ("limit", "５", "invalid"),
            ("limit", " 5 ", "invalid"),
            ("limit", "5.0", "invalid"),
            ("limit", "1.5", "invalid"),
            ("limit", "1e400", "invalid"),
            ("limit", "NaN", "invalid"),
            ("limit", "null", "invalid"),
            ("offset", "-1", "min_value"),
            ("offset", "1000001", "max_value"),
            ("offset", "1" + "0" * 30, "max_value"),
            ("offset", "9" * 5000, "max_string_length"),
            ("offset", "x", "invalid"),
            ("offset", "%00", "invalid"),
        ],
        ids=lambda value: value[:10],
    )
    @pytest.mark.parametrize("path", ["/v1/products", "/v1/food-entries"])
    def test_gets_422_if_the_page_is_out_of_bounds(self, api, path, name, value, code):
        response = api.get(f"{path}?{name}={value}")

        assert response.status_code == 422
        assert response.json()["detail"] == "Validation error"
        (error,) = response.json()["errors"]
        assert error.keys() == {"loc", "field", "msg", "type"}
        assert (error["loc"], error["type"]) == ([name], code)

    def test_names_all_errors_at_once(self, api):
        response = api.get("/v1/products?limit=201&offset=-1")

        assert response.status_code == 422
        assert response.json() == validation_error_body(("limit", *error_above(200)), ("offset", *error_below(0)))
