"""Hypothesis strategies for request bodies and query parameters. Most are valid, some are not."""

from hypothesis import strategies as st

from tests.contract.values import NIL

NAMES = st.sampled_from(
    [
        *["Rye", "rye ", "  Oats", "Éclair", "ECLAIR", "Straße", "麦", "x" * 100, "100g", "%_\\"],
        *["Masło", "Œuf dur", "Reese’s \u00a0 cup", "Ispanak", "ISPANAK"],
    ]
)
GRAMS = st.sampled_from([0.01, 1, 35.5, 99.995, 250, 1000, 0.30000000000000004])
QUANTITIES = st.sampled_from([0.5, 1, 2, 2.675, 1000, 0.01])
NUTRIENTS = st.sampled_from([None, 0, 0.01, 8.5, 33.335, 99.999, 100])
BRANDS = st.sampled_from([None, "Müsli & Co", "rye", "  Œko ", "x" * 100])
IDS_OF_FOODS = st.sampled_from([None, "0e2d4c6b-8a1f-4b3d-9e5c-7f6a8b0c2d4e"])
BARCODES = st.sampled_from(
    [
        *[None, "96385074", "0000096385074", "012345678905", "4006381333931", "14006381333938"],
        *["04252614", "042100005264", "00042100005264", "01234531", "0012300000451", "01233148", "012330000018"],
    ]
)
DAYS = st.sampled_from(["2026-01-05", "2026-01-06", "2024-02-29"])
TIMES = st.sampled_from([None, "07:30", "07:30:00", "07:30:00.001", "23:59:59.999", "00:00"])
MEAL_TYPES = st.sampled_from(
    [*["breakfast", "lunch", "dinner", "snacks"] * 2, "LUNCH", " Snacks", "Brunch", "brunch ", "other", "麦" * 30]
)
INVALID = {
    "id": [7, "x", "", NIL],
    "name": ["", "   ", "x" * 101, 5, None, "a\0b", "\ud800", "\u200b", "\u3164 \u2800"],
    "kcal_100g": [-1, -0.5, 1001, 1000.5, "52", None, True, 10**400],
    "protein_100g": [-0.01, 100.005, "8", False],
    "salt_100g": [-0.01, 100.005, "1.5", True, []],
    "brand": ["", "  ", "x" * 101, 5, "a\0b", "\u200b"],
    "unit": ["kg", "G", 1, "", None, ["g"]],
    "is_favorite": [1, "true", None],
    "catalog_food_id": [7, "x", "", NIL],
    "barcode": ["", "4006381333932", "123", "04252615", 96385074, "9638507４"],
    "grams": [0, 0.004, -1, 10**9, "70", True],
    "quantity": [0, 0.004, 1000.005, "2"],
    "is_default": [1, "true", None],
    "date": ["2026-02-30", "2569-01-05", "1899-12-31", "20260105", "2026-1-5", 5, None],
    "time": ["", "7:30", "24:00", "12:60", "12:00:60", "12:00:00.1", "12:00Z", "12:00:00.0001", 730],
    "meal_type": ["", "  ", "x" * 31, "a\0b", "\ud800", 1, None],
}
IGNORED = {"unknown": st.just([1])}  # a field that the API doesn't have


def chance(times: int):
    """Return a strategy for booleans that are true this many times in ten."""
    return st.integers(0, 9).map(lambda number: number < times)


def bodies(required: dict, optional: dict, *may_be_invalid: str):
    """Return a strategy for bodies with all `required` fields and some `optional` ones.

    One in twelve has an invalid value in one of the fields that `may_be_invalid`. One in twelve lacks a required field.
    """
    # Deferred, because Hypothesis warns about the length of the strategies' texts.
    valid = st.deferred(lambda: st.fixed_dictionaries(required, optional=optional | IGNORED))
    invalid_values = st.sampled_from(may_be_invalid).flatmap(
        lambda name: st.fixed_dictionaries({name: st.sampled_from(INVALID[name])})
    )
    missing = st.sampled_from([*required, "unknown"])
    return st.one_of(
        *[valid] * 10,
        st.builds(lambda body, value: body | value, valid, invalid_values),
        st.builds(lambda body, name: {key: value for key, value in body.items() if key != name}, valid, missing),
    )


