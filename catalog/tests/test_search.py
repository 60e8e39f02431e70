import json
import random
import re
from pathlib import Path
from string import ascii_lowercase
from uuid import UUID

import pytest
from django.db import connection

from catalog import importing, spelling
from catalog.food import Food
from catalog.models import CatalogFood, CatalogRelease, CatalogSpelling
from catalog.search import RARE, search
from catalog.sources import off, usda
from catalog.tests import DATA, SR28, ignore, import_foods, make_food, model, output_of

RELEVANCE = json.loads((DATA / "relevance_sr28.json").read_text())

HOSTILE = [
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "\ud800",
        "milk\udfff",
        "'",
        '"',
        "\\",
        "%",
        "_",
        "*",
        "a*",
        "(",
        ")",
        "()",
        ":",
        "a:*",
        ":*",
    ),
    *("AND", "OR", "NOT", "NEAR(a b)", "a AND", "milk OR", "NOT milk", "milk NOT butter", "NEAR/3", "^milk", "-milk"),
    *("+milk", "{words}: milk", "words:milk", '"milk', "milk'", "''", "milk & butter", "milk | butter", "!milk", "<->"),
    *("milk <-> butter", "'); DROP TABLE catalog_foods; --", "%s", "{tier}", "$1", "?", "\x1a", "\u2028", "milk\u200b"),
    *(
        "🍎",
        "👩‍👩‍👧‍👦",
        "\U000e0041",
        "ﷺ" * 100,
        "ŵ" * 100,
        "x" * 100,
        "x " * 50,
        "z̐͗̾" * 30,
        "½",
        "Ⅷ",
        "٣",
        "²",
        "ㅤ",
        "\u2800",
    ),
    *("牛乳", "乳", "ミルク", "ﾐﾙｸ", "우유", "นม", "ນົມ", "ទឹកដោះគោ", "နို့", "दूध", "பால்", "молоко", "γάλα", "חלב", "حليب"),
    *(
        "mælk",
        "Ⓜⓘⓛⓚ",
        "ﬁsh",
        "ıspanak",
        "İspanak",
        "straße",
        "STRASSE",
        "l'eau",
        "l’eau",
        "3.25",
        "3,25",
        "3.",
        ".3",
        "...",
    ),
    " ".join("qxzjvwkyfbghqxzjvwkyfbghqxzjvwkyfbghqxzjvwkyfbgh"),
]


def stored_rows() -> list[model.Row]:
    columns = ("uuid", "words", "first", "lang", "tier", "weight")
    rows = CatalogFood.objects.exclude(tier=None).values_list(*columns)
    return [model.Row(food_id, words.split(), *rest) for food_id, words, *rest in rows]


def names_of(ids: list[UUID]) -> list[str]:
    names = dict(CatalogFood.objects.filter(uuid__in=ids).values_list("uuid", "name"))
    return [names[UUID(food_id)] for food_id in ids]


def find(text: str, lang: str | None = None, limit: int = 20) -> list[str]:
    return names_of(search(text, lang, limit))


def foods_in(path: Path) -> list[Food]:
    with path.open("rb") as file:
        return [row for row in off.read(file) if isinstance(row, Food)]


@pytest.fixture
def mixed(db, monkeypatch):
    """Foods of all sources and tiers, in several languages and scripts."""
    monkeypatch.setattr(importing, "MIN_POPULAR", 10)
    generic = [food for food in usda.read(usda.Files(SR28)) if int(food.source_id) % 7 == 0]
    importing.run("usda", "sr28", generic, ignore)
    others = [
        make_food(name, number, lang=lang, scans=number % 13)
        for number, (name, lang) in enumerate(
            [
                *(("Ost", "sv"), ("Ostkaka", "sv"), ("Lantmjölk 3,5 %", "sv"), ("Mjölkchoklad", "sv"), ("Käse", "de")),
                *(("L’eau minérale", "fr"), ("Lait entier", "fr"), ("Молоко 2,5%", "ru"), ("Молочный шоколад", "ru")),
                *(
                    ("牛乳", "ja"),
                    ("牛乳パック", "ja"),
                    ("ミルクチョコレート", "ja"),
                    ("우유", "ko"),
                    ("นมสด", "th"),
                    ("दूध", "hi"),
                ),
                *(
                    ("Γάλα πλήρες", "el"),
                    ("חלב", "he"),
                    ("حليب", "ar"),
                    ("Weißbrot", "de"),
                    ("Oeuf", "fr"),
                    ("Œuf", "fr"),
                ),
                *(("Ispanak", "tr"), ("ıspanaklı börek", "tr"), ("Ｆｉｓｈ ﬁngers", None), ("Mælk ½ liter", "da")),
            ],
            start=10_000,
        )
    ]
    import_foods(*foods_in(DATA / "off.jsonl.gz"), *foods_in(DATA / "off.tsv.gz"), *others)


