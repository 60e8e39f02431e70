"""Names as they are compared. products/tests/test_search.py tests the same through the API."""

import hashlib
import unicodedata

import pytest

from nutrition.names import KEY_LENGTH, name_key, search_parts

CHARACTERS = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000]


class TestNameKey:
    @pytest.mark.parametrize(
        ("name", "key"),
        [
            ("Rye Bread", "rye bread"),
            ("Éclair", "eclair"),
            ("e\u0301clair", "eclair"),
            ("Straße", "strasse"),
            ("İ", "i"),
            ("ı", "i"),
            ("Masło", "maslo"),
            ("Œuf ĳs", "oeuf ijs"),
            ("þorskur", "thorskur"),
            ("Çörək", "corek"),
            ("Ɛ", "e"),
            ("ȷ", "j"),
            ("ŉ", "'n"),
            ("℡ ﬁ Ｆ", "tel fi f"),
            ("“A” «b»", '"a" "b"'),
            ("a\u2010b\u2014c\u2212d", "a-b-c-d"),
            ("  a \t\u00a0\u3000 b ", "a b"),
            ("がパ", "か\u3099ハ\u309a"),
            ("A`b", "a'b"),
            ("ΣΟΣ", "σοσ"),
            ("σος", "σοσ"),
            ("Й", "и"),
            ("ﬁn", "fin"),
            ("Ǆ", "dz"),
            ("각", "\u1100\u1161\u11a8"),
            ("❤️", "❤"),
            ("की", "की"),
            ("\u0301", "\u0301"),
            ("a \u0301", "a"),
            ("", ""),
        ],
    )
    def test_has_no_case_and_no_accents(self, name, key):
        assert name_key(name) == key

    def test_of_a_key_is_the_key(self):
        texts = [f"a{character}b" for character in CHARACTERS]

        assert [text for text in texts if name_key(name_key(text)) != name_key(text)] == []

    def test_is_the_same_for_all_apostrophes(self):
        apostrophes = "'`´‘’‛ʹʻʼʽˈ′‵＇"

        assert {name_key(f"Reese{each}s") for each in apostrophes} == {"reese's"}

    def test_is_empty_only_if_the_name_is_blank(self):
        assert [character for character in CHARACTERS if not name_key(character) and character.strip()] == []

    def test_never_has_an_accent_of_a_latin_letter(self):
        letters = [c for c in CHARACTERS if unicodedata.name(c, "").startswith("LATIN SMALL LETTER A WITH ")]

        assert len(letters) > 20
        assert {name_key(letter) for letter in letters} == {"a", "aʾ"}  # the latter is `ẚ`

    def test_is_at_most_18_times_as_long_as_the_name(self):
        assert max(len(name_key(character)) for character in CHARACTERS) == 18

    def test_is_short_enough_for_an_index_of_postgresql(self):
        longest = [name_key(character * 100) for character in CHARACTERS if len(name_key(character)) > 1]

        assert max(map(len, longest)) == KEY_LENGTH
        assert max(len(key.encode()) for key in longest) <= 2000

    def test_does_not_change_without_a_migration(self):
        """Names are stored with their keys. If this fails, add a migration that computes the keys again."""
        known = (c for c in CHARACTERS if unicodedata.ucd_3_2_0.category(c) != "Cn")  # stable in all later versions
        keys = "\n".join(name_key(f"a{character}b") for character in known)

        assert (
            hashlib.sha256(keys.encode()).hexdigest()
            == "fd35839a2aca4a3505425a10ff1c833a8e21426b048d49a8c1baf9e1e4a428bd"
        )


class TestSearchParts:
    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("", []),
            ("  ", []),
            ("Rye", ["rye"]),
            ("Rye  BREAD rye", ["rye", "bread"]),
            ("1 2 3 4 5 6 7 8", list("12345678")),
            ("1 2 3 4 5 6 7 8 9 10", [*"1234567", "8 9 10"]),
        ],
    )
    def test_are_the_words(self, text, parts):
        assert search_parts(text) == parts

    def test_of_a_long_text_are_cut(self):
        assert sum(map(len, search_parts("ab" * 1_000_000))) <= KEY_LENGTH
