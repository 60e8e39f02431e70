import unicodedata
from collections.abc import Callable
from functools import partial

from django.db import migrations

from nutrition.names import name_key

MODELS = ("Product", "Portion")
LETTER_CLASSES = {9, 84, 91, 103, 118, 129, 130, 132}


def fold_names(apps, schema_editor, key_of: Callable = name_key) -> None:
    """Compute the keys of all names again, and store those that differ.

    Each row is updated by itself, and only if it still has the name: so no lock is held, and no change is overwritten.
    """
    devices = list(apps.get_model("devices", "Device")._base_manager.values_list("pk", flat=True))
    for model in (apps.get_model("products", name) for name in MODELS):
        for device in devices:
            rows = model._base_manager.filter(device=device)
            for pk, name, key in list(rows.values_list("pk", "name", "name_key")):
                if key != (new := key_of(name)):
                    rows.filter(pk=pk, name=name).update(name_key=new)


def earlier_key(name: str) -> str:
    """Return the key of the previous release: without case and accents."""
    text = unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
    return "".join(character for character in text if not is_mark(character))


def is_mark(character: str) -> bool:
    is_selector = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    return is_selector or unicodedata.combining(character) not in {0, *LETTER_CLASSES}


class Migration(migrations.Migration):
    """Names are found also without strokes and ligatures, and with any kind of apostrophe, hyphen and space.

    The key is that of the present `name_key()`, as in each row that is stored from now on. If the function changes, a
    migration of that change computes the keys again.
    """

    atomic = False

    dependencies = [("products", "0004_one_key_to_the_product")]

    operations = [migrations.RunPython(fold_names, partial(fold_names, key_of=earlier_key), elidable=True)]
