"""Lists of tables that may be large: found by an id or how it begins, never counted or sorted whole."""

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
COUNTED = 1000
DIGITS_NEEDED = 8


def ids_from(beginning: str) -> tuple[UUID, UUID] | None:
    """Return the first and the last id that begin so, written with hyphens or without; None if none can."""
    digits = beginning.strip().lower().replace("-", "")
    if not HEX_DIGITS.fullmatch(digits):
        return None
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))


def begins(field: str, beginning: str) -> Q:
    """Return the condition that an id begins so: a range, which its index answers."""
    found = ids_from(beginning)
    return Q(**{f"{field}__gte": found[0], f"{field}__lte": found[1]}) if found else Q(pk__in=())


def is_nearly_an_id(beginning: str) -> bool:
    """Return whether this is at least 8 digits of an id. With fewer, support could browse the rows of all devices."""
    return ids_from(beginning) is not None and len(beginning.strip().replace("-", "")) >= DIGITS_NEEDED


class StateFilter(admin.SimpleListFilter):
    """Narrows a list to one state of rows."""

    title = "state"
    parameter_name = "state"
    states: dict[str, tuple[str, Q]]

    def lookups(self, request, model_admin) -> list[tuple[str, str]]:
        return [(name, label) for name, (label, _) in self.states.items()]

    def queryset(self, request, queryset) -> QuerySet:
        return queryset.filter(self.states[self.value()][1]) if self.value() in self.states else queryset


class CappedPaginator(Paginator):
    """Counts no further than `COUNTED`, which takes as long in a table of millions as in a small one."""

    @cached_property
    def found(self) -> int:
        return self.object_list.order_by()[: COUNTED + 1].count()

    @property
    def count(self) -> int:
        return min(self.found, COUNTED)

    @property
    def is_capped(self) -> bool:
        return self.found > COUNTED


class FixedOrder(ChangeList):
    """A list in the one order that an index has, whatever its address says."""

    def get_ordering(self, request, queryset) -> list[str]:
        return list(self.model_admin.get_ordering(request))

    def get_filters(self, request) -> tuple:
        try:
            return super().get_filters(request)
        except (ValueError, OverflowError) as error:  # the year 9999 has no next one
            raise IncorrectLookupParameters from error


class FoundById(admin.ModelAdmin):
    """A window on a table that may be large."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = CappedPaginator
    change_list_template = "support/change_list.html"
    ordering = ("id",)
    sortable_by = ()
    search_fields = ("id",)
    search_help_text = "Search by the id or its first digits."
    # What an address may narrow a list by. Anything else would read columns that no page shows, such as a hash.
    narrowed_by: tuple[str, ...] = ("state",)

    def changelist_view(self, request, extra_context=None) -> HttpResponse:
        title = {"title": capfirst(self.opts.verbose_name_plural)}
        return super().changelist_view(request, title | (extra_context or {}))

    def get_changelist(self, request, **kwargs) -> type[ChangeList]:
        return FixedOrder

    def lookup_allowed(self, lookup, value, request=None) -> bool:
        """Return whether the query may filter by this lookup. Django treats repeated values as "one of"."""
        return lookup in self.narrowed_by and (request is None or len(request.GET.getlist(lookup)) == 1)

    def get_search_results(self, request, queryset, search_term) -> tuple[QuerySet, bool]:
        return queryset.filter(begins("id", search_term)) if search_term.strip() else queryset, False

    def has_add_permission(self, request, obj=None) -> bool:
        return False

    def has_delete_permission(self, request, obj=None) -> bool:
        return False
