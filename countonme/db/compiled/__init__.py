"""Compiled queries: querysets whose SQL is built once per thread. Each run only fills in the values.

    @compiled_query
    def products_by_name(device):
        return Product.objects.for_device(device).by_name()

    products_by_name.models(device=device.pk, limit=50)

docs/compiled-queries.md describes what such a function may do, how the results are verified, and the alternative.
"""

from countonme.db.compiled.params import Param, id_filter, transformed
from countonme.db.compiled.query import compiled_query

__all__ = ["Param", "compiled_query", "id_filter", "transformed"]