@pytest.fixture
def matches(monkeypatch):
    """A list of what searches look for: the words in an index, and the beginning of a word outside of it."""
    monkeypatch.setattr(importing, "MIN_POPULAR", 0)  # so the foods are in the last tier
    recorded, fetch = [], connection.fetch_cached

    def record(sql: str, params: list, **options) -> list[tuple]:
        if "first" in sql:
            words = re.sub("['\":&]|AND", " ", params[0]).split()
            recorded.append((" ".join(words).replace(" *", "*"), params[1]))
        return fetch(sql, params, **options)

    monkeypatch.setattr(connection, "fetch_cached", record)
    return recorded


class TestRelevance:
    """The thresholds of the 60 searches in relevance_sr28.json, on SR28 alone."""

    def test_is_good(self, db):
        output_of("import_usda", SR28)
        numbers = dict(CatalogFood.objects.values_list("uuid", "source_id"))
        top_3, top_10 = [], []
        for query in RELEVANCE:
            found = [numbers[UUID(food_id)] for food_id in search(query["query"], None, 20)]
            top_3 += [query["query"]] if set(query["expect_top3"]) & set(found[:3]) else []
            expected = {*query["expect_top3"], *query["expect_top10"]}
            top_10 += [query["query"]] if expected & set(found[:10]) else []

        assert len(RELEVANCE) == 60
        assert len(top_3) >= 57
        assert len(top_10) == 60


class TestEverySearch:
    """The model has no database, so a database that agrees with it agrees with the other one too."""

    @pytest.mark.parametrize("rare", [-1, 5, RARE])
    def test_finds_what_the_model_finds(self, mixed, monkeypatch, rare):
        monkeypatch.setattr("catalog.search.RARE", rare)
        rows = stored_rows()
        names = sorted(set(CatalogFood.objects.values_list("name", flat=True)))
        words = sorted({word for name in names for word in name.split()})
        choose = random.Random(1)

        def make_query() -> str:
            of_one_food = choose.sample(choose.choice(names).split(), 1) + choose.choices(
                words, k=choose.choice([0, 0, 1])
            )
            text = " ".join(choose.choice([choose.choice(names).split()[:2], of_one_food]))
            place = choose.randrange(len(text))
            return choose.choice([text, text[: place + 1], text[:place] + text[place + 1 :], text.upper()])

        queries = [
            (make_query(), choose.choice([None, "en", "sv", "de"]), choose.choice([5, 20, 50])) for _ in range(400)
        ]
        found = {query: search(*query) for query in queries}

        assert {row.tier for row in rows} == {0, 1, 2}
        assert sum(map(bool, found.values())) > 250
        for query in queries:
            assert found[query] == model.search(rows, *query, spelling.corrections), query

    @pytest.mark.parametrize("text", HOSTILE)
    def test_finds_what_the_model_finds_if_it_is_hostile(self, db, text):
        foods = [
            make_food(name, number) for number, name in enumerate(["Milk", "Butter", "Fish", "牛乳", "Молоко", "Eau"])
        ]
        import_foods(*foods)

        assert search(text, None, 20) == model.search(stored_rows(), text, None, 20, spelling.corrections)


