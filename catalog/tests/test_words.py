import pytest

from catalog.words import split, words_of


class TestSplit:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("Crème  brûlée", ["creme", "brulee"]),
            ("L’eau minérale", ["leau", "minerale"]),
            ("Milk, 3.25% milkfat", ["milk", "3.25", "milkfat"]),
            ("Milch 3,5 %", ["milch", "3.5"]),
            ("Peas (green).", ["peas", "green"]),
            ("80/20 beef_x", ["80", "20", "beef", "x"]),
            ("Молоко 2,5%", ["молоко", "2.5"]),
            ("हिन्दी दूध", ["हिन्दी", "दूध"]),
            ("🍎 - !!", []),
            ("", []),
        ],
    )
    def test_returns_the_words_without_case_and_accents(self, text, words):
        assert split(text) == words

    def test_treats_ascii_the_same_in_any_text(self):
        texts = [f"a{chr(code)}b {chr(code)}" for code in range(128)]

        assert [split(f"{text} д") for text in texts] == [[*split(text), "д"] for text in texts]

    def test_returns_pairs_in_scripts_without_spaces(self):
        assert split("牛乳パック200ml") == ["牛乳", "乳パ", "パッ", "ック", "ク", "200ml"]
        assert split("นม") == ["นม", "ม"]

    def test_leaves_out_the_last_character_in_a_search(self):
        assert split("牛乳", is_search=True) == ["牛乳"]
        assert split("乳", is_search=True) == ["乳"]


class TestWordsOf:
    @pytest.mark.parametrize(
        ("singular", "plural"),
        [
            ("egg", "eggs"),
            ("berry", "berries"),
            ("cookie", "cookies"),
            ("pie", "pies"),
            ("potato", "potatoes"),
            ("peach", "peaches"),
            ("radish", "radishes"),
            ("box", "boxes"),
            ("glass", "glasses"),
            ("cheese", "cheeses"),
            ("quiche", "quiches"),
            ("olive", "olives"),
        ],
    )
    def test_are_the_same_for_singular_and_plural(self, singular, plural):
        assert words_of(singular) == words_of(plural)

    @pytest.mark.parametrize("word", ["hummus", "swiss", "asparagus", "gas", "soy", "honey", "молоко"])
    def test_keeps_other_words(self, word):
        assert words_of(word) == [word]

    def test_are_the_same_for_variants_of_english(self):
        assert words_of("Yoghurt") == words_of("yogurt")
        assert words_of("Soymilk") == words_of("soy milk")
        assert words_of("prawns") == words_of("Shrimp")

    def test_has_each_word_once(self):
        assert words_of("Milk, whole milk", None, "Whole Foods") == ["milk", "whole", "food"]

    def test_keeps_no_more_than_60(self):
        assert len(words_of(" ".join(f"{number}a" for number in range(100)))) == 60
