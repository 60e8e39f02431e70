from django.urls import path

from catalog.views import FoodViewSet, SourcesView

urlpatterns = [
    path("catalog/foods", FoodViewSet.as_view({"get": "list"}), name="foods"),
    path("catalog/foods/<row_id:pk>", FoodViewSet.as_view({"get": "retrieve"}), name="food"),
    path("catalog/sources", SourcesView.as_view(), name="food-sources"),
]
