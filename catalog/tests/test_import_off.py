import gzip
import io
import json
import os
import sys
import zlib
from collections import Counter
from decimal import Decimal
from io import BytesIO, StringIO
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import orjson
import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from catalog import importing
from catalog.food import Food, Refused
from catalog.importing import ImportFailed, SeenIds, locked_file
from catalog.management.import_command import REASONS, Progress
from catalog.models import CatalogFood, CatalogPortion, CatalogRelease, CatalogSpelling
from catalog.sources import off
from catalog.tests import DATA, import_foods, make_food, output_of

MIB = 1024 * 1024
CODES = ["4006381333931", "4000539770708", "3017620422003", "5449000000996", "7622210449283"]


def read(content: bytes, **options) -> list[Food | Refused]:
    return list(off.read(io.BufferedReader(BytesIO(content)), **options))


def reasons(content: bytes, **options) -> Counter:
    return Counter(row.reason if isinstance(row, Refused) else "accepted" for row in read(content, **options))


def document(code: str = CODES[0], **fields) -> dict:
    nutriments = {"energy-kcal_100g": 250, "proteins_100g": 8.5} | fields.pop("nutriments", {})
    defaults = {"code": code, "lang": "de", "product_name": "Roggenbrot", "last_modified_t": 1_700_000_000}
    return defaults | {"nutriments": nutriments} | fields


def jsonl(*documents: dict) -> bytes:
    return b"".join(orjson.dumps(each) + b"\n" for each in documents)


@pytest.fixture
def dump(tmp_path):
    """Return a function that writes a dump of documents, and returns its path."""

    def write(*documents: dict) -> Path:
        path = tmp_path / "dump.jsonl"
        path.write_bytes(jsonl(*documents))
        return path

    return write


class TestTheJSONL:
    def test_is_counted_by_reason(self):
        """Counted with jq: catalog/tests/data/README.md."""
        assert reasons((DATA / "off.jsonl.gz").read_bytes()) == {
            "accepted": 74,
            "no_energy": 8,
            "kcal_out_of_bounds": 8,
            "nutrient_out_of_bounds": 7,
            "more_energy_in_macros": 2,
            "too_many_macros": 1,
        }

    def test_has_nutrients_in_either_schema(self):
        found = {food.source_id: food for food in read((DATA / "off.jsonl.gz").read_bytes()) if isinstance(food, Food)}
        new, old = found["0000101209159"], found["0000111048403"]

        assert (new.kcal_100g, new.nutrients["fat_100g"], new.nutrients["salt_100g"]) == (617, 48, 0.01)
        assert (new.lang, new.brand, new.barcode) == ("fr", "Bovetti", "00000101209159")
        assert (old.name, old.kcal_100g, old.nutrients["fat_100g"]) == ("100% Pure Canola Oil", 857, 100)
        assert old.portions == [("1 Tbsp (14 g)", 14)]

    def test_says_what_100_means(self):
        nutrients = {"energy-kcal": {"value": 42, "unit": "kcal"}}
        new = {"aggregated_set": {"per": "100ml", "preparation": "as_sold", "nutrients": nutrients}}

        assert read(jsonl(document(nutrition=new)))[0].unit == "ml"
        assert read(jsonl(document()))[0].unit == "g"

    def test_is_not_read_from_prepared_food(self):
        nutrients = {"energy-kcal": {"value": 42, "unit": "kcal"}}
        new = {"aggregated_set": {"per": "100g", "preparation": "prepared", "nutrients": nutrients}}

        assert reasons(jsonl(document(nutrition=new) | {"nutriments": {}})) == {"no_energy": 1}


