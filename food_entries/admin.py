from datetime import timedelta
from itertools import islice

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.utils import timezone
from rest_framework.exceptions import ValidationError

from countonme.api.fields import parse_time
from devices.models import Device
from food_entries.chart import CHART_DAYS, kcal_chart, latest_day
from food_entries.models import FoodEntry, daily_sums, meal_name
from food_entries.serializers import FoodEntrySerializer
from nutrition.amounts import days
from nutrition.names import name_key, search_parts
from nutrition.nutrients import NAMES, PER_100G
from support.owned_admin import OwnedAdmin, OwnedForm

NAMES_FOUND = 1000  # a search shows the entries of at most so many different names


class FoodEntryForm(OwnedForm):
    """Derives values as the API does: new grams remove the portion, and a new quantity changes the grams."""

    values_to_store: dict

    class Meta:
        labels = {"kcal": "Energy", "product_name": "Name", "meal_type": "Meal"}
        help_texts = {
            "date": "The phone's day, as YYYY-MM-DD.",
            "time": "The phone's local time, as HH:MM.",
            "grams": "Weight of the whole entry. A new weight removes the portion and the quantity.",
            "quantity": "Number of portions. Default: 1.",
            "kcal": "kcal",
            **dict.fromkeys(NAMES, "Grams"),
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
    name_column = "product_name"
    list_display = ("product_name", "grams", "kcal", "date", "local_time", "meal_type", "changed_at", "deleted_at")
    correctable_fields = ("date", "time", "meal_type", "grams", "quantity")
    displayed_fields = (
        *("product_name", "unit", "portion_name", "portion_grams", *PER_100G),
        *("product", "portion"),
    )

    def contains_words(self, rows: QuerySet, text: str) -> Q:
        """Compare the distinct names in Python, because entries have no key of their name."""
        parts = search_parts(text)
        names = rows.order_by().values_list("product_name", flat=True).distinct()
        found = (name for name in names if all(part in name_key(name) for part in parts))
        return Q(product_name__in=list(islice(found, NAMES_FOUND)))

    @admin.display(description="Local time")
    def local_time(self, entry: FoodEntry) -> str | None:
        return entry.time and entry.time[:5]

    def chart(self, device: Device) -> str:
        last = latest_day(timezone.now())
        first = last - timedelta(days=CHART_DAYS - 1)
        return kcal_chart(days(daily_sums.json_tuples(device=device.pk, first=first, last=last), first, last))
