import time
from importlib import import_module
from itertools import permutations
from random import Random
from urllib.parse import quote

import pytest
from django.apps import apps
from django.db import connection
from django.db.models import Value

from nutrition.names import Position, name_key
from ownership.models import change_set
from products.models import Portion, Product
from products.tests.factories import PortionFactory, ProductFactory
from tests.harness.errors import validation_error_body

# Search texts, each with a name that contains it.
FOUND = [
    ("a", "a"),
    ("rye", "Rye bread"),
    ("BREAD", "Rye bread"),
    ("e b", "Rye bread"),
    ("rye  bread", "Rye bread"),
    ("rye bread", "Rye \u00a0 bread"),
    ("rye\u00a0bread", "Rye bread"),
    ("bread rye", "Rye bread"),
    ("ead ye", "Rye bread"),
    ("bread rye bread", "Rye bread"),
    ("h g f e d c b a", "a b c d e f g h"),
    ("b c d e f g a h i j", "a b c d e f g h i j"),
    (" rye ", "Rye bread"),
    ("eclair", "Éclair"),
    ("ÉCLAIR", "eclair"),
    ("e\u0301clair", "\u00c9clair"),
    ("creme brulee", "Crème brûlée"),
    ("jalapeno", "Jalapeño"),
    ("STRASSE", "Straßenkäse"),
    ("straße", "STRASSENKASE"),
    ("Käse", "KASE"),
    ("maslo", "Masło"),
    ("MASŁO", "maslo"),
    ("dau phu", "Đậu phụ"),
    ("Đậu phụ", "Dau phu"),
    ("smorrebrod", "Smørrebrød"),
    ("smørrebrød", "Smorrebrod"),
    ("o", "Øl"),
    ("oeuf", "Œuf"),
    ("œuf", "OEUF"),
    ("aebler", "Æbler"),
    ("ijs", "\u0132s"),
    ("fin", "ﬁn"),
    ("hobz", "Ħobż"),
    ("skyr", "Ｓｋｙｒ"),
    ("1/2 kg", "½\u2009㎏"),
    ("ispanak", "Ispanak"),
    ("ıspanak", "Ispanak"),
    ("İSPANAK", "Ispanak"),
    ("ISPANAK", "Ispanak"),
    ("ispanak", "ISPANAK"),
    ("ıspanak", "İSPANAK"),
    ("Reese's", "Reese’s"),
    ("Reese’s", "Reese's"),
    ("reese`s", "Reeseʼs"),
    ("reese´s", "Reese′s"),
    ("coca-cola", "Coca‑Cola"),
    ("coca cola", "Coca–Cola"),
    ("vollkorn", "Voll\u00adkorn"),
    ("istanbul", "İstanbul simidi"),
    ("İSTANBUL", "istanbul simidi"),
    ("pho", "Phở bò"),
    ("pączki", "PACZKI"),
    ("ΜΟΥΣΑΚΑΣ", "μουσακάς"),
    ("μουσακας", "ΜΟΥΣΑΚΑΣ"),
    ("σαλατα", "Σαλάτα"),
    ("ΣΟΣ", "σος"),
    ("йогурт", "ЙОГУРТ питьевой"),
    ("иогурт", "Йогурт"),
    ("елка", "Ёлка"),
    ("галушки", "Ґалушки"),
    ("казы", "Қазы"),
    ("パン", "ﾊﾟﾝ"),
    ("김치", "김치찌개"),
    ("\u1100\u1175\u11b7\u110e\u1175", "김치찌개"),
    ("ต้มยำ", "ต้มยำกุ้ง"),
    ("หมู", "ข้าวหมูแดง"),
    ("पराठा", "आलू पराठा"),
    ("हिंदी", "हिंदी"),
    ("שלום", "שָׁלוֹם"),
    ("محمد", "مُحَمَّد"),
    ("شاي", "شـــاي"),
    ("麻婆", "麻婆豆腐"),
    ("🥐", "Croissant 🥐"),
    ("❤", "Made with ❤️"),
    ("葛粉", "葛\U000e0100粉"),
    ("100%", "Juice, 100%"),
    ("_", "snake_case"),
    ("\\", "back\\slash"),
    ("\\%", "odd\\%name"),
    ("'", "Ben's"),
    ('"', 'the "best"'),
    ("[a-z]", "set [a-z]"),
    ("*", "star*"),
    ("?", "why?"),
    ("&", "M&M"),
    ("+", "C+E"),
    ("#", "No. #1"),
]
# Search texts, each with a similar name that does not contain it.
NOT_FOUND = [
    ("%", "Rye bread"),
    ("R%d", "Rye bread"),
    ("_", "Rye bread"),
    ("R_e", "Rye bread"),
    ("\\", "Rye bread"),
    ("\\R", "Rye bread"),
    ("R*", "Rye bread"),
    (".", "Rye bread"),
    ("?ye", "Rye bread"),
    ("rye brown", "Rye bread"),
    ("bread rye oats", "Rye bread"),
    ("h g f e d c b a x", "a b c d e f g h"),
    ("a b c d e f g i h", "a b c d e f g h i"),
    ("ryebread", "Rye bread"),
    ("100%", "1000 things"),
    ("ほん", "ぼん"),
    ("ハハ", "パパ"),
    ("김치", "김차"),
    ("คน", "คีน"),
    ("มี", "มา"),
    ("ดู", "ดุ"),
    ("หมู", "หม"),
    ("กง", "กุ้ง"),
    ("ປູ", "ປຸ"),
    ("कि", "की"),
    ("दल", "दाल"),
    ("दुल", "दूल"),
    ("क्या", "कया"),
    ("பால்", "பாலகம்"),
    ("কি", "কী"),
    ("கொ", "கோ"),
    ("కై", "కె"),
    ("ཀི", "ཀུ"),
]


