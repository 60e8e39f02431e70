import re
from dataclasses import replace

from django.contrib import admin
from django.db.models import F, Q, QuerySet
from django.urls import reverse
from django.utils.html import format_html_join
from rest_framework.exceptions import APIException

from nutrition.gtin import is_barcode
from nutrition.names import contains_parts, search_parts
from nutrition.nutrients import NAMES_100G, NUTRIENTS
from products.models import Portion, Product, has_barcode, has_parts
from support.owned_admin import DELETE, RESTORE, OwnedAdmin, OwnedForm, link_to

PORTIONS_SHOWN = 50


class ProductForm(OwnedForm):
    class Meta:
        labels = {"kcal_100g": "Energy", **{nutrient.per_100g: nutrient.label for nutrient in NUTRIENTS}}


class NameSearchAdmin(OwnedAdmin):
    """Searches by the words of a name, as the API does."""

    name_column = "name_key"

    def contains_words(self, rows: QuerySet, text: str) -> Q:
        return Q(*contains_parts("name_key", search_parts(text)))


@admin.register(Product)
class ProductAdmin(NameSearchAdmin):
    form = ProductForm
    support_actions = (
        replace(DELETE, description=f"Its portions are deleted too. Food entries stay unchanged. {DELETE.description}"),
        replace(RESTORE, description=f"The portions that were deleted with it are restored too. {RESTORE.description}"),
    )
    list_display = ("name", "brand", "energy", "barcode", "changed_at", "deleted_at")
    correctable_fields = ("name", "brand", "kcal_100g", *NAMES_100G, "unit", "barcode")
    displayed_fields = ("portions", "is_favorite", "catalog_food_id")

    @property
    def search_help_text(self) -> str:
        return f"{super().search_help_text} A barcode, or 4 digits of it, finds products too."

    def contains_words(self, rows: QuerySet, text: str) -> Q:
        """Search in names and brands, as the API does, and by a barcode or at least 4 digits of one."""
        found = Q(*has_parts(search_parts(text)))
        digits = re.sub("[ -]", "", text)
        if not re.fullmatch("[0-9]{4,14}", digits):
            return found
        found |= Q(barcode__contains=digits)
        return found | has_barcode(digits) if is_barcode(digits) else found

    @admin.display(description="kcal per 100 g")
    def energy(self, product: Product) -> int:
        return product.kcal_100g

    @admin.display(description="Portions")
    def portions(self, product: Product) -> str:
        """Return links to the portions of the product, live ones first, with their grams and state."""
        live_first = (F("deleted_at").desc(nulls_first=True), "-is_default", "name_key", "id")
        rows = Portion.all_objects.for_device(product.device_id).filter(product=product).order_by(*live_first)
        return format_html_join(
            "",
            '<p><a href="{}">{}</a>, {} g{}{}</p>',
            (
                (
                    reverse("admin:products_portion_change", args=[row.pk]),
                    row.name,
                    row.grams,
                    " (default)" if row.is_default and not row.deleted_at else "",
                    " (deleted)" if row.deleted_at else "",
                )
                for row in rows[:PORTIONS_SHOWN]
            ),
        )


@admin.register(Portion)
class PortionAdmin(NameSearchAdmin):
    list_display = ("name", "grams", "is_default", "product", "changed_at", "deleted_at")
    list_select_related = ("product",)
    correctable_fields = ("name", "grams")
    displayed_fields = ("is_default", "product")

    def links_to_conflicts(self, row: Portion, error: APIException) -> list[tuple[str, str]]:
        """Link to the product too: a portion can't be restored before it."""
        return [*super().links_to_conflicts(row, error), link_to(Product, row.product_id)]
