import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog.models import CatalogFood, CatalogRelease
from catalog.tests import import_foods, make_food
from catalog.tests.test_search import HOSTILE

FOODS = "/admin/catalog/catalogfood/"
RELEASES = "/admin/catalog/catalogrelease/"
NUTELLA = "03017620422003"


@pytest.fixture
def foods(db):
    import_foods(
        make_food("Nutella", 1, source_id=NUTELLA, barcode=NUTELLA, brand="Ferrero", portions=[("1 spoon", 15.0)]),
        make_food("Bread with Nutella", 2, weight=5),
        make_food("Nutella roll", 3, weight=9),
        make_food("Milk", 4),
    )


def names(response) -> list[str]:
    assert response.status_code == 200
    return re.findall(r'<th class="field-name"><a href="[^"]*">(.*?)</a>', response.text)


class TestTheListOfFoods:
    def test_has_all(self, support, foods):
        assert names(support.get(FOODS)) == ["Nutella", "Bread with Nutella", "Nutella roll", "Milk"]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("nutel", ["Nutella roll", "Nutella", "Bread with Nutella"]),
            ("ferrero NUTELLA", ["Nutella"]),
            ("nutela", ["Nutella roll", "Nutella", "Bread with Nutella"]),
            ("3017620422003", ["Nutella"]),
            (str(make_food("Milk", 4).id), ["Milk"]),
            ("cheese", []),
            ("-", []),
        ],
    )
    def test_is_searched_as_the_app_does(self, support, foods, text, expected):
        assert names(support.get(FOODS, {"q": text})) == expected

    @pytest.mark.parametrize("text", [*HOSTILE, "x" * 10_000, "9" * 14, "0" * 36])
    def test_survives_every_search(self, support, foods, text):
        assert support.get(FOODS, {"q": text.encode(errors="replace").decode()}).status_code == 200

    def test_reads_one_page_of_foods_at_most(self, support, db):
        import_foods(*(make_food(f"Bread {number}", number) for number in range(150)))

        with CaptureQueriesContext(connection) as queries:
            page = support.get(FOODS, {"q": "bread"})

        assert len(names(page)) == 100
        assert "100 foods" in page.text
        counts = [query["sql"] for query in queries if "COUNT" in query["sql"] and "catalog_foods" in query["sql"]]
        assert counts
        assert all("LIMIT 1001" in sql for sql in counts)

    def test_names_what_is_withdrawn(self, support, foods):
        CatalogFood.objects.filter(name="Milk").update(tier=None)

        assert "withdrawn" in support.get(FOODS).text


class TestAFood:
    def test_is_shown_with_its_portions_and_source(self, support, foods):
        page = support.get(f"{FOODS}{CatalogFood.objects.get(brand='Ferrero').pk}/change/").text

        assert "1 spoon: 15.00 g" in page
        assert f'href="https://world.openfoodfacts.org/product/{NUTELLA}"' in page
        assert "ODbL-1.0" in page
        assert 'type="submit" name="_save"' not in page

    def test_can_not_be_changed_or_deleted(self, support, root, foods):
        food = CatalogFood.objects.first()

        for client in (support, root):
            for page in ("change", "delete"):
                assert client.post(f"{FOODS}{food.pk}/{page}/", {"name": "x", "post": "yes"}).status_code == 403
            assert client.get(f"{FOODS}add/").status_code == 403
        assert CatalogFood.objects.filter(name=food.name).exists()


class TestARelease:
    def test_is_listed_with_the_latest_first(self, support, foods):
        import_foods(make_food("Milk", 4))

        listed = support.get(RELEASES, {"q": "x"}).text

        latest, first = CatalogRelease.objects.order_by("-pk").values_list("pk", flat=True)
        assert re.findall(r"catalogrelease/(\d+)/change", listed) == [str(latest), str(first)]

    def test_has_counts_by_reason(self, support, foods):
        release = CatalogRelease.objects.get()
        release.refused = {"no_name": 3, "no_energy": 1234}
        release.save()

        page = support.get(f"{RELEASES}{release.pk}/change/").text

        reasons = ["1,234 because they have no energy", "3 because they have no name"]
        assert re.findall(r"<p>([\d,]+ because .*?)</p>", page) == reasons

    def test_can_not_be_changed(self, support, foods):
        assert support.post(f"{RELEASES}{CatalogRelease.objects.get().pk}/change/", {}).status_code == 403