def names(response) -> list[str]:
    assert response.status_code == 200
    return [product["name"] for product in response.json()]


class TestSearch:
    @pytest.mark.parametrize(("text", "name"), FOUND)
    def test_finds_a_name_that_contains_the_text(self, api, device, text, name):
        ProductFactory(device=device, name=name)
        ProductFactory(device=device, name="Ω")

        assert names(api.get("/v1/products", {"search": text})) == [name]

    @pytest.mark.parametrize(("text", "name"), NOT_FOUND)
    def test_excludes_a_name_that_does_not_contain_the_text(self, api, device, text, name):
        ProductFactory(device=device, name=name)
        ProductFactory(device=device, name=f"<{text}>")

        assert names(api.get("/v1/products", {"search": text})) == [f"<{text}>"]

    def test_finds_the_same_with_the_words_in_any_order(self, api, device):
        name = "Rye bread with sunflower seeds"
        ProductFactory(device=device, name=name)

        for words in permutations(name.split()):
            assert names(api.get("/v1/products", {"search": " ".join(words)})) == [name]

    @pytest.mark.parametrize("text", ["", " ", "\u3000"])
    def test_returns_all_products_if_the_text_is_empty(self, api, device, text):
        ProductFactory(device=device, name="Rye")

        assert names(api.get("/v1/products", {"search": text})) == ["Rye"]

    def test_keeps_the_order_of_the_list(self, api, device):
        for name in ["Rye b", "bread", "rye c", "Ryé a"]:
            ProductFactory(device=device, name=name)

        assert names(api.get("/v1/products?search=RYE")) == ["Ryé a", "Rye b", "rye c"]

    def test_excludes_deleted_rows(self, api, device):
        gone = ProductFactory(device=device, name="Rye")
        api.delete(f"/v1/products/{gone.pk}")

        assert names(api.get("/v1/products?search=rye")) == []

    def test_finds_nothing_if_the_text_is_longer_than_any_name(self, api, device):
        ProductFactory(device=device, name="a" * 100)

        response = api.get("/v1/products", {"search": "a" * 60_000})

        assert response.status_code == 200
        assert response.json() == []

    @pytest.mark.parametrize(
        "text",
        [
            " ".join(f"word{number}" for number in range(100)),
            "\u0301",
            "\u0301\u0308\u200b",
            "\u200b",
            "\ufe0f",
            "ﷺ" * 3000,
            "' OR 1=1 --",
            "\ud800",
        ],
        ids=["100 words", "an accent", "only marks", "zero width", "a selector", "growing", "SQL", "a surrogate"],
    )
    def test_finds_nothing_for_a_hostile_text(self, api, device, text):
        ProductFactory(device=device, name="Rye bread")

        response = api.get("/v1/products?search=" + quote(text, errors="surrogatepass"))

        assert (response.status_code, response.json()) == (200, [])

    def test_returns_422_if_the_text_has_a_nul(self, api):
        response = api.get("/v1/products?search=a%00b")

        assert response.status_code == 422
        assert [error["loc"] for error in response.json()["errors"]] == [["search"]]

    @pytest.mark.parametrize("name", ["\u0301", "\u0301\u0308", "\u064e"])
    def test_finds_a_name_that_consists_of_marks(self, api, device, name):
        for each in [name, "Rye"]:
            ProductFactory(device=device, name=each)

        assert names(api.get("/v1/products", {"search": name})) == [name]