class TestSearch:
    def test_puts_generic_foods_first(self, db):
        import_foods(make_food("Egg", 1, scans=1000), make_food("Egg salad", 2, scans=5000))
        egg = make_food("Egg, whole", source="usda", barcode=None, source_id="01123", tier=0)
        importing.run("usda", "foods", [egg], ignore)

        assert find("eggs") == ["Egg, whole", "Egg salad", "Egg"]

    def test_puts_whole_words_before_beginnings(self, db):
        import_foods(
            make_food("Butterscotch", 1, weight=9), make_food("Butter", 2), make_food("Peanut butter", 3, weight=5)
        )

        assert find("butter") == ["Butter", "Peanut butter", "Butterscotch"]

    def test_takes_the_last_word_as_a_beginning(self, db):
        import_foods(make_food("Thick cream", 1, weight=1), make_food("Crème thick", 2))

        assert find("thick cr", limit=5) == ["Thick cream", "Crème thick"]
        assert find("thi cream") == []

    def test_needs_longer_beginnings_for_rare_foods(self, db, monkeypatch):
        monkeypatch.setattr(importing, "MIN_POPULAR", 1)
        import_foods(make_food("Milk", 1, scans=9), make_food("Milch", 2))

        assert find("mi") == ["Milk"]
        assert find("mil") == ["Milk", "Milch"]

    def test_prefers_the_language(self, db):
        import_foods(make_food("Brot A", 1, lang="en", weight=9), make_food("Brot B", 2, lang="de"))

        assert find("brot", "de") == ["Brot B", "Brot A"]
        assert find("brot") == ["Brot A", "Brot B"]

    def test_searches_whole_words_first_in_other_languages(self, db):
        ostrich = make_food("Ostrich", source="usda", barcode=None, source_id="1", tier=0, lang="en")
        importing.run("usda", "foods", [ostrich], ignore)
        import_foods(make_food("Ost", 1, lang="sv"))

        assert find("ost", "sv") == ["Ost", "Ostrich"]
        assert find("ost", "en") == ["Ostrich", "Ost"]

    @pytest.mark.parametrize("lang", ["en", "sv"])
    def test_has_pages_that_are_parts_of_one_order(self, db, monkeypatch, lang):
        monkeypatch.setattr(importing, "MIN_POPULAR", 60)
        generic = make_food("Breda cheese", source="usda", barcode=None, source_id="1", tier=0)
        importing.run("usda", "foods", [generic], ignore)
        breads = [make_food(f"Bread {number}", number, scans=1) for number in range(60)]
        import_foods(*breads, *(make_food(f"Bred {number}", 100 + number) for number in range(30)))
        foods = search("bred", lang, 60)

        assert len(foods) == 60
        for limit in range(1, 60):
            assert search("bred", lang, limit) == foods[:limit]

    def test_finds_brands(self, db):
        import_foods(make_food("Rye bread", 1, brand="Harry"), make_food("Rye bread", 2))

        assert search("harry rye", None, 5) == [str(make_food("Rye bread", 1).id)]

    def test_finds_no_withdrawn_food(self, db):
        import_foods(*(make_food(f"Bread {number}", number) for number in range(20)))
        CatalogFood.objects.filter(name="Bread 3").update(tier=None)

        assert len(find("bread", limit=50)) == 19
        assert "Bread 3" not in find("bread", limit=50)

    def test_finds_a_renamed_food_by_its_new_name_only(self, db):
        import_foods(make_food("Bread", 1))
        import_foods(make_food("Cheese", 1, source_modified=1))

        assert find("bread") == []
        assert find("cheese") == ["Cheese"]

    def test_finds_no_deleted_food(self, db):
        import_foods(make_food("Bread", 1), make_food("Bread", 2))
        CatalogFood.objects.get(barcode=f"{1:014}").delete()

        assert search("bread", None, 5) == [str(make_food("Bread", 2).id)]

    def test_takes_at_most_a_few_queries(self, db, django_assert_max_num_queries):
        import_foods(make_food("Bread", 1))

        with django_assert_max_num_queries(8 + 2 + 8):
            search("bred and bter", None, 50)

    def test_reads_no_index_of_beginnings_if_another_word_is_rare(self, db, matches):
        import_foods(make_food("Milk bread", 1), make_food("Zott milk", 2), make_food("Milky zott", 3))

        assert find("zott mil", limit=2) == ["Milky zott", "Zott milk"]
        assert matches[-1] == ("zott", " mil")

    def test_reads_the_index_of_beginnings_if_all_other_words_are_frequent(self, db, matches, monkeypatch):
        monkeypatch.setattr("catalog.search.RARE", 0)
        monkeypatch.setattr(importing, "MIN_POPULAR", 1)
        import_foods(make_food("Milk bread", 1, scans=1), make_food("Milk brioche", 2))

        assert find("milk bri", limit=1) == ["Milk brioche"]
        assert matches[-1] == ("milk bri*", "")

    def test_reads_the_index_of_beginnings_until_an_import_has_ended(self, db, matches):
        import_foods(make_food("Zott milk", 1))
        CatalogRelease.objects.update(finished_at=None)

        assert find("zott mil", limit=1) == ["Zott milk"]
        assert matches[-1] == ("zott mil*", "")

    @pytest.mark.postgres
    def test_uses_the_index_of_the_tier(self, mixed):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute(
                "EXPLAIN SELECT uuid FROM catalog_foods WHERE tier = 1"
                " AND array_to_tsvector(string_to_array(words, ' ')) @@ '''milk'''::tsquery"
            )
            plan = "\n".join(line for (line,) in cursor.fetchall())

        assert "catalog_words_1" in plan


