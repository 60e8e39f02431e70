from django.urls import path

from food_entries.views import FoodEntryViewSet
from ownership.viewsets import ROW, ROWS

urlpatterns = [
    path("v1/food-entries", FoodEntryViewSet.as_view(ROWS)),
    path("v1/food-entries/summary", FoodEntryViewSet.as_view({"get": "summary"})),
    path("v1/food-entries/<row_id:pk>", FoodEntryViewSet.as_view(ROW)),
]
