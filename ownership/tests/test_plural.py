import pytest

from ownership.plural import pluralize


class TestPluralize:
    @pytest.mark.parametrize(("number", "text"), [(0, "0 devices"), (1, "1 device"), (2, "2 devices")])
    def test_has_the_noun_in_singular_or_plural(self, number, text):
        assert pluralize(number, "device") == text

    @pytest.mark.parametrize(("number", "text"), [(1, "1 food entry"), (2, "2 food entries")])
    def test_can_have_an_irregular_plural(self, number, text):
        assert pluralize(number, "food entry", "food entries") == text