class TestTheCSV:
    def test_is_counted_by_reason(self):
        """Counted with awk: catalog/tests/data/README.md."""
        assert reasons((DATA / "off.tsv.gz").read_bytes()) == {
            "accepted": 84,
            "no_energy": 309,
            "no_name": 6,
            "more_energy_in_macros": 1,
        }

    def test_has_the_values_of_the_jsonl(self):
        by_code = {
            name: {food.source_id: food for food in read((DATA / name).read_bytes()) if isinstance(food, Food)}
            for name in ("off.jsonl.gz", "off.tsv.gz")
        }
        shared = by_code["off.jsonl.gz"].keys() & by_code["off.tsv.gz"].keys()

        assert len(shared) == 21
        for code in shared:
            one, other = (foods[code] for foods in by_code.values())
            assert (one.id, one.name, one.kcal_100g, one.nutrients) == (
                other.id,
                other.name,
                other.kcal_100g,
                other.nutrients,
            )

    def test_has_the_columns_of_its_header_in_each_row(self):
        header = b"product_name\tenergy-kcal_100g\tbrands"
        rows = [b"Brot\t250\tHarry", b"Brot\t250", b"Brot\t250\tHarry\t1", b"", b'Brot "rye\t250\t\r']
        content = b"code\t" + b"\n".join([header, *(row and CODES[0].encode() + b"\t" + row for row in rows)])

        assert reasons(content) == {"accepted": 2, "unreadable": 2}

    @pytest.mark.parametrize("header", [b"code\tproduct_name\n", b"code\tenergy-kcal_100g\n", b"code\tx"])
    def test_is_refused_without_names_or_energy(self, header):
        with pytest.raises(off.UnreadableFile, match="no column"):
            read(header)

    def test_refuses_languages_because_it_has_none(self):
        with pytest.raises(off.UnreadableFile, match="no languages"):
            read((DATA / "off.tsv.gz").read_bytes(), languages=["de"])


class TestAFile:
    def test_is_recognized_by_its_first_bytes(self):
        content = jsonl(document())

        assert reasons(content) == reasons(gzip.compress(content)) == {"accepted": 1}

    @pytest.mark.parametrize("content", [b"", b"\n", b"<html>", b"[]", b"x\ty\n", gzip.compress(b""), b"\x1f\x8b"])
    def test_is_refused_if_it_is_something_else(self, content):
        with pytest.raises(off.UnreadableFile):
            read(content)

    @pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: data[:50] + b"\xff" * 20 + data[70:]])
    def test_is_refused_if_it_is_damaged(self, damage):
        content = gzip.compress(b"".join(jsonl(document(code)) for code in CODES * 50), compresslevel=0)

        with pytest.raises(off.UnreadableFile, match="damaged"):
            read(damage(content))


