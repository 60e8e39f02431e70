from django.urls import path

from devices.viewsets import ROW, ROWS
from products.views import PortionViewSet, ProductViewSet

urlpatterns = [
    path("products", ProductViewSet.as_view(ROWS)),
    path("products/<row_id:pk>", ProductViewSet.as_view(ROW)),
    path("products/<row_id:product_id>/portions", PortionViewSet.as_view(ROWS)),
    path("portions/<row_id:pk>", PortionViewSet.as_view(ROW)),
]