PRODUCT_REQUIRED = {"name": NAMES, "kcal_100g": st.sampled_from([0, 52, 259, 1000, 61.5, 1000.4, -0.4])}
PRODUCT_OPTIONAL = {
    "protein_100g": NUTRIENTS,
    "carbs_100g": NUTRIENTS,
    "fat_100g": NUTRIENTS,
    "sugars_100g": NUTRIENTS,
    "saturated_fat_100g": NUTRIENTS,
    "fiber_100g": NUTRIENTS,
    "salt_100g": NUTRIENTS,
    "brand": BRANDS,
    "unit": st.sampled_from(["g", "ml"]),
    "is_favorite": st.booleans(),
    "catalog_food_id": IDS_OF_FOODS,
    "barcode": BARCODES,
}
PRODUCT_INVALID = (
    *("name", "brand", "kcal_100g", "protein_100g", "salt_100g", "unit", "barcode"),
    *("is_favorite", "catalog_food_id"),
)
NEW_PRODUCTS = bodies(PRODUCT_REQUIRED, PRODUCT_OPTIONAL, *PRODUCT_INVALID)
PRODUCT_CHANGES = bodies({}, PRODUCT_REQUIRED | PRODUCT_OPTIONAL, *PRODUCT_INVALID)

# A push creates some products and changes others. Each can have any of the fields.
PUSHED_PRODUCTS = st.one_of(NEW_PRODUCTS, PRODUCT_CHANGES)
MORE_IN_A_PUSH = [
    {"weights": {"created": [{"id": "w1", "kg": 70}], "deleted": ["w2", "W2"]}},
    {"weights": {"updated": []}},
    {"changes": {}},
    {"portions": {"create": []}},
    {"portions": {}},
]

PORTION_REQUIRED = {"name": NAMES, "grams": GRAMS}
PORTION_OPTIONAL = {"is_default": st.booleans()}
PORTION_INVALID = ("name", "grams", "is_default")
NEW_PORTIONS = bodies(PORTION_REQUIRED, PORTION_OPTIONAL, *PORTION_INVALID)
PORTION_CHANGES = bodies({}, PORTION_REQUIRED | PORTION_OPTIONAL, *PORTION_INVALID)

ENTRY_INVALID = ("date", "time", "meal_type", "grams", "quantity")
ENTRY_OPTIONAL = {"time": TIMES, "meal_type": MEAL_TYPES}
ENTRIES_BY_WEIGHT = bodies({"grams": GRAMS, "date": DAYS}, ENTRY_OPTIONAL, *ENTRY_INVALID)
ENTRIES_BY_PORTION = bodies({"date": DAYS}, ENTRY_OPTIONAL | {"quantity": QUANTITIES}, *ENTRY_INVALID)
ENTRY_CHANGES = bodies({}, {"grams": GRAMS, "quantity": QUANTITIES, "date": DAYS} | ENTRY_OPTIONAL, *ENTRY_INVALID)

PAGES = st.fixed_dictionaries(
    {}, optional={"limit": st.sampled_from([1, 2, 3, 200, 0, 201]), "offset": st.sampled_from([0, 1, 4, -1])}
)
SEARCHES = st.sampled_from(
    [
        "rye",
        "É",
        "ss",
        "X",
        "%",
        "麦",
        "",
        "zz",
        "maslo",
        "dur oeuf",
        "cup reese's",
        "reese’s  CUP",
        "ıspanak",
        "u r",
        "musli rye",
        "oeko",
    ]
)
PRODUCT_FILTERS = st.builds(
    lambda search, favorite, barcode: search | favorite | barcode,
    st.one_of(st.just({}), st.fixed_dictionaries({"search": SEARCHES})),
    st.fixed_dictionaries({}, optional={"favorite": st.sampled_from(["true", "false"])}),
    st.one_of(*[st.just({})] * 4, st.fixed_dictionaries({"barcode": BARCODES.filter(bool)})),
)
ENTRY_FILTERS = st.one_of(
    st.fixed_dictionaries({}, optional={"from": DAYS, "to": DAYS, "meal_type": MEAL_TYPES}),
    st.fixed_dictionaries({"date": DAYS}),
)
