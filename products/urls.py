from django.urls import path

from ownership.viewsets import ROW, ROWS
from products.views import PortionViewSet, ProductViewSet

urlpatterns = [
    path("v1/products", ProductViewSet.as_view(ROWS)),
    path("v1/products/<row_id:pk>", ProductViewSet.as_view(ROW)),
    path("v1/products/<row_id:product_id>/portions", PortionViewSet.as_view(ROWS)),
    path("v1/portions/<row_id:pk>", PortionViewSet.as_view(ROW)),
]
