"""Numbers with their nouns, for messages: "1 device", "2 devices"."""

from collections.abc import Mapping

from ownership.models import owned_models


def pluralize(number: int, singular: str, plural: str = "") -> str:
    """Return the number with its noun. The plural ends in "s" unless it is given."""
    return f"{number} {singular if number == 1 else plural or f'{singular}s'}"


def describe_rows(rows: Mapping[str, int]) -> str:
    """Return the numbers of rows by table as a text: "1 food entry, 2 products". It is empty for no table."""
    names = {
        model._meta.db_table: (model._meta.verbose_name, model._meta.verbose_name_plural) for model in owned_models()
    }
    return ", ".join(pluralize(number, *map(str, names[table])) for table, number in sorted(rows.items()))
