from django.urls import path

from food_entries.views import FoodEntryViewSet
from ownership.viewsets import RESTORE, ROW, ROWS

urlpatterns = [
    path("food-entries", FoodEntryViewSet.as_view(ROWS), name="food-entries"),
    path("food-entries/batch", FoodEntryViewSet.as_view({"post": "create_batch"}), name="food-entries-batch"),
    path("food-entries/summary", FoodEntryViewSet.as_view({"get": "summary"}), name="food-entries-summary"),
    path("food-entries/<row_id:pk>", FoodEntryViewSet.as_view(ROW), name="food-entry"),
    path("food-entries/<row_id:pk>/restore", FoodEntryViewSet.as_view(RESTORE), name="food-entry-restore"),
]
