from collections import Counter
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from zipfile import ZipFile

import pytest
from django.core.management import CommandError

from catalog.data.make_sr28 import make
from catalog.food import Food, Refused
from catalog.models import CatalogFood, CatalogRelease
from catalog.sources import usda
from catalog.tests import DATA, SR28, output_of


@lru_cache(maxsize=2)
def read(path: Path) -> list[Food | Refused]:
    return list(usda.read(usda.Files(path)))


def reasons(path: Path) -> Counter:
    return Counter(row.reason for row in read(path) if isinstance(row, Refused))


def foods(path: Path) -> dict[str, Food]:
    return {row.source_id: row for row in read(path) if isinstance(row, Food)}


BUTTER = "~01001~^~0100~^~Butter, salted~^~~^~~^~~^~Y~\n"


def write_sr28(folder: Path, *, foods: str, nutrients: str, portions: str = "") -> Path:
    for name, text in (("FOOD_DES", foods), ("NUT_DATA", nutrients), ("WEIGHT", portions)):
        (folder / f"{name}.txt").write_text(text, encoding="latin-1")
    return folder


class TestSR28:
    def test_is_accepted_as_a_whole(self):
        """The USDA's documentation counts 8,789 foods. Its table says that all have energy and the macronutrients."""
        found = foods(SR28)

        assert len(found) == 8789
        assert not reasons(SR28)

    def test_has_the_values_of_the_files(self):
        """Read in the files with grep: `grep '~01123~' FOOD_DES.txt NUT_DATA.txt WEIGHT.txt`."""
        egg = foods(SR28)["01123"]

        assert (egg.name, egg.brand, egg.kcal_100g, egg.unit, egg.lang) == (
            "Egg, whole, raw, fresh",
            None,
            143,
            "g",
            "en",
        )
        assert egg.nutrients == {
            "protein_100g": 12.56,
            "carbs_100g": 0.72,
            "fat_100g": 9.51,
            "sugars_100g": 0.37,
            "saturated_fat_100g": 3.13,
            "fiber_100g": 0,
            "salt_100g": 0.36,  # 142 mg of sodium
        }
        assert ("large", 50) in egg.portions
        assert ("cup (4.86 large eggs)", 243) in egg.portions

    def test_puts_the_amount_into_the_name_of_a_portion(self):
        assert ("3 oz", 85) in foods(SR28)["13356"].portions

    def test_is_ranked_by_brand_and_group(self):
        found = foods(SR28)

        assert found["01123"].tier == 0
        assert found["21350"].tier == 1  # McDONALD'S, BIG MAC
        assert found["03115"].tier == 1  # baby food

    def test_begins_with_the_food_and_not_with_its_kind(self):
        found = foods(SR28)

        assert found["14209"].first == "coffee"
        assert "beverage" in found["14209"].words

    def test_is_small_in_the_repository(self, tmp_path):
        """The archive is what the script makes, so it can be made again from the USDA's files."""
        make(usda.Files(SR28), tmp_path / "again.zip")

        assert SR28.stat().st_size < 1_000_000
        assert (tmp_path / "again.zip").read_bytes() == SR28.read_bytes()


class TestFoundationFoods:
    def test_are_refused_without_energy(self):
        """Counted with SQL in the CSV files: 316 foods. 97 have nutrient 1008, 190 more have 2048 or 2047, 29 none."""
        assert len(foods(DATA / "foundation.zip")) == 97 + 190
        assert reasons(DATA / "foundation.zip") == {"no_energy": 29}

    def test_have_the_values_of_the_files(self):
        hummus = foods(DATA / "foundation.zip")["16158"]

        assert (hummus.name, hummus.kcal_100g) == ("Hummus, commercial", 229)
        assert hummus.nutrients["protein_100g"] == 7.35
        assert hummus.portions == [("2 tablespoon", 33.9)]

    def test_are_refused_without_a_number(self, tmp_path):
        with ZipFile(DATA / "foundation.zip") as archive:
            archive.extractall(tmp_path)
        (path,) = tmp_path.rglob("foundation_food.csv")
        path.write_text(path.read_text().replace('"16158"', '""'))

        assert reasons(tmp_path) == {"no_energy": 29, "unreadable": 1}

    def test_replace_foods_of_sr28(self, db, tmp_path):
        write_sr28(tmp_path, foods="~16158~^~1600~^~Hummus~^~~^~~^~~^~Y~\n", nutrients="~16158~^~208~^166^1\n")
        output_of("import_usda", tmp_path)
        output_of("import_usda", DATA / "foundation.zip")
        output_of("import_usda", tmp_path)

        hummus = CatalogFood.objects.get(source_id="16158")
        assert (hummus.name, hummus.kcal_100g, hummus.protein_100g) == ("Hummus, commercial", 229, Decimal("7.35"))


