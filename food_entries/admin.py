from django.contrib import admin

from devices.admin import KEPT, OwnedAdmin
from food_entries.models import FoodEntry


@admin.register(FoodEntry)
class FoodEntryAdmin(OwnedAdmin):
    list_display = ("product_name", "grams", "kcal", "date", "meal_type", "device_id", "created_at", "deleted_at")
    mended = ("date", "meal_type")
    fields = (
        *mended,
        "product_name",
        "grams",
        "kcal",
        "protein",
        "carbs",
        "fat",
        "product",
        "portion",
        "quantity",
        *KEPT,
    )