class TestABrand:
    @pytest.mark.parametrize(
        "search", ["alnatura", "ALNATÜRA", "rye alnatura", "natura bread", "alnatura bread rye", "alnatura alnatura"]
    )
    def test_is_searched_together_with_the_name(self, api, device, search):
        ProductFactory(device=device, name="Rye bread", brand="Alnatürä")
        for name, brand in (("Rye bread", None), ("Rye", "Oatly"), ("Natur", "Al")):
            ProductFactory(device=device, name=name, brand=brand)

        assert [row["brand"] for row in api.get("/v1/products", {"search": search}).json()] == ["Alnatürä"]

    @pytest.mark.parametrize("search", ["breadaln", "alnatura spelt", "h g f e d c bread alnatura"])
    def test_makes_no_word_with_the_name(self, api, device, search):
        ProductFactory(device=device, name="Rye bread", brand="Alnatura")

        assert names(api.get("/v1/products", {"search": search})) == []

    def test_is_found_after_a_change(self, api, device):
        product = ProductFactory(device=device, name="Rye bread", brand="Alnatura")

        api.patch(f"/v1/products/{product.pk}", {"brand": "Œko"})
        found = [names(api.get("/v1/products", {"search": search})) for search in ("alnatura", "oeko")]
        api.patch(f"/v1/products/{product.pk}", {"brand": None})

        assert found == [[], ["Rye bread"]]
        assert names(api.get("/v1/products", {"search": "oeko"})) == []

    def test_changes_no_order(self, api, device):
        for name, brand in (("b", "a"), ("a", "z"), ("c", None)):
            ProductFactory(device=device, name=name, brand=brand)

        assert names(api.get("/v1/products")) == ["a", "b", "c"]


class TestFavorites:
    @pytest.mark.parametrize(
        ("query", "found"),
        [({}, ["Oats", "Rye"]), ({"favorite": "true"}, ["Rye"]), ({"favorite": "false"}, ["Oats"])],
    )
    def test_are_filtered(self, api, device, other_device, query, found):
        ProductFactory(device=device, name="Oats")
        ProductFactory(device=device, name="Rye", is_favorite=True)
        ProductFactory(device=other_device, name="Others", is_favorite=True)

        assert names(api.get("/v1/products", query)) == found
        assert names(api.get("/v1/products", query | {"search": "o"})) == [name for name in found if name == "Oats"]

    @pytest.mark.parametrize("value", ["", "1", "yes", "null", "tru\0e"])
    def test_are_true_or_false(self, api, value):
        response = api.get("/v1/products", {"favorite": value})

        assert response.status_code == 422
        assert response.json() == validation_error_body(("favorite", "Must be `true` or `false`.", "invalid"))


class TestTheOrderOfNames:
    def test_is_by_code_point_on_every_database(self, api, device):
        wild = ["-", "0", "10", "9", "A b", "ab", "a-b", "a_b", "Áb c", "abc", "æ", "z", "Ø", "ж", "Ё", "क", "กุ", "中"]
        wild += ["가", "｡", "\ufffd", "😀", "𠮷", "ﷺ", "~", "{"]
        for name in wild:
            ProductFactory(device=device, name=name)

        assert names(api.get("/v1/products")) == sorted(wild, key=name_key)

    @pytest.mark.postgres
    @pytest.mark.parametrize(
        ("table", "column"), [("products", "name_key"), ("products", "brand_key"), ("portions", "name_key")]
    )
    def test_is_collation_c_on_postgresql(self, db, table, column):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT collation_name FROM information_schema.columns WHERE table_name = %s AND column_name = %s",
                [table, column],
            )
            collations = cursor.fetchall()

        assert collations == [("C",)]


