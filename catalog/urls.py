from django.urls import path

from catalog.views import BundlesView, BundleView, FoodViewSet, SourcesView

urlpatterns = [
    path("catalog/foods", FoodViewSet.as_view({"get": "list"}), name="foods"),
    path("catalog/foods/<row_id:pk>", FoodViewSet.as_view({"get": "retrieve"}), name="food"),
    path("catalog/bundles", BundlesView.as_view(), name="food-bundles"),
    path("catalog/bundles/<str:source>", BundleView.as_view(), name="food-bundle"),
    path("catalog/sources", SourcesView.as_view(), name="food-sources"),
]