class TestARow:
    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            (b'{"code": NaN}', "unreadable"),
            (b'{"code": "\\ud800"}', "unreadable"),
            (b"\xff\xfe{}", "unreadable"),
            (b"{" * 100_000, "unreadable"),
            (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "unreadable"),
            (b"[1]", "unreadable"),
            (b"null", "unreadable"),
            (b"{}", "no_gtin"),
            (b'{"code": ["4006381333931"]}', "no_gtin"),
            (orjson.dumps(document(product_name=["Brot"])), "no_name"),
            (orjson.dumps(document(product_name={"de": "Brot"})), "no_name"),
            (orjson.dumps(document() | {"nutriments": [1]}), "no_energy"),
            (orjson.dumps(document() | {"nutriments": {"energy-kcal_100g": [250]}}), "no_energy"),
            (orjson.dumps(document() | {"nutriments": {"energy-kcal_100g": True}}), "no_energy"),
            (orjson.dumps(document() | {"nutriments": {"energy-kcal_100g": "NaN"}}), "no_energy"),
            (
                b'{"code":"4006381333931","product_name":"x","nutriments":{"energy-kcal_100g":1e300}}',
                "kcal_out_of_bounds",
            ),
            (orjson.dumps(document(nutriments={"salt_100g": -5})), "nutrient_out_of_bounds"),
        ],
    )
    def test_is_skipped_if_it_is_broken(self, row, reason):
        assert reasons(jsonl(document(CODES[1])) + row + b"\n" + jsonl(document(CODES[2]))) == {
            "accepted": 2,
            reason: 1,
        }

    def test_may_have_numbers_as_texts(self):
        row = document(nutriments={"energy-kcal_100g": "250.5", "fat_100g": "1e1"}, unique_scans_n="7")

        (food,) = read(jsonl(row))

        assert (food.kcal_100g, food.nutrients["fat_100g"], food.scans) == (251, 10, 7)

    @pytest.mark.parametrize("value", [-1, 10**30, "x", [], {}, None, 1.5e300])
    def test_may_have_broken_values_that_are_not_needed(self, value):
        fields = ("unique_scans_n", "last_modified_t", "brands", "countries_tags", "serving_size", "serving_quantity")

        (food,) = read(
            orjson.dumps(json.loads(json.dumps(document(**dict.fromkeys(fields, 1))))).replace(b":1,", b":1,")
        )
        (broken,) = read(json.dumps(document(**dict.fromkeys(fields, value))).encode())

        assert broken.id == food.id
        assert 0 <= broken.scans <= 10**9
        assert not broken.portions

    def test_is_skipped_if_it_is_100_mb_long(self):
        class Zeros(io.RawIOBase):
            left = 100 * MIB

            def readable(self):
                return True

            def readinto(self, buffer):
                size = min(len(buffer), self.left)
                buffer[:size] = b"0" * size
                self.left -= size
                return size

        start = io.BufferedReader(BytesIO(jsonl(document())))
        end = jsonl(document(CODES[1]))
        parts = [start, io.BufferedReader(Zeros()), io.BufferedReader(BytesIO(b"\n" + end))]
        file = SimpleNamespace(peek=start.peek, readline=lambda size: next_line(parts, size))

        found = Counter(row.reason if isinstance(row, Refused) else "accepted" for row in off.read(file))

        assert found == {"accepted": 2, "too_long": 1}

    def test_ends_the_import_if_it_never_ends(self, monkeypatch):
        """A gzip bomb: a few kilobytes become one line of hundreds of megabytes."""
        monkeypatch.setattr(off, "MAX_SKIPPED", 64 * MIB)
        compress = zlib.compressobj(9, wbits=31)
        bomb = b"".join([compress.compress(jsonl(document()))] + [compress.compress(b" " * MIB) for _ in range(80)])

        with pytest.raises(off.UnreadableFile, match="more than"):
            read(bomb + compress.flush())


def next_line(parts: list, size: int) -> bytes:
    while parts:
        line = parts[0].readline(size)
        if line:
            return line
        parts.pop(0)
    return b""


