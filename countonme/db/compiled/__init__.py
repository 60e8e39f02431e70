"""Querysets that are compiled once: their SQL is written once per thread, and each run fills in the values.

    @compiled_query
    def products_by_name(device):
        return Product.objects.for_device(device).by_name()

    products_by_name.models(device=device.pk, limit=50)

docs/compiled-queries.md says what such a function may do, how the results are verified, and how to do without.
"""

from countonme.db.compiled.params import Param, id_filter, transformed
from countonme.db.compiled.query import compiled_query

__all__ = ["Param", "compiled_query", "id_filter", "transformed"]
