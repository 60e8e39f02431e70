"""Names and days that model fields accept."""

import sys
import unicodedata
from datetime import date

import pytest
from django.core.exceptions import ValidationError
from django.db import models

from countonme.db.fields import DayField, NameField, is_visible, validate_day, validate_name


class TestAName:
    @pytest.mark.parametrize("name", ["R", "麦", "\u0301", "🥐", "\u200bR", "\ue000", "\U0001fae9", "\U000323af"])
    def test_may_have_any_visible_character(self, name):
        validate_name(name)

    @pytest.mark.parametrize(
        "character",
        [
            *[" ", "\u00a0", "\u3000", "\u2028", "\u2029"],  # Z
            *["\u0007", "\u0085"],  # Cc
            *["\u00ad", "\u200b", "\u200d", "\u200f", "\u2060", "\ufeff", "\U000e0041"],  # Cf
            *["\u034f", "\u115f", "\u1160", "\u17b4", "\u180b", "\u3164", "\ufe0f", "\uffa0", "\U000e0100"],
            *["\u2065", "\ufff0", "\U000e0fff"],  # reserved
            "\u2800",
        ],
        ids=ascii,
    )
    def test_must_not_have_only_invisible_characters(self, character):
        assert not is_visible(character)
        with pytest.raises(ValidationError, match="no visible character"):
            validate_name(character * 3)

    def test_may_have_a_character_that_python_does_not_know(self):
        unassigned = [chr(code) for code in range(0x1F000, 0x20000) if unicodedata.category(chr(code)) == "Cn"]

        assert len(unassigned) > 100
        assert all(map(is_visible, unassigned))

    def test_may_have_any_letter_number_or_symbol(self):
        shown = [chr(code) for code in range(sys.maxunicode) if unicodedata.category(chr(code))[0] in "LNPS"]

        assert {f"{ord(each):04X}" for each in shown if not is_visible(each)} == {
            "115F",
            "1160",
            "2800",
            "3164",
            "FFA0",
        }


class TestADay:
    @pytest.mark.parametrize("day", [date(1900, 1, 1), date(2026, 1, 5), date(2199, 12, 31)])
    def test_is_accepted_in_these_centuries(self, day):
        validate_day(day)

    @pytest.mark.parametrize("day", [date.min, date(1899, 12, 31), date(2200, 1, 1), date(2569, 1, 5), date.max])
    def test_is_refused_in_others(self, day):
        with pytest.raises(ValidationError, match=r"between 1900-01-01 and 2199-12-31\. Does the phone use"):
            validate_day(day)


class TestAMigration:
    @pytest.mark.parametrize(("field", "base"), [(NameField, models.CharField), (DayField, models.DateField)])
    def test_has_djangos_field(self, field, base):
        assert field().deconstruct()[1:] == base().deconstruct()[1:]
