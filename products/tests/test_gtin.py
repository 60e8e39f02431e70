import pytest
from django.core.exceptions import ValidationError

from nutrition.gtin import GTIN_VALIDATORS, check_digit

REAL = {
    "GTIN-8, GS1's example": "96385074",
    "GTIN-8, with a check digit of 0": "40170725"[:7] + "5",
    "GTIN-12, a pack of tissues": "036000291452",
    "GTIN-13, a marker pen": "4006381333931",
    "GTIN-13, a can of cola": "5449000000996",
    "GTIN-13, a chocolate spread": "3017620422003",
    "GTIN-13, a book": "9780306406157",
    "GTIN-14, a case": "10614141000415",
    "GTIN-14, with leading zeros": "00012345600012",
}
gtins = pytest.mark.parametrize("gtin", REAL.values(), ids=REAL.keys())


def refusals(value: str) -> list[str]:
    codes = []
    for validate in GTIN_VALIDATORS:
        try:
            validate(value)
        except ValidationError as error:
            codes.append(error.code)
    return codes


class TestCheckDigit:
    @gtins
    def test_is_the_last_digit_of_a_real_gtin(self, gtin):
        assert check_digit(gtin[:-1]) == int(gtin[-1])


class TestGtinValidators:
    @gtins
    def test_accept_a_real_gtin(self, gtin):
        assert refusals(gtin) == []

    @gtins
    def test_reject_any_single_misread_digit(self, gtin):
        misread = [
            gtin[:position] + digit + gtin[position + 1 :]
            for position in range(len(gtin))
            for digit in "0123456789"
            if digit != gtin[position]
        ]

        assert len(misread) == 9 * len(gtin)
        assert {tuple(refusals(value)) for value in misread} == {("check_digit",)}

    @pytest.mark.parametrize("length", [0, 1, 7, 9, 10, 11, 15, 20])
    def test_reject_any_other_length(self, length):
        assert refusals("0" * length) == ["invalid"]

    @pytest.mark.parametrize(
        "value", ["9638507٤", "9638507x", "96385074\n", " 96385074", "9638-5074", "９６３８５０７４"]
    )
    def test_reject_anything_but_digits(self, value):
        assert refusals(value) == ["invalid"]
