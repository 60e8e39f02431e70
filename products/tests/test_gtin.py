import pytest
from django.core.exceptions import ValidationError

from nutrition.gtin import GTIN_VALIDATORS, barcode_number, check_digit, expand_upc_e, is_upc_e

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


# UPC-E codes with their GTIN-12. The digit before the check digit says which zeros were left out.
UPC_E = {
    "04252614": "042100005264",
    "01234505": "012000003455",
    "06543217": "065100004327",
    "01278925": "012200007895",
    "01234531": "012300000451",
    "01234543": "012340000053",
    "01234558": "012345000058",
    "01234565": "012345000065",
    "01234572": "012345000072",
    "01234589": "012345000089",
    "01234596": "012345000096",
    "11234562": "112345000062",
}
upc_es = pytest.mark.parametrize(("code", "gtin"), UPC_E.items())


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

    @upc_es
    def test_accept_a_upc_e(self, code, gtin):
        assert refusals(code) == []

    @pytest.mark.parametrize("code", ["04252615", "14252614", "24252618", "01234532", "01234544", "01234567"])
    def test_reject_a_upc_e_with_a_wrong_digit(self, code):
        assert refusals(code) == ["check_digit"]


class TestUpcE:
    @upc_es
    def test_is_short_for_a_gtin_12(self, code, gtin):
        assert check_digit(gtin[:-1]) == int(gtin[-1])
        assert expand_upc_e(code) == gtin
        assert is_upc_e(code)

    @pytest.mark.parametrize(
        "code", ["96385074", "04252615", "24252618", "0425261", "042526140", "0425261٤", "04252614\n", "042100005264"]
    )
    def test_is_nothing_else(self, code):
        assert not is_upc_e(code)

    def test_has_one_check_digit(self):
        for item in range(0, 2_000_000, 997):
            codes = [f"{item:07d}{digit}" for digit in range(10)]

            assert sum(map(is_upc_e, codes)) == 1


class TestBarcodeNumber:
    @gtins
    def test_is_the_number_that_the_digits_make(self, gtin):
        assert barcode_number(gtin) == int(gtin)

    @upc_es
    def test_of_a_upc_e_is_that_of_its_gtin_12(self, code, gtin):
        assert {barcode_number(each) for each in (code, gtin, f"0{gtin}", f"00{gtin}")} == {int(gtin)}

    def test_of_a_code_that_is_also_a_gtin_8_is_that_of_the_upc_e(self):
        assert check_digit("0123314") == 8

        assert barcode_number("01233148") == 12330000018
        assert barcode_number("00000001233148") == 1233148  # the GTIN-8

    def test_of_a_gtin_8_that_is_no_upc_e_is_its_own(self):
        assert not is_upc_e("04252610")

        assert refusals("04252610") == []
        assert barcode_number("04252610") == 4252610