class TestImportUsda:
    def test_stores_foods_and_counts(self, db, tmp_path):
        folder = write_sr28(
            tmp_path,
            foods="~01001~^~0100~^~Butter, salted~^~~^~~^~~^~Y~\n~01002~^~0100~^~Nothing~^~~^~~^~~^~~\nbroken\n",
            nutrients="~01001~^~208~^717^0\n~01001~^~307~^643^0\n~01002~^~203~^1^0\n",
            portions="~01001~^1^1^~cup~^227\n~01001~^2^3^~tbsp~^42.6\n",
        )

        output = output_of("import_usda", folder)

        (butter,) = CatalogFood.objects.all()
        assert (butter.name, butter.kcal_100g, butter.salt_100g, butter.fat_100g) == (
            "Butter, salted",
            717,
            Decimal("1.61"),
            None,
        )
        assert list(butter.portions.order_by("position").values_list("name", "grams")) == [
            ("cup", 227),
            ("3 tbsp", Decimal("42.6")),
        ]
        release = CatalogRelease.objects.get()
        assert (release.read, release.changed, release.foods, release.refused) == (2, 1, 1, {"no_energy": 1})
        assert release.finished_at is not None
        assert "Read 2 rows and accepted 1." in output
        assert "(no_energy)" in output

    def test_imports_once(self, db, tmp_path):
        folder = write_sr28(tmp_path, foods=BUTTER, nutrients="~01001~^~208~^717^0\n")

        first = output_of("import_usda", folder, once=True)
        second = output_of("import_usda", folder, once=True)

        assert "This is done once" in first
        assert "New or changed: 1." in first
        assert second == ""
        assert CatalogRelease.objects.count() == 1

    def test_imports_again_after_an_import_that_was_stopped(self, db, tmp_path):
        folder = write_sr28(tmp_path, foods=BUTTER, nutrients="~01001~^~208~^717^0\n")
        output_of("import_usda", folder)
        CatalogRelease.objects.update(finished_at=None)

        assert "New or changed: 0." in output_of("import_usda", folder, once=True)
        assert output_of("import_usda", folder, once=True) == ""

    def test_imports_the_files_in_the_repository_by_default(self, db):
        output = output_of("import_usda", dry_run=True)

        assert "Read 8,789 rows and accepted 8,789." in output

    @pytest.mark.parametrize("missing", ["FOOD_DES.txt", "NUT_DATA.txt"])
    def test_names_a_missing_file(self, db, tmp_path, missing):
        write_sr28(tmp_path, foods="~01001~^~0100~^~Butter~^~~^~~^~~^~Y~\n", nutrients="")
        (tmp_path / missing).unlink()

        with pytest.raises(CommandError, match=missing):
            output_of("import_usda", tmp_path)

    @pytest.mark.parametrize("content", ["x,y\n1,2\n", f"fdc_id,NDB_number\n1,{'9' * 200_000}\n"])
    def test_refuses_a_broken_csv(self, db, tmp_path, content):
        (tmp_path / "foundation_food.csv").write_text(content)

        with pytest.raises(CommandError, match=r"column|field"):
            output_of("import_usda", tmp_path)

    def test_refuses_an_encrypted_archive(self, db, tmp_path):
        path = tmp_path / "sr28.zip"
        with ZipFile(path, "w") as archive:
            archive.writestr("foundation_food.csv", "")
        content = bytearray(path.read_bytes())
        for flags in (6, content.index(b"PK\x01\x02") + 8):  # of the file, and of its entry in the list of files
            content[flags] |= 1
        path.write_bytes(content)

        with pytest.raises(CommandError, match="encrypted"):
            output_of("import_usda", path)

    @pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 broken"])
    def test_refuses_what_is_no_folder_and_no_archive(self, db, tmp_path, content):
        path = tmp_path / "sr28.zip"
        if content is not None:
            path.write_bytes(content)

        with pytest.raises(CommandError):
            output_of("import_usda", path)