class TestALongPart:
    """A search text of more than 32 bytes, which PostgreSQL compares as bytes."""

    NAME = "Überbackene Auberginen mit Käse, Tomaten und ßßßßßßßßßßßßßßßßßßßß"

    @pytest.mark.parametrize("part", [NAME, NAME[:50], NAME[-50:], NAME[10:60].upper(), "s" * 40])
    def test_is_found_wherever_it_is(self, api, device, part):
        ProductFactory(device=device, name=self.NAME)
        ProductFactory(device=device, name="s" * 39)

        assert names(api.get("/v1/products", {"search": part})) == [self.NAME]

    @pytest.mark.parametrize(
        "part", [f"{NAME}!", f"!{NAME}", f"{NAME[:50]}!", "s" * 41, f"t{'s' * 39}", f"{NAME}{'s' * 2000}"]
    )
    def test_is_not_found_where_it_is_not(self, api, device, part):
        ProductFactory(device=device, name=self.NAME)

        assert names(api.get("/v1/products", {"search": part})) == []

    @pytest.mark.django_db
    @pytest.mark.parametrize("seed", range(50))
    def test_is_found_where_python_finds_it(self, seed):
        random = Random(seed)
        text, other = ("".join(random.choices("as面각ೋ𐐀", k=random.randint(1, 100))) for _ in range(2))
        begin = random.randrange(len(text))
        parts = [
            text[begin:],
            text[: begin + 1],
            text[begin : begin + 40],
            other,
            f"{text[begin:]}a",
            f"面{text[:begin]}",
        ]

        for part in parts:
            sql, params = compiled(Position(Value(text), Value(part)))
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {sql}", params)
                assert (cursor.fetchone()[0] > 0) == (part in text), (text, part)


def compiled(expression) -> tuple[str, list]:
    compiler = Product.objects.all().query.get_compiler(connection=connection)
    return compiler.compile(expression.resolve_expression(compiler.query))


@pytest.mark.usefixtures("unverified_queries")
class TestTheWorstSearch:
    """Search texts that are slow to compare, in 10,000 names with the longest keys."""

    @pytest.mark.parametrize("character", ["ß", "\u0ccb"], ids=["two letters", "three letters of three bytes"])
    def test_takes_less_than_200_ms(self, api, device, character):
        name = character * 100
        with change_set(device):
            Product.all_objects.bulk_create(
                [Product.new(device_id=device.pk, name=name, kcal_100g=1) for _ in range(10_000)]
            )
        key = name_key(name)
        parts = [part for size in (10, 31, 50, 100, 150) for part in (f"x{key[:size]}", f"{key[:size]}x")]
        parts += [f"{key[:size]}x{key[:size]}" for size in (15, 50, 75)]

        for part in parts:
            assert min(seconds_to_search(api, part) for _ in range(3)) < 0.2, part


def seconds_to_search(api, part: str) -> float:
    start = time.perf_counter()
    assert api.get("/v1/products", {"search": part}).json() == []
    return time.perf_counter() - start


class TestTheMigrationOfKeys:
    """It computes the keys of the rows that the previous release has stored."""

    migration = import_module("products.migrations.0005_fold_names")
    NAMES = ("Masło", "Rye  bread", "Ispanak", "ぼん", "Éclair")
    EARLIER = ("masło", "rye  bread", "ispanak", "ほん", "eclair")

    @pytest.fixture
    def rows(self, device) -> list[Product | Portion]:
        products = [ProductFactory(device=device, name=name) for name in self.NAMES]
        portions = [PortionFactory(product=products[0], name=name) for name in self.NAMES]
        with change_set(device):
            products[1].soft_delete()
        for row, key in zip([*products, *portions], self.EARLIER * 2, strict=True):
            type(row)._base_manager.filter(pk=row.pk).update(name_key=key)
        return [*products, *portions]

    def test_stores_the_new_keys(self, rows):
        self.migration.fold_names(apps, None)

        assert keys_of(rows) == [name_key(name) for name in self.NAMES] * 2

    def test_changes_nothing_else(self, device, rows, all_rows):
        before = all_rows()

        self.migration.fold_names(apps, None)
        after = all_rows()

        for table in (*before, *after):
            for row in table:
                row.pop("name_key", None)
        assert after == before

    def test_changes_no_key_of_a_row_that_was_renamed_meanwhile(self, rows):
        def rename_first(name: str) -> str:
            type(rows[0])._base_manager.filter(pk=rows[0].pk).update(name="Oats", name_key="oats")
            return name_key(name)

        self.migration.fold_names(apps, None, rename_first)

        assert keys_of(rows)[0] == "oats"

    def test_can_be_reversed(self, rows):
        self.migration.fold_names(apps, None)

        self.migration.Migration.operations[0].reverse_code(apps, None)

        assert keys_of(rows) == [*self.EARLIER] * 2


def keys_of(rows: list[Product | Portion]) -> list[str]:
    return [type(row)._base_manager.values_list("name_key", flat=True).get(pk=row.pk) for row in rows]
