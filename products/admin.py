from django.contrib import admin

from devices.admin import KEPT, OwnedAdmin
from products.models import Portion, Product


@admin.register(Product)
class ProductAdmin(OwnedAdmin):
    list_display = ("name", "kcal_100g", "barcode", "device_id", "created_at", "deleted_at")
    mended = ("name", "kcal_100g", "protein_100g", "carbs_100g", "fat_100g", "barcode")
    fields = (*mended, *KEPT)


@admin.register(Portion)
class PortionAdmin(OwnedAdmin):
    list_display = ("name", "grams", "is_default", "product", "device_id", "created_at", "deleted_at")
    list_select_related = ("product",)
    mended = ("name", "grams")
    fields = (*mended, "is_default", "product", *KEPT)
