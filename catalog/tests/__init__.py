"""Tests of the catalogue, and what they share."""

from io import StringIO
from pathlib import Path

from django.core.management import call_command

from catalog.food import Food, add_words
from catalog.importing import Counts, run
from nutrition.nutrients import NAMES_100G

DATA = Path(__file__).parent / "data"
SR28 = Path(__file__).parent.parent / "data/sr28.zip"


def ignore(counts: Counts) -> None:
    pass


def make_food(name: str, number: int = 1, **values) -> Food:
    """Return a food of Open Food Facts, ready to be stored."""
    barcode = f"{number:014}"
    defaults = {"source": "off", "source_id": barcode, "barcode": barcode, "kcal_100g": 100, "nutrients": {}}
    food = Food(name=name, **defaults | values)
    food.nutrients = dict.fromkeys(NAMES_100G) | food.nutrients
    add_words(food)
    return food


def import_foods(*foods: Food, **options) -> None:
    run("off", "foods", foods, ignore, **options)


def output_of(command: str, *args, **options) -> str:
    """Run a command and return its output."""
    output = StringIO()
    call_command(command, *map(str, args), **options, stdout=output, stderr=StringIO())
    return output.getvalue()
