from django.urls import path

from ownership.viewsets import RESTORE, ROW, ROWS
from products.views import PortionViewSet, ProductViewSet

urlpatterns = [
    path("products", ProductViewSet.as_view(ROWS), name="products"),
    path("products/<row_id:pk>", ProductViewSet.as_view(ROW), name="product"),
    path("products/<row_id:pk>/restore", ProductViewSet.as_view(RESTORE), name="product-restore"),
    path("products/<row_id:product_id>/portions", PortionViewSet.as_view(ROWS), name="portions"),
    path("portions/<row_id:pk>", PortionViewSet.as_view(ROW), name="portion"),
    path("portions/<row_id:pk>/restore", PortionViewSet.as_view(RESTORE), name="portion-restore"),
]