class TestImportOff:
    def test_stores_foods_and_counts(self, db, dump):
        path = dump(document(brands="Harry, Other", unique_scans_n=3), document(CODES[1], product_name=""))

        output = output_of("import_off", path)

        (bread,) = CatalogFood.objects.all()
        assert (bread.name, bread.brand, bread.barcode, bread.source_id) == (
            "Roggenbrot",
            "Harry",
            "04006381333931",
            CODES[0],
        )
        assert (bread.kcal_100g, bread.protein_100g, bread.fat_100g) == (250, Decimal("8.5"), None)
        release = CatalogRelease.objects.get()
        assert (release.source, release.file_name) == ("off", "dump.jsonl")
        assert (release.read, release.changed, release.foods, release.refused) == (2, 1, 1, {"no_name": 1})
        assert "Read 2 rows and accepted 1.\nRefused 1 because they have no name (no_name).\n" in output

    def test_reads_the_standard_input(self, db, dump, monkeypatch):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=dump(document()).open("rb")))

        output_of("import_off", "-")

        assert CatalogFood.objects.count() == 1

    def test_changes_nothing_the_second_time(self, db, dump):
        path = dump(*map(document, CODES))
        output_of("import_off", path)
        before = list(CatalogFood.objects.order_by("uuid").values())
        output = output_of("import_off", path)

        assert "New or changed: 0." in output
        assert list(CatalogFood.objects.order_by("uuid").values()) == before
        assert len(before) == 5

    def test_stores_changed_portions_of_a_food_that_is_otherwise_the_same(self, db):
        import_foods(make_food("Bread", portions=[("1 slice", 40.0)]))
        import_foods(make_food("Bread", portions=[("1 slice", 45.0)]))

        assert CatalogRelease.objects.latest("pk").changed == 1
        assert CatalogPortion.objects.get().grams == 45

    def test_takes_newer_versions_only(self, db, dump):
        output_of("import_off", dump(document(product_name="Newer", last_modified_t=2)))
        output_of("import_off", dump(document(product_name="Older", last_modified_t=1)))
        assert CatalogFood.objects.get().name == "Newer"

        output_of("import_off", dump(document(product_name="Newest", last_modified_t=3, serving_quantity=30)))
        output_of(
            "import_off",
            dump(document(product_name="Newest", last_modified_t=4, serving_size="1 slice", serving_quantity=40)),
        )

        assert CatalogFood.objects.get().name == "Newest"
        assert list(CatalogPortion.objects.values_list("name", "grams")) == [("1 slice", 40)]

    def test_counts_a_second_row_of_a_food_as_a_duplicate(self, db, dump):
        output_of("import_off", dump(document("042100005264", product_name="First"), document("0042100005264")))

        assert CatalogFood.objects.get().name == "First"
        assert CatalogRelease.objects.get().refused == {"duplicate": 1}

    def test_finds_duplicates_in_other_batches(self, db, dump, monkeypatch):
        monkeypatch.setattr(importing, "BATCH", 2)

        output_of("import_off", dump(*map(document, CODES), *map(document, CODES)))

        assert CatalogRelease.objects.get().refused == {"duplicate": 5}
        assert CatalogFood.objects.count() == 5

    def test_filters_by_language_and_country(self, db, dump):
        path = dump(
            document(CODES[0], lang="de", countries_tags=["en:united-states"]),
            document(CODES[1], lang="fr", countries_tags=["en:united-states", "en:france"]),
            document(CODES[2], lang="de", countries_tags=["en:france"]),
            document(CODES[3], lang=["de"], countries_tags="en:united-states"),
        )

        output_of("import_off", path, "--languages", "de,en", "--countries", "United States, en:austria")

        assert CatalogFood.objects.get().source_id == CODES[0]
        assert CatalogRelease.objects.get().refused == {"other_language": 2, "other_country": 1}

    def test_takes_a_file_name_in_any_encoding(self, db, dump, tmp_path):
        path = dump(document()).rename(os.fsdecode(os.fsencode(tmp_path) + b"/br\xf6d"))

        output_of("import_off", path)

        assert CatalogRelease.objects.get().file_name == "br\ufffdd"

    def test_stores_nothing_in_a_dry_run(self, db, dump):
        output = output_of("import_off", dump(document(), document()), "--dry-run")

        assert not CatalogFood.objects.exists()
        assert not CatalogRelease.objects.exists()
        assert output == (
            "Read 2 rows and accepted 1.\nRefused 1 because the file has them twice (duplicate).\n"
            "Nothing has been stored.\n"
        )

    def test_goes_on_after_it_was_stopped(self, db, dump, monkeypatch):
        """A batch is stored as a whole or not at all. The second run stores the rest."""
        monkeypatch.setattr(importing, "BATCH", 2)
        store = importing.store

        def fail(batch, *args):
            stored = store(batch, *args)
            if CatalogFood.objects.count() > 2:
                raise KeyboardInterrupt
            return stored

        monkeypatch.setattr(importing, "store", fail)
        path = dump(*(document(code, serving_size="slice", serving_quantity=40) for code in CODES))
        with pytest.raises(KeyboardInterrupt):
            output_of("import_off", path)
        stopped = CatalogRelease.objects.get()
        assert (stopped.finished_at, stopped.changed, stopped.foods) == (None, 2, None)
        assert CatalogFood.objects.count() == CatalogPortion.objects.count() == 2

        monkeypatch.setattr(importing, "store", store)
        output_of("import_off", path)

        assert CatalogFood.objects.count() == CatalogPortion.objects.count() == 5
        assert CatalogRelease.objects.exclude(pk=stopped.pk).get().changed == 3

    @pytest.mark.parametrize("content", [b"no dump", gzip.compress(jsonl(document()))[:-10]])
    def test_ends_with_a_message_if_the_file_is_broken(self, db, tmp_path, content):
        path = tmp_path / "dump"
        path.write_bytes(content)

        with pytest.raises(CommandError, match="can't be read"):
            output_of("import_off", path)

        assert not CatalogRelease.objects.filter(finished_at__isnull=False).exists()

    def test_ends_with_a_message_if_there_is_no_file(self, db):
        with pytest.raises(CommandError, match="No such file"):
            output_of("import_off", "/nowhere")

    def test_explains_every_reason(self):
        text = "".join((Path(importing.__file__).parent / name).read_text() for name in ("food.py", "sources/off.py"))
        raised = {name for name in REASONS if f'Refused("{name}")' in text}

        assert raised | {"duplicate"} == set(REASONS)


