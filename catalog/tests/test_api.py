import uuid

import pytest

from catalog import etags, importing
from catalog.models import CatalogFood
from catalog.tests import SR28, ignore, import_foods, make_food, output_of
from catalog.tests.test_search import HOSTILE

URL = "/v1/catalog/foods"
NUTELLA = "3017620422003"


def nutella(**values):
    fields = {"source_id": NUTELLA, "barcode": f"0{NUTELLA}", "brand": "Ferrero", "lang": "fr", "kcal_100g": 539}
    return make_food("Nutella", **fields | values)


def names(response) -> list[str]:
    assert response.status_code == 200
    return [food["name"] for food in response.json()]


def errors(response) -> list[tuple]:
    assert response.status_code == 422
    return [(error["field"], error["type"]) for error in response.json()["errors"]]


@pytest.fixture
def bread(db):
    """70 foods, a few more than a page has."""
    import_foods(*(make_food(f"Bread {number}", number, weight=-number) for number in range(70)))


class TestTheSearch:
    def test_returns_foods_as_documented(self, api):
        nutrients = {"protein_100g": 6.3, "salt_100g": 0.11}
        import_foods(nutella(nutrients=nutrients, portions=[("1 spoon", 15.0), ("2 spoons", 30.5)]))

        (food,) = api.get(URL, {"search": "nutel"}).json()

        assert uuid.UUID(food.pop("id")) == nutella().id
        assert food.pop("updated_at").endswith("Z")
        assert food == {
            "name": "Nutella",
            "brand": "Ferrero",
            "lang": "fr",
            "barcode": "03017620422003",
            "unit": "g",
            "kcal_100g": 539,
            "protein_100g": 6.3,
            "carbs_100g": None,
            "fat_100g": None,
            "sugars_100g": None,
            "saturated_fat_100g": None,
            "fiber_100g": None,
            "salt_100g": 0.11,
            "portions": [
                {"name": "1 spoon", "grams": 15.0, "is_default": True},
                {"name": "2 spoons", "grams": 30.5, "is_default": False},
            ],
            "source": "off",
            "source_id": NUTELLA,
            "source_url": f"https://world.openfoodfacts.org/product/{NUTELLA}",
            "license": "ODbL-1.0",
            "attribution": "Contains information from Open Food Facts, made available under the Open Database License"
            " (ODbL).",
            "withdrawn": False,
        }

    def test_finds_foods_of_the_usda(self, api):
        output_of("import_usda", SR28)

        foods = api.get(URL, {"search": "yoghurt greek", "lang": "en"}).json()

        assert "Greek" in foods[0]["name"]
        assert (foods[0]["source"], foods[0]["license"]) == ("usda", "CC0-1.0")
        assert len(foods) > 5

    def test_has_pages(self, api, bread):
        first = api.get(URL, {"search": "bread", "limit": 50})
        second = api.get(first["Link"].removeprefix("<").partition(">")[0])

        assert names(first) == [f"Bread {number}" for number in range(50)]
        assert names(second) == [f"Bread {number}" for number in range(50, 70)]
        assert "Link" not in second
        assert len(names(api.get(URL, {"search": "bread"}))) == 20

    def test_has_at_most_250_foods(self, api):
        import_foods(*(make_food(f"Bread {number}", number) for number in range(260)))

        last = api.get(URL, {"search": "bread", "limit": 50, "offset": 200})

        assert len(names(last)) == 50
        assert "Link" not in last

    def test_prefers_the_language(self, api):
        import_foods(make_food("Brot A", 1, lang="en", weight=1), make_food("Brot B", 2, lang="de"))

        assert names(api.get(URL, {"search": "brot", "lang": "de"})) == ["Brot B", "Brot A"]

    def test_has_no_withdrawn_food(self, api, bread):
        CatalogFood.objects.exclude(name="Bread 3").update(tier=None)

        assert names(api.get(URL, {"search": "bread"})) == ["Bread 3"]

    @pytest.mark.parametrize("number", [1, 5, 50])
    def test_takes_as_many_queries_for_any_number_of_foods(self, api, bread, django_assert_num_queries, number):
        etags.state.get()

        # The device, generic and popular foods, and then the foods and their portions.
        with django_assert_num_queries(1 + 3 + 2):
            assert len(names(api.get(URL, {"search": "bread", "limit": number}))) == number

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({}, [("search", "required")]),
            ({"lang": "de"}, [("search", "required")]),
            ({"search": ""}, [("search", "blank")]),
            ({"search": "  "}, [("search", "blank")]),
            ({"search": "x" * 101}, [("search", "max_length")]),
            ({"search": "a\0b"}, [("search", "null_characters_not_allowed")]),
            ({"search": "x", "limit": 51}, [("limit", "max_value")]),
            ({"search": "x", "limit": 0}, [("limit", "min_value")]),
            ({"search": "x", "offset": 201}, [("offset", "max_value")]),
            ({"search": "x", "offset": "-1"}, [("offset", "min_value")]),
            ({"search": "x", "lang": "German"}, [("lang", "invalid")]),
            ({"search": "x", "lang": "de\n"}, []),
            ({"barcode": "3017620422004"}, [("barcode", "check_digit")]),
            ({"barcode": "30176"}, [("barcode", "invalid")]),
            ({"barcode": ""}, [("barcode", "blank")]),
        ],
    )
    def test_refuses_invalid_queries(self, api, query, expected):
        response = api.get(URL, query)

        assert (errors(response) if expected else names(response)) == expected

    @pytest.mark.parametrize("text", HOSTILE)
    def test_survives_every_text(self, api, bread, text):
        response = api.get(URL, {"search": text.encode(errors="surrogatepass")})

        assert response.status_code in (200, 422)

    def test_requires_a_token(self, anonymous, bread):
        assert anonymous.get(URL, {"search": "bread"}).status_code == 401


