"""Admin lists of large tables: searched by a prefix of the id, with a capped count and a fixed order."""

import re
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.utils.functional import cached_property
from django.utils.text import capfirst

HEX_DIGITS = re.compile(r"[0-9a-f]{1,32}")
MAX_COUNTED = 1000
MIN_DIGITS = 8


def id_range(prefix: str) -> tuple[UUID, UUID] | None:
    """Return the first and the last UUID with this prefix, with or without hyphens, or None if it is not valid."""
    digits = prefix.strip().lower().replace("-", "")
    if not HEX_DIGITS.fullmatch(digits):
        return None
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))


def has_prefix(field: str, prefix: str) -> Q:
    """Return the condition that an id has this prefix. It is a range, so that an index can be used."""
    ids = id_range(prefix)
    return Q(**{f"{field}__gte": ids[0], f"{field}__lte": ids[1]}) if ids else Q(pk__in=())


def is_long_prefix(prefix: str) -> bool:
    """Return whether the prefix has at least 8 digits. With fewer, support could browse the rows of all devices."""
    return id_range(prefix) is not None and len(prefix.strip().replace("-", "")) >= MIN_DIGITS


class StateFilter(admin.SimpleListFilter):
    """A filter by the state of rows."""

    title = "state"
    parameter_name = "state"
    states: dict[str, tuple[str, Q]]

    def lookups(self, request, model_admin) -> list[tuple[str, str]]:
        return [(name, label) for name, (label, _) in self.states.items()]

    def queryset(self, request, queryset) -> QuerySet:
        return queryset.filter(self.states[self.value()][1]) if self.value() in self.states else queryset


class CappedPaginator(Paginator):
    """A paginator that counts up to MAX_COUNTED rows, so that the size of the table does not matter."""

    @cached_property
    def capped_count(self) -> int:
        return self.object_list.order_by()[: MAX_COUNTED + 1].count()

    @property
    def count(self) -> int:
        return min(self.capped_count, MAX_COUNTED)

    @property
    def is_capped(self) -> bool:
        return self.capped_count > MAX_COUNTED


class FixedOrderChangeList(ChangeList):
    """A change list that ignores the order in the query, because only one order has an index."""

    def get_ordering(self, request, queryset) -> list[str]:
        return list(self.model_admin.get_ordering(request))

    def get_filters(self, request) -> tuple:
        try:
            return super().get_filters(request)
        except (ValueError, OverflowError) as error:  # the year 9999 has no next year
            raise IncorrectLookupParameters from error


class LargeTableAdmin(admin.ModelAdmin):
    """An admin of a table that may be large. Rows can neither be added nor deleted."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = CappedPaginator
    change_list_template = "support/change_list.html"
    ordering = ("id",)
    sortable_by = ()
    search_fields = ("id",)
    search_help_text = "Search by the id or its first digits."
    # Allowed filters in the query. Others could reveal columns that no page shows, such as a hash.
    allowed_filters: tuple[str, ...] = ("state",)

    def changelist_view(self, request, extra_context=None) -> HttpResponse:
        title = {"title": capfirst(self.opts.verbose_name_plural)}
        return super().changelist_view(request, title | (extra_context or {}))

    def get_changelist(self, request, **kwargs) -> type[ChangeList]:
        return FixedOrderChangeList

    def lookup_allowed(self, lookup, value, request=None) -> bool:
        """Return whether the query may filter by this lookup, once. Django treats repeated values as "one of"."""
        return lookup in self.allowed_filters and (request is None or len(request.GET.getlist(lookup)) == 1)

    def get_search_results(self, request, queryset, search_term) -> tuple[QuerySet, bool]:
        return queryset.filter(has_prefix("id", search_term)) if search_term.strip() else queryset, False

    def has_add_permission(self, request, obj=None) -> bool:
        return False

    def has_delete_permission(self, request, obj=None) -> bool:
        return False
