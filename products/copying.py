"""Fill a new product from the food of the catalogue that it names."""

from django.conf import settings
from django.core.exceptions import ValidationError as InvalidName
from rest_framework.exceptions import ValidationError

from catalog.reading import load
from countonme.api.fields import NIL, sent_uuid
from countonme.db.fields import validate_name
from devices.models import Device
from nutrition.fields import NAME_LENGTH
from nutrition.nutrients import NAMES_100G
from products.models import Product, has_barcode

REQUIRED = {"name", "kcal_100g"}


def fill(device: Device, data):
    """Return the body of a new product with what it doesn't send, from the food in `catalog_food_id`.

    The barcode is left out if another live product has it. Call this in a change set: it holds the device's lock, so
    that no other request can take the barcode. Raise ValidationError if there is no such food and it is needed.
    """
    food_id = sent_uuid(data, "catalog_food_id")
    if food_id in (None, NIL):
        return data
    for food in load([str(food_id)]):
        return values_of(device, food) | data
    if data.keys() >= REQUIRED:
        return data
    message = "The catalogue has no such food. A product that copies none needs a name and kcal_100g."
    raise ValidationError({"catalog_food_id": [message]}, "does_not_exist")


def values_of(device: Device, food: dict) -> dict:
    """Return a food of the catalogue as the body of a new product."""
    barcode = food["barcode"]
    is_taken = barcode and Product.objects.for_device(device).filter(has_barcode(barcode)).exists()
    portions = [
        {"name": portion["name"], "grams": portion["grams"]}
        for portion in food["portions"]
        if is_valid_name(portion["name"])
    ]
    return {
        "name": cut_name(food["name"]),
        "brand": food["brand"] if is_valid_name(food["brand"]) else None,
        "kcal_100g": food["kcal_100g"],
        **{name: food[name] for name in NAMES_100G},
        "unit": food["unit"],
        "barcode": None if is_taken else barcode,
        "portions": portions[: settings.MAX_PORTIONS_PER_PRODUCT],
    }


def cut_name(name: str) -> str:
    """Return the name, cut at the end of a word if it is too long for a product."""
    length = NAME_LENGTH[1]
    if len(name) <= length:
        return name
    words, _, _ = name[: length + 1].rpartition(" ")
    return words.rstrip(" ,;") or name[:length]


def is_valid_name(name: str | None) -> bool:
    """Return whether a product can have this name. The catalogue allows brands and portions without a visible one."""
    try:
        validate_name(name or "")
    except InvalidName:
        return False
    return bool(name)
