import pytest

from catalog.food import (
    Refused,
    check_energy_of_macros,
    checked_energy,
    checked_name,
    checked_nutrients,
    checked_portions,
    clean,
    food_id,
    gtin_14,
    number,
)


def refusal_of(check, *args) -> str | None:
    try:
        check(*args)
    except Refused as refusal:
        return refusal.reason
    return None


class TestTheId:
    def test_is_the_same_on_every_server(self):
        assert str(food_id("usda", "01123")) == "96972edc-e0ed-5a2f-9337-2eecc4b3f94a"
        assert str(food_id("off", "04006381333931")) == "d66243ef-797a-587a-87fc-54b5abcbb59f"


class TestGtin14:
    @pytest.mark.parametrize("code", ["042100005264", "0042100005264", "00042100005264", "04252614", "0000004252614"])
    def test_is_the_same_for_each_spelling(self, code):
        assert gtin_14(code) == "00042100005264"

    @pytest.mark.parametrize(
        "code",
        [
            "",
            "4006381333932",
            "12345",
            "00000000000017",
            "100000000000000009",
            "0" * 100 + "4006381333931",
            "4006381333931x",
            "٤٠٠٦٣٨١٣٣٣٩٣١",
            17,
            None,
        ],
    )
    def test_is_none_for_other_codes(self, code):
        assert gtin_14(code) is None


class TestClean:
    def test_removes_entities_controls_and_spaces(self):
        assert clean(" Cr&amp;egrave;me\u202e\x00 \ufffd br&ucirc;l&eacute;e\n") == "Crème brûlée"

    @pytest.mark.parametrize("value", [None, 5, [], {}])
    def test_returns_no_text_for_other_values(self, value):
        assert clean(value) == ""


class TestNumber:
    @pytest.mark.parametrize(("value", "expected"), [(1, 1), (0.5, 0.5), ("12.5", 12.5), ("-1e2", -100), ("007", 7)])
    def test_is_read_from_numbers_and_texts(self, value, expected):
        assert number(value) == expected

    @pytest.mark.parametrize("value", [None, True, "", "x", "1,5", "NaN", "inf", "0x1", "٣", float("nan"), [1], {}])
    def test_is_none_for_other_values(self, value):
        assert number(value) is None

    @pytest.mark.parametrize("value", [float("inf"), -1e300, 10**400, "9e99"])
    def test_is_out_of_all_bounds_if_it_is_huge(self, value):
        assert abs(number(value)) >= 1e15


class TestAName:
    def test_is_refused_without_a_letter(self):
        assert [refusal_of(checked_name, name) for name in ("", "100 %", "🍎", None)] == ["no_name"] * 4

    def test_is_refused_if_no_letter_of_a_product_is_visible(self):
        """A product has the first 100 characters at most."""
        assert refusal_of(checked_name, "\u3164") == "no_name"
        assert refusal_of(checked_name, "\u200d" * 100 + "a") == "no_name"
        assert refusal_of(checked_name, "\u200d" * 99 + "a") is None

    def test_is_refused_over_200_characters(self):
        assert refusal_of(checked_name, "x" * 200) is None
        assert refusal_of(checked_name, "x" * 201) == "long_name"


class TestEnergy:
    @pytest.mark.parametrize(
        ("kcal", "kj", "expected"), [(61.5, None, 62), (0, 500, 0), (None, 418.4, 100), (908.4, None, 908)]
    )
    def test_is_kcal_first(self, kcal, kj, expected):
        assert checked_energy(kcal, kj) == expected

    def test_is_refused_out_of_bounds(self):
        assert refusal_of(checked_energy, None, None) == "no_energy"
        assert refusal_of(checked_energy, 908.5, None) == "kcal_out_of_bounds"
        assert refusal_of(checked_energy, -1, None) == "kcal_out_of_bounds"
        assert refusal_of(checked_energy, None, 3802) == "kcal_out_of_bounds"


class TestNutrients:
    def test_are_rounded_half_up(self):
        values = checked_nutrients({"protein_100g": 0.125, "fat_100g": 100.004, "salt_100g": -0.004})

        assert (values["protein_100g"], values["fat_100g"], values["salt_100g"]) == (0.13, 100, 0)
        assert values["carbs_100g"] is None

    @pytest.mark.parametrize("value", [-0.01, 100.01, 1e300])
    def test_are_refused_out_of_bounds(self, value):
        assert refusal_of(checked_nutrients, {"salt_100g": number(value)}) == "nutrient_out_of_bounds"

    def test_are_refused_if_macros_are_over_105_g(self):
        assert refusal_of(checked_nutrients, {"protein_100g": 35, "carbs_100g": 35, "fat_100g": 35}) is None
        assert (
            refusal_of(checked_nutrients, {"protein_100g": 35, "carbs_100g": 35, "fat_100g": 35.01})
            == "too_many_macros"
        )


class TestTheEnergyOfMacros:
    @pytest.mark.parametrize(
        ("kcal", "protein", "carbs", "fat", "alcohol", "reason"),
        [
            (884, 0, 0, 100, None, None),  # oil
            (42, 0, 10.6, 0, None, None),  # cola
            (240, 0, 100, 0, None, None),  # polyols
            (231, 0, 0, 0, 40, None),  # a spirit
            (231, 0, 0, 0, None, None),  # a spirit whose alcohol is unknown
            (0, 0, 12.5, 0, None, None),
            (0, 0, 12.6, 0, None, "more_energy_in_macros"),
            (100, None, None, 20, None, "more_energy_in_macros"),
            (401, 0, 10, 0, None, "less_energy_in_macros"),
            (500, None, 10, 10, None, None),  # the protein may have the energy
            (500, 5, 10, 10, None, "less_energy_in_macros"),
        ],
    )
    def test_is_refused_if_it_contradicts(self, kcal, protein, carbs, fat, alcohol, reason):
        values = {"protein_100g": protein, "carbs_100g": carbs, "fat_100g": fat, "fiber_100g": None}

        assert refusal_of(check_energy_of_macros, kcal, values, alcohol) == reason


class TestPortions:
    def test_have_a_name_and_a_weight(self):
        portions = [
            ("cup ", 240.005),
            ("cup", 250),
            ("", 5),
            ("bag", None),
            ("ton", 1e6),
            ("crumb", 0.001),
            ("x" * 101, 1),
        ]

        assert checked_portions(portions) == [("cup", 240.01), ("x" * 100, 1)]
