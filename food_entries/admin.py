from datetime import timedelta

from django import forms
from django.contrib import admin
from django.utils import timezone
from rest_framework.exceptions import ValidationError

from countonme.api.fields import parse_time
from devices.models import Device
from food_entries.chart import CHART_DAYS, kcal_chart, latest_day
from food_entries.models import FoodEntry, daily_sums, meal_name
from food_entries.serializers import FoodEntrySerializer
from nutrition.amounts import days
from support.owned_admin import OwnedAdmin, OwnedForm


class FoodEntryForm(OwnedForm):
    """Derives values as the API does: new grams remove the portion, and a new quantity changes the grams."""

    values_to_store: dict

    class Meta:
        labels = {"kcal": "Energy", "product_name": "Name", "meal_type": "Meal"}
        help_texts = {
            "time": "Local time: HH:MM.",
            "grams": "Weight of the whole entry. A new weight removes the portion and the quantity.",
            "quantity": "Number of portions. Default: 1.",
            "kcal": "kcal",
            "protein": "Grams",
            "carbs": "Grams",
            "fat": "Grams",
        }

    def clean_time(self) -> str | None:
        text = self.cleaned_data["time"]
        time = parse_time(text)
        if text and time is None:
            raise forms.ValidationError("A time has the form HH:MM.")
        return time

    def clean_meal_type(self) -> str:
        return meal_name(self.cleaned_data["meal_type"])

    def clean(self) -> None:
        super().clean()
        try:
            self.values_to_store = FoodEntrySerializer(partial=True).values_for_update(self.instance, super().values())
        except ValidationError as error:
            raise forms.ValidationError(error.detail) from error

    def values(self) -> dict:
        return self.values_to_store


@admin.register(FoodEntry)
class FoodEntryAdmin(OwnedAdmin):
    form = FoodEntryForm
    date_hierarchy = "date"
    allowed_filters = (*OwnedAdmin.allowed_filters, "date__year", "date__month", "date__day")
    name_lookup = "product_name__icontains"
    list_display = ("product_name", "grams", "kcal", "date", "time", "meal_type", "deleted_at")
    correctable_fields = ("date", "time", "meal_type", "grams", "quantity")
    displayed_fields = ("product_name", "kcal", "protein", "carbs", "fat", "product", "portion")

    def chart(self, device: Device) -> str:
        last = latest_day(timezone.now())
        first = last - timedelta(days=CHART_DAYS - 1)
        return kcal_chart(days(daily_sums.json_tuples(device=device.pk, first=first, last=last), first, last))
