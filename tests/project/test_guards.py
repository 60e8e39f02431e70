"""Two guards that a device can only see and change its own live rows.

The first walks the URLconf, the second the syntax trees. Each also fails if it finds no code to check, and each is
tested with code that it has to report.
"""

import ast
import re
from collections.abc import Iterator

import pytest
from django.apps import apps
from django.urls import URLPattern, get_resolver, path
from rest_framework.settings import api_settings
from rest_framework.viewsets import ModelViewSet

from account.views import ErasureView, MeView
from catalog.views import BundlesView, BundleView, FoodViewSet, SourcesView
from countonme.api.schema_views import DocsView, SchemaView
from devices.views import RegisterView, RotateView
from ownership.models import owned_models
from ownership.serializers import OwnedSerializer
from ownership.viewsets import DeviceOwnedViewSet
from products.models import Product
from sync.views import SyncViewSet
from tests.harness.our_apps import our_apps, sources

# Views that use no device-owned table.
WITHOUT_ROWS = {
    BundlesView,
    BundleView,
    DocsView,
    ErasureView,
    FoodViewSet,
    MeView,
    RegisterView,
    RotateView,
    SchemaView,
    SourcesView,
}
# It has no queryset. All its queries filter by the calling device: the second guard and its own tests check that.
OF_ALL_TABLES = {SyncViewSet}

NOT_OWNED = {model.__name__ for model in apps.get_models()} - {model.__name__ for model in owned_models()}
CREATE_METHODS = {"add", "bulk_create", "create"}  # a new row has its device, and needs that device's change set
SQL = re.compile(rf"\b(FROM|INTO|JOIN|UPDATE)\s+({'|'.join(model._meta.db_table for model in owned_models())})\b", re.I)


def api_views(patterns, prefix: str = "") -> Iterator[tuple[str, type]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            if route.startswith("v1/"):
                yield route, pattern.callback.cls
        else:
            yield from api_views(pattern.url_patterns, route)


def unscoped_routes(views) -> list[str]:
    """Return the routes whose view could return rows of other devices."""
    return [route for route, view in views if view not in WITHOUT_ROWS | OF_ALL_TABLES and not is_scoped(view)]


def is_scoped(view: type) -> bool:
    return (
        issubclass(view, DeviceOwnedViewSet)
        and view.get_queryset is DeviceOwnedViewSet.get_queryset
        and view.rows_of.__func__ is DeviceOwnedViewSet.rows_of.__func__
        and view.authentication_classes == api_settings.DEFAULT_AUTHENTICATION_CLASSES
        and view.permission_classes == api_settings.DEFAULT_PERMISSION_CLASSES
    )


def unscoped_lines(source: str, *, in_admin: bool = False) -> list[int]:
    """Return the lines that query a device-owned table without filtering by a device."""
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in {
            "objects",
            "all_objects",
            "_default_manager",
            "_base_manager",
        }:
            method = getattr(parents[node], "attr", None)
            scoped = method in {"for_device", *CREATE_METHODS}
            if ast.unparse(node.value) not in NOT_OWNED and not scoped and not in_admin:
                lines.append(node.lineno)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value):
            lines.append(node.lineno)
    return lines


def descendants(kind: type) -> Iterator[type]:
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


class TestEveryApiView:
    def test_filters_by_the_calling_device(self):
        views = list(api_views(get_resolver().url_patterns))

        assert sum(issubclass(view, DeviceOwnedViewSet) for _, view in views) >= 6
        assert {view for _, view in views} >= WITHOUT_ROWS
        assert unscoped_routes(views) == []

    @pytest.mark.parametrize("base", [ModelViewSet, DeviceOwnedViewSet])
    def test_is_reported_if_it_replaces_the_queryset(self, base):
        class Leak(base):
            def get_queryset(self):
                return Product.all_objects.all()

        assert unscoped_routes(api_views([path("v1/leak", Leak.as_view({"get": "list"}))])) == ["v1/leak"]

    def test_is_reported_if_it_returns_rows_of_all_devices(self):
        class Wide(DeviceOwnedViewSet):
            @classmethod
            def rows_of(cls, device):
                return Product.objects.all()

        assert unscoped_routes(api_views([path("v1/wide", Wide.as_view({"get": "list"}))])) == ["v1/wide"]

    def test_is_reported_if_it_requires_no_token(self):
        class Open(DeviceOwnedViewSet):
            permission_classes = ()

        assert unscoped_routes(api_views([path("v1/open", Open.as_view({"get": "list"}))])) == ["v1/open"]


class TestEverySerializerOfRows:
    def test_has_no_validator_that_would_never_run(self):
        classes = list(descendants(OwnedSerializer))

        assert len(classes) >= 3
        assert [
            name for kind in classes for name in dir(kind) if re.fullmatch("validate_(?!empty_values).+", name)
        ] == []


class TestNoFunction:
    def test_queries_a_device_owned_table_without_its_device(self):
        files = [file for app in our_apps() for file in sources(app)]

        assert sum("for_device" in file.read_text() for file in files) >= 5
        assert [
            f"{file.name}:{line}"
            for file in files
            for line in unscoped_lines(file.read_text(), in_admin=file.name.endswith("admin.py"))
        ] == []

    @pytest.mark.parametrize(
        "offender",
        [
            "Product.objects.filter(name='x')",
            "rows = self.model.all_objects.all()",
            "Portion._base_manager.get(pk=pk)",
            "every = FoodEntry.objects",
            "cursor.execute('SELECT * FROM food_entries WHERE id = %s', [pk])",
        ],
    )
    def test_escapes_the_guard(self, offender):
        assert unscoped_lines(f"def view(request):\n    {offender}\n") == [2]