class TestACompleteImport:
    def foods(self, number: int, **values) -> list[Food]:
        return [make_food(f"Bread {place}", place, **values) for place in range(number)]

    def test_withdraws_what_is_gone(self, db):
        import_foods(*self.foods(20))
        import_foods(*self.foods(19), is_complete=True)

        assert CatalogFood.objects.get(tier=None).name == "Bread 19"
        release = CatalogRelease.objects.latest("pk")
        assert (release.withdrawn, release.foods) == (1, 19)

    def test_tells_when_it_withdrew_a_food(self, db):
        import_foods(*self.foods(20))
        before = CatalogFood.objects.get(name="Bread 19")
        import_foods(*self.foods(19), is_complete=True)
        after = CatalogFood.objects.get(name="Bread 19")

        assert after.updated_at > before.updated_at
        assert after.release == CatalogRelease.objects.latest("pk")

    def test_restores_what_is_back(self, db):
        import_foods(*self.foods(20))
        import_foods(*self.foods(19), is_complete=True)
        import_foods(*self.foods(20), is_complete=True)

        assert not CatalogFood.objects.filter(tier=None).exists()

    def test_withdraws_nothing_if_more_than_5_percent_are_gone(self, db):
        import_foods(*self.foods(40))

        with pytest.raises(ImportFailed, match="No food was withdrawn"):
            import_foods(*self.foods(37), is_complete=True)

        assert not CatalogFood.objects.filter(tier=None).exists()

    def test_withdraws_nothing_if_the_file_has_other_foods(self, db):
        import_foods(*self.foods(10))

        with pytest.raises(ImportFailed, match="5% of 10 foods"):
            import_foods(*self.foods(300)[10:], is_complete=True)

        assert not CatalogFood.objects.filter(tier=None).exists()

    def test_prints_the_counts_if_it_fails(self, db, dump):
        import_foods(*self.foods(20))
        output = StringIO()

        with pytest.raises(CommandError, match="No food was withdrawn"):
            call_command("import_off", str(dump(document())), "--complete", stdout=output)

        assert output.getvalue() == "Read 1 rows and accepted 1.\n"

    def test_leaves_foods_of_other_sources(self, db):
        import_foods(*self.foods(20))
        importing.run(
            "usda", "foods", [make_food("Egg", source="usda", barcode=None, source_id="01123", tier=0)], print
        )
        import_foods(*self.foods(20), is_complete=True)

        assert not CatalogFood.objects.filter(tier=None).exists()

    def test_withdraws_nothing_without_the_option(self, db):
        import_foods(*self.foods(20))
        import_foods(*self.foods(1))

        assert not CatalogFood.objects.filter(tier=None).exists()


