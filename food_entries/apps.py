from django.apps import AppConfig


class FoodEntriesConfig(AppConfig):
    name = "food_entries"
    verbose_name = "Food entries"