class TestATypingError:
    def test_is_corrected_to_a_frequent_word(self, db):
        import_foods(make_food("Broccoli", 1, weight=1), make_food("Broccoli soup", 2), make_food("Mozzarella", 3))

        assert find("brocolli") == ["Broccoli", "Broccoli soup"]
        assert find("mozarela") == ["Mozzarella"]
        assert find("brocolli soup") == ["Broccoli soup"]

    def test_is_corrected_without_a_change_of_known_words(self, db):
        import_foods(make_food("Chocolate milk", 1), make_food("Chocolate mill", 2, weight=9), make_food("Milk", 3))

        assert find("choclate milk") == ["Chocolate milk"]

    def test_is_the_rarest_word_if_all_are_known(self, db):
        import_foods(
            make_food("Beat", 1), make_food("Beet juice", 2), make_food("Juice", 3), make_food("Beat juicy", 4)
        )

        assert find("beat juice") == ["Beet juice"]

    def test_is_not_corrected_if_the_page_is_full(self, db):
        import_foods(*(make_food(f"Bred {number}", number) for number in range(5)))
        import_foods(*(make_food(f"Bread {number}", 100 + number) for number in range(300)))

        assert {name.split()[0] for name in find("bred", limit=5)} == {"Bred"}
        assert find("bred", limit=6)[:5] == find("bred", limit=5)
        assert "Bread" in find("bred", limit=6)[5]

    def test_is_not_seen_in_a_word_of_a_popular_food(self, db):
        """`mcchicken` is like `chicken`, which generic foods have. The pages of a search are parts of one order."""
        output_of("import_usda", SR28)

        assert find("mcchicken")[0] == "McDONALD'S, McCHICKEN Sandwich"
        for text in ("mcchicken", "cheesy", "chocolatey"):
            assert find(text, limit=21)[:2] == find(text, limit=2)

    def test_is_found_in_every_form(self, db):
        """One random edit of a word of SR28, or a doubled letter: 95 % find the word again."""
        output_of("import_usda", SR28)
        words = list(CatalogSpelling.objects.filter(foods__gte=10).values_list("word", flat=True))
        choose = random.Random(2)
        wrong = {}
        for word in sorted(word for word in words if len(word) > 5 and word.isascii()):
            place, letter = choose.randrange(1, len(word)), choose.choice("aeiourstln")
            ends = (
                word[place:],
                word[place + 1 :],
                letter + word[place:],
                letter + word[place + 1 :],
                word[place - 1 :],
            )
            wrong[word[:place] + choose.choice(ends[1:])] = word
        found = {
            typed: spelling.corrections([typed], is_found=False).get(typed) for typed in wrong if typed not in words
        }

        assert len(found) > 300
        assert sum(wrong[typed] == meant for typed, meant in found.items()) / len(found) > 0.95


class TestDistance:
    @pytest.mark.parametrize(
        ("one", "other", "errors"),
        [
            ("milk", "milk", 0),
            ("milk", "mlik", 1),
            ("milk", "mil", 1),
            ("milk", "silks", 2),
            ("", "abc", 3),
            ("ab", "ba", 1),
        ],
    )
    def test_counts_errors(self, one, other, errors):
        assert spelling.distance(one, other) == spelling.distance(other, one) == errors


class TestTheForms:
    @pytest.mark.parametrize("word", ["mozarela", "aba", "bred", "xyx"])
    def test_are_all_words_one_error_away(self, word):
        ends = [(word[:place], word[place:]) for place in range(len(word) + 1)]
        edits = {start + end[1:] for start, end in ends}
        edits |= {start + end[1] + end[0] + end[2:] for start, end in ends if len(end) > 1}
        edits |= {start + letter + end[cut:] for start, end in ends for letter in ascii_lowercase for cut in (0, 1)}

        assert spelling.forms_of(word) == {spelling.squeeze(edit) for edit in edits}

    def test_have_the_letters_of_the_script(self):
        assert "молоко" in spelling.forms_of("млоко")
        assert "γαλα" in spelling.forms_of("γαλ")
        assert spelling.forms_of("दू") == {"दू", "द", "ू", "ूद"}
