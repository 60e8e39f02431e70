from django.contrib import admin

from devices.owned_admin import OwnedAdmin, OwnedForm
from products.models import Portion, Product


class ProductForm(OwnedForm):
    class Meta:
        labels = {"kcal_100g": "Energy", "protein_100g": "Protein", "carbs_100g": "Carbs", "fat_100g": "Fat"}


@admin.register(Product)
class ProductAdmin(OwnedAdmin):
    form = ProductForm
    list_display = ("name", "kcal_100g", "barcode", "device_id", "created_at", "deleted_at")
    mended = ("name", "kcal_100g", "protein_100g", "carbs_100g", "fat_100g", "barcode")


@admin.register(Portion)
class PortionAdmin(OwnedAdmin):
    list_display = ("name", "grams", "is_default", "product", "device_id", "created_at", "deleted_at")
    list_select_related = ("product",)
    mended = ("name", "grams")
    shown = ("is_default", "product")