class TestABarcode:
    @pytest.mark.parametrize("barcode", ["042100005264", "0042100005264", "00042100005264", "04252614"])
    def test_is_found_in_every_spelling(self, api, barcode):
        import_foods(make_food("Cat", 1), make_food("Dog", 2, barcode="00042100005264"))

        assert names(api.get(URL, {"barcode": barcode})) == ["Dog"]

    def test_is_not_found_if_there_is_none(self, api, bread):
        assert names(api.get(URL, {"barcode": NUTELLA})) == []
        assert names(api.get(URL, {"barcode": "00000000"})) == []

    def test_is_not_found_if_its_food_is_withdrawn(self, api):
        import_foods(nutella())
        CatalogFood.objects.update(tier=None)

        assert names(api.get(URL, {"barcode": NUTELLA})) == []

    def test_wins_over_a_search(self, api, bread):
        import_foods(nutella())

        for search in ("bread", ""):
            assert names(api.get(URL, {"barcode": NUTELLA, "search": search})) == ["Nutella"]


class TestAFood:
    def test_is_read_by_its_id(self, api):
        import_foods(nutella())

        response = api.get(f"{URL}/{nutella().id}")

        assert response.json() == api.get(URL, {"barcode": NUTELLA}).json()[0]

    def test_is_read_after_it_was_withdrawn(self, api):
        import_foods(nutella())
        CatalogFood.objects.update(tier=None)

        food = api.get(f"{URL}/{nutella().id}").json()

        assert (food["name"], food["withdrawn"]) == ("Nutella", True)

    @pytest.mark.parametrize("food_id", [uuid.UUID(int=1), "0b7e5b3a-57a5-5d0e-9d0b-6a1f8d8f3c11", "0", "%00"])
    def test_is_not_found_if_there_is_none(self, api, bread, food_id):
        response = api.get(f"{URL}/{food_id}")

        assert (response.status_code, response.json()) == (404, {"detail": "Food not found"})

    def test_requires_a_token(self, anonymous):
        assert anonymous.get(f"{URL}/{uuid.UUID(int=1)}").status_code == 401


