import time
from random import Random

import pytest
from django.db import connection
from django.db.models import Value

from nutrition.names import Position, name_key
from ownership.models import change_set
from products.models import Product
from products.tests.factories import ProductFactory

# Search texts, each with a name that contains it.
FOUND = [
    ("a", "a"),
    ("rye", "Rye bread"),
    ("BREAD", "Rye bread"),
    ("e b", "Rye bread"),
    (" rye ", "Rye bread"),
    ("eclair", "Éclair"),
    ("ÉCLAIR", "eclair"),
    ("e\u0301clair", "\u00c9clair"),
    ("creme brulee", "Crème brûlée"),
    ("jalapeno", "Jalapeño"),
    ("STRASSE", "Straßenkäse"),
    ("straße", "STRASSENKASE"),
    ("Käse", "KASE"),
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
    ("김치", "김치찌개"),
    ("\u1100\u1175\u11b7\u110e\u1175", "김치찌개"),
    ("ต้มยำ", "ต้มยำกุ้ง"),
    ("หมู", "ข้าวหมูแดง"),
    ("पराठा", "आलू पराठा"),
    ("हिंदी", "हिंदी"),
    ("שלום", "שָׁלוֹם"),
    ("محمد", "مُحَمَّد"),
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
    ("rye  bread", "Rye bread"),
    ("bread rye", "Rye bread"),
    ("100%", "1000 things"),
    ("o", "Øl"),
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


class TestTheOrderOfNames:
    def test_is_by_code_point_on_every_database(self, api, device):
        wild = ["-", "0", "10", "9", "A b", "ab", "a-b", "a_b", "Áb c", "abc", "æ", "z", "Ø", "ж", "Ё", "क", "กุ", "中"]
        wild += ["가", "｡", "\ufffd", "😀", "𠮷", "ﷺ", "~", "{"]
        for name in wild:
            ProductFactory(device=device, name=name)

        assert names(api.get("/v1/products")) == sorted(wild, key=name_key)

    @pytest.mark.postgres
    @pytest.mark.parametrize("table", ["products", "portions"])
    def test_is_collation_c_on_postgresql(self, db, table):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT collation_name FROM information_schema.columns"
                " WHERE table_name = %s AND column_name = 'name_key'",
                [table],
            )
            collations = cursor.fetchall()

        assert collations == [("C",)]


class TestNameKey:
    @pytest.mark.parametrize(
        ("name", "key"),
        [
            ("Rye Bread", "rye bread"),
            ("Éclair", "eclair"),
            ("e\u0301clair", "eclair"),
            ("Straße", "strasse"),
            ("İ", "i"),
            ("ı", "ı"),
            ("ΣΟΣ", "σοσ"),
            ("σος", "σοσ"),
            ("Й", "и"),
            ("ﬁn", "fin"),
            ("Ǆ", "ǆ"),
            ("각", "\u1100\u1161\u11a8"),
            ("❤️", "❤"),
            ("की", "की"),
            ("\u0301", ""),
            ("", ""),
        ],
    )
    def test_has_no_case_and_no_accents(self, name, key):
        assert name_key(name) == key

    def test_of_a_key_is_the_key(self):
        """Tested with each character of the basic multilingual plane between two letters, except surrogates."""
        texts = [f"a{chr(code)}b" for code in range(1, 0x10000) if not 0xD800 <= code < 0xE000]

        assert [text for text in texts if name_key(name_key(text)) != name_key(text)] == []


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


def test_no_character_becomes_more_than_ten_in_a_key():
    assert max(len(name_key(chr(point))) for point in range(0x110000) if not 0xD800 <= point < 0xE000) <= 10
