"""The admin of the catalogue, to read only: imports change it."""

from django.contrib import admin
from django.db.models import Case, IntegerField, QuerySet, Value, When
from django.utils.html import format_html, format_html_join

from catalog.food import gtin_14
from catalog.management.import_command import REASONS
from catalog.models import CatalogFood, CatalogRelease
from catalog.search import search
from catalog.sources import SOURCES
from countonme.api.fields import parse_uuid
from nutrition.nutrients import NAMES_100G
from support.audit import AuditedAdmin
from support.changelist import LargeTableAdmin

MAX_SEARCH = 100  # characters, as in the API
FOUND = 100  # foods: a page
STATES = {0: "generic", 1: "popular", 2: "other", None: "withdrawn"}


class CatalogAdmin(AuditedAdmin, LargeTableAdmin):
    change_form_template = "support/read_only.html"
    allowed_filters = ()

    def has_change_permission(self, request, obj=None) -> bool:
        return False


@admin.register(CatalogFood)
class CatalogFoodAdmin(CatalogAdmin):
    list_display = ("name", "brand", "energy", "barcode", "source", "state")
    ordering = ("serial",)
    search_fields = ("uuid",)
    search_help_text = "Search by words of the name or brand, as the app does, or by a barcode or id."
    fields = readonly_fields = (
        *("uuid", "name", "brand", "lang", "countries", "barcode", "unit", "kcal_100g", *NAMES_100G, "portions"),
        *("source", "source_id", "page", "license", "state", "weight", "scans", "words", "release", "updated_at"),
    )

    def get_search_results(self, request, queryset, search_term) -> tuple[QuerySet, bool]:
        """Search as the API does: with indexes, and for one page of foods."""
        term = search_term.strip()[:MAX_SEARCH]
        if not term:
            return queryset, False
        if food_id := parse_uuid(term):
            return queryset.filter(uuid=food_id), False
        if barcode := gtin_14(term):
            return queryset.filter(barcode=barcode), False
        ids = search(term, None, FOUND)
        places = [When(uuid=food_id, then=Value(place)) for place, food_id in enumerate(ids)]
        best_first = Case(*places, output_field=IntegerField())
        return (queryset.filter(uuid__in=ids).order_by(best_first) if ids else queryset.none()), False

    @admin.display(description="kcal per 100 g or ml")
    def energy(self, food: CatalogFood) -> int:
        return food.kcal_100g

    @admin.display(description="State")
    def state(self, food: CatalogFood) -> str:
        return STATES[food.tier]

    @admin.display(description="Portions")
    def portions(self, food: CatalogFood) -> str:
        rows = food.portions.order_by("position").values_list("name", "grams")
        return format_html_join("", "<p>{}: {} {}</p>", ((name, grams, food.unit) for name, grams in rows))

    @admin.display(description="Page of the source")
    def page(self, food: CatalogFood) -> str:
        address = SOURCES[food.source].url_of(food.source_id)
        return format_html('<a href="{}" rel="noreferrer">{}</a>', address, address)

    @admin.display(description="License")
    def license(self, food: CatalogFood) -> str:
        return SOURCES[food.source].license


@admin.register(CatalogRelease)
class CatalogReleaseAdmin(CatalogAdmin):
    list_display = ("id", "source", "file_name", "started_at", "finished_at", "read", "changed", "withdrawn", "foods")
    ordering = ("-id",)  # the latest first
    search_fields = ()
    fields = readonly_fields = (
        *("source", "file_name", "started_at", "finished_at", "read", "changed", "withdrawn", "reasons", "foods"),
    )

    def get_search_results(self, request, queryset, search_term) -> tuple[QuerySet, bool]:
        return queryset, False

    @admin.display(description="Refused")
    def reasons(self, release: CatalogRelease) -> str:
        """Return how many rows were refused for each reason, the most frequent first."""
        counts = sorted(release.refused.items(), key=lambda item: -item[1])
        rows = ((f"{number:,}", REASONS.get(reason, reason)) for reason, number in counts)
        return format_html_join("", "<p>{} because {}</p>", rows) or "0"
