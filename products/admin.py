from django.contrib import admin

from devices.owned_admin import OwnedAdmin, OwnedForm
from products.models import Portion, Product
from products.names import name_key


class ProductForm(OwnedForm):
    class Meta:
        labels = {"kcal_100g": "Energy", "protein_100g": "Protein", "carbs_100g": "Carbs", "fat_100g": "Fat"}


class NamedAdmin(OwnedAdmin):
    """Finds a part of a name without regard to case or accents, as the API does."""

    name_search = "name_key__contains"

    def name_sought(self, term: str) -> str:
        return name_key(term)


@admin.register(Product)
class ProductAdmin(NamedAdmin):
    form = ProductForm
    list_display = ("name", "kcal_100g", "barcode", "device_id", "created_at", "deleted_at")
    mended = ("name", "kcal_100g", "protein_100g", "carbs_100g", "fat_100g", "barcode")


@admin.register(Portion)
class PortionAdmin(NamedAdmin):
    list_display = ("name", "grams", "is_default", "product", "device_id", "created_at", "deleted_at")
    list_select_related = ("product",)
    mended = ("name", "grams")
    shown = ("is_default", "product")