class TestTheSources:
    def test_have_finished_imports_only(self, api, monkeypatch):
        import_foods(nutella())
        importing.run("usda", "sr28", [make_food("Egg", source="usda", barcode=None, source_id="1")], ignore)
        monkeypatch.setattr(importing, "count_spellings", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            import_foods(nutella(source_modified=1), make_food("Bread", 7))

        usda, off = api.get("/v1/catalog/sources").json()

        assert (usda["source"], usda["license"], usda["foods"]) == ("usda", "CC0-1.0", 1)
        assert (off["source"], off["license"], off["foods"]) == ("off", "ODbL-1.0", 1)
        assert off["url"] == "https://world.openfoodfacts.org"
        assert off["release"] < usda["release"]
        assert off["imported_at"].endswith("Z")

    def test_are_none_before_the_first_import(self, api):
        assert api.get("/v1/catalog/sources").json() == []

    def test_require_a_token(self, anonymous):
        assert anonymous.get("/v1/catalog/sources").status_code == 401


PATHS = [f"{URL}?search=nutella", f"{URL}?barcode={NUTELLA}", f"{URL}/{nutella().id}", "/v1/catalog/sources"]


class TestAnETag:
    @pytest.mark.parametrize("path", PATHS)
    def test_gets_a_304_for_the_token_check_only(self, api, path, django_assert_num_queries):
        import_foods(nutella())
        response = api.get(path)

        with django_assert_num_queries(1):
            again = api.get(path, HTTP_IF_NONE_MATCH=response["ETag"])

        assert (again.status_code, again.content) == (304, b"")
        for header in ("ETag", "Cache-Control", "Vary"):
            assert again[header] == response[header]
        assert response["Cache-Control"] == "private, max-age=3600"
        assert response["Vary"].startswith("Authorization, Accept-Encoding")

    @pytest.mark.parametrize("path", PATHS)
    def test_is_the_same_for_all_devices_until_the_next_import(self, api, other_api, path, monkeypatch):
        monkeypatch.setattr(etags, "REMEMBERED_FOR", -1)
        import_foods(nutella())
        before = api.get(path)
        same = other_api.get(path, HTTP_IF_NONE_MATCH=before["ETag"])
        import_foods(nutella(source_modified=1, kcal_100g=540))
        after = api.get(path, HTTP_IF_NONE_MATCH=before["ETag"])

        assert same.status_code == 304
        assert after.status_code == 200
        assert after["ETag"] != before["ETag"]

    def test_changes_with_each_batch_of_an_import(self, db, monkeypatch):
        monkeypatch.setattr(etags, "REMEMBERED_FOR", -1)
        monkeypatch.setattr(importing, "BATCH", 2)
        states = []

        importing.run(
            "off", "x", [make_food("x", number) for number in range(6)], lambda _: states.append(etags.state.get())
        )

        assert len(set(states)) == 3

    def test_is_remembered_for_seconds(self, db, django_assert_num_queries):
        with django_assert_num_queries(1):
            assert etags.state.get() == etags.state.get()

    def test_belongs_to_its_url(self, api):
        import_foods(nutella())
        tags = {api.get(path)["ETag"] for path in [*PATHS, f"{URL}?search=nutella&limit=5"]}

        assert len(tags) == 5

    def test_is_worth_nothing_without_a_token(self, api, anonymous):
        etag = api.get("/v1/catalog/sources")["ETag"]

        assert anonymous.get("/v1/catalog/sources", HTTP_IF_NONE_MATCH=etag).status_code == 401
        wrong = {"HTTP_AUTHORIZATION": "Bearer x", "HTTP_IF_NONE_MATCH": etag}
        assert anonymous.get("/v1/catalog/sources", **wrong).status_code == 401

    def test_is_not_in_an_error(self, api):
        response = api.get(f"{URL}/{uuid.UUID(int=1)}")

        assert "ETag" not in response
        assert response["Cache-Control"] == "no-store"

    def test_that_is_old_costs_one_check_of_the_token(self, api, django_assert_num_queries):
        etags.state.get()

        with django_assert_num_queries(1 + 2):  # the device, and the releases of two sources
            assert api.get("/v1/catalog/sources", HTTP_IF_NONE_MATCH='W/"old"').status_code == 200