class TestPopularity:
    def test_is_by_scans_in_each_language(self, db, monkeypatch):
        monkeypatch.setattr(importing, "MIN_POPULAR", 2)
        foods = [make_food(f"Brot {n}", n, lang="de", scans=n) for n in range(100)]
        foods += [make_food(f"Pain {n}", 1000 + n, lang="fr", scans=n) for n in range(5)]
        foods += [make_food("Hleb", 2000)]

        import_foods(*foods)

        assert set(CatalogFood.objects.filter(tier=1).values_list("name", flat=True)) == {
            *("Brot 97", "Brot 98", "Brot 99", "Pain 3", "Pain 4", "Hleb"),
        }

    def test_changes_with_the_scans(self, db, monkeypatch):
        monkeypatch.setattr(importing, "MIN_POPULAR", 1)
        import_foods(make_food("One", 1, scans=2), make_food("Two", 2, scans=1))
        import_foods(make_food("Two", 2, scans=3, source_modified=1))

        assert CatalogFood.objects.get(tier=1).name == "Two"


class TestSpellings:
    def test_are_the_words_of_generic_and_popular_foods(self, db, monkeypatch):
        monkeypatch.setattr(importing, "MIN_POPULAR", 2)
        import_foods(make_food("Butter 3.5", 1, scans=9), make_food("Butter Brot", 2, scans=8), make_food("Rare", 3))
        assert set(CatalogSpelling.objects.values_list("word", "squeezed", "foods")) == {
            ("butter", "buter", 2),
            ("brot", "brot", 1),
        }

        import_foods(make_food("Käse", 2, scans=8, source_modified=1))

        assert set(CatalogSpelling.objects.values_list("word", "foods")) == {("butter", 1), ("kase", 1)}


class TestTwoImports:
    def test_do_not_run_at_the_same_time(self, tmp_path):
        path = str(tmp_path / "db.sqlite3-import")

        with locked_file(path), pytest.raises(ImportFailed, match="Another import"), locked_file(path):
            pass
        with locked_file(path):
            pass
        with pytest.raises(ImportFailed, match="can't be opened"), locked_file(f"{path}/lock"):
            pass

    @pytest.mark.postgres
    @pytest.mark.direct
    def test_do_not_run_at_the_same_time_on_postgresql(self, transactional_db, dump):
        other = connections.create_connection("default")
        try:
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(%s)", [importing.LOCK])
                with pytest.raises(CommandError, match="Another import"):
                    output_of("import_off", dump(document()))
                cursor.execute("SELECT pg_advisory_unlock(%s)", [importing.LOCK])
        finally:
            other.close()
        output_of("import_off", dump(document()))


class TestSeenIds:
    def test_contain_what_was_added(self):
        seen = SeenIds()
        ids = [make_food("x", number).id for number in range(2000)]

        assert all(map(seen.add, ids))
        assert not any(map(seen.add, ids))
        assert UUID(int=5) not in seen


class TestProgress:
    def test_is_shown_on_a_terminal(self, monkeypatch):
        output = SimpleNamespace(isatty=lambda: True, text="", flush=lambda: None)
        output.write = lambda text: setattr(output, "text", output.text + text)
        progress = Progress(output, lambda: 0.5)
        progress.started_at -= 10
        progress.shown_at -= 10

        progress(SimpleNamespace(read=12_000))
        progress(SimpleNamespace(read=12_001))

        assert output.text == f"\r[{'#' * 15}{' ' * 15}]  50%  12,000 rows, 1,200 a second "

    def test_is_not_shown_in_a_file(self, db, dump, capsys):
        call_command("import_off", str(dump(document())))

        assert capsys.readouterr().err == ""
