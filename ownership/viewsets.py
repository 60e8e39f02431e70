"""`DeviceOwnedViewSet`: the base of all REST viewsets for device-owned rows."""

from functools import lru_cache

from django.db.models import QuerySet
from django.http import QueryDict
from django.utils.functional import cached_property
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from countonme.api.fields import sent_uuid
from countonme.api.pagination import PageQuery, page
from countonme.api.parsers import sent_data
from countonme.api.renderers import JSONResponse
from countonme.db.compiled import compiled_query
from devices.models import Device
from ownership.etags import ConditionalReads
from ownership.models import DeviceOwned, change_set
from ownership.openapi import OwnedSchema
from ownership.serializers import LiveRows, not_found, validate

# Actions by HTTP method, for the URLs of a list, of one row, and of its restore: `as_view(ROW)`.
ROWS = {"get": "list", "post": "create"}
ROW = {"get": "retrieve", "put": "update", "patch": "update", "delete": "destroy"}
RESTORE = {"post": "restore"}

Rows = list[dict]  # an alias, because `list` is an action inside a viewset


class APIViewSet(GenericViewSet):
    """DRF's GenericViewSet, without work that no view here needs."""

    query_class: type[PageQuery] = PageQuery
    pagination_class = None
    filter_backends = ()

    @property
    def default_response_headers(self) -> dict[str, str]:
        return {}  # DRF would add Allow to each response; countonme/api/errors.py adds it to a 405

    def initialize_request(self, request, *args, **kwargs) -> Request:
        """Return DRF's request, with the attributes of Django's request that are read most.

        DRF finds them in `__getattr__()`, after an AttributeError. That takes 6 % of "a day's summary" (`make bench`).
        """
        drf_request = super().initialize_request(request, *args, **kwargs)
        drf_request.META, drf_request.method, drf_request.path = request.META, request.method, request.path
        return drf_request

    def perform_authentication(self, request) -> None:
        """Authenticate without `request.user`, the property that DRF reads: it catches an AttributeError each time."""
        callers = (authenticator.authenticate(request) for authenticator in request.authenticators)
        request.user, request.auth = next(filter(None, callers), (None, None))

    def validate_query(self, query_class: type | None = None) -> dict:
        """Return the values of the query string; raise ValidationError."""
        return validate_query_string(query_class or self.query_class, self.request.META.get("QUERY_STRING", ""))


class DeviceOwnedViewSet(ConditionalReads, APIViewSet):
    """List, create, read, update and delete the caller's live rows, and restore deleted ones.

    No other rows are ever visible.

    A complete subclass, without the texts of the OpenAPI document:

        class NoteViewSet(DeviceOwnedViewSet):
            model = Note
            serializer_class = NoteSerializer

            @classmethod
            def filter_queryset(cls, queryset):
                return queryset.order_by("created_at", "id")

            def perform_create(self, **values):
                note = Note.new(device_id=self.device.pk, **values)
                note.save()
                return note

    Hooks that DRF has too have DRF's names, but differ in two ways:

    - The serializer only validates. Reads return the columns in its `Meta.fields` without building models, by queries
      that are compiled once per thread. So `filter_queryset()` is a class method. It gets the values of the
      query string (`query_class`) as parameters of the SQL. `python -m benchmarks.compiled_queries` measures the gain.
    - `perform_create()`, `perform_update()` and `perform_destroy()` get values and rows, and run inside a change set.

    `restore()` and `find_retry()` are not in DRF. `find_retry()` returns the row that an earlier request with the same
    id has created.
    """

    model: type[DeviceOwned]
    columns: tuple[str, ...]  # those of `serializer_class`; `attach_related()` may add to them
    conditional_reads = ("list", "retrieve")
    conflicts: tuple[str, ...] = ("create",)  # actions that may return 409, for the OpenAPI document
    additions = ("create",)  # actions that a quota may refuse, for the OpenAPI document
    schema = OwnedSchema()

    @property
    def device(self) -> Device:
        return self.request.user

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "model"):
            stored = {field.attname for field in cls.model._meta.concrete_fields}
            cls.columns = tuple(name for name in cls.serializer_class.Meta.fields if name in stored)
            cls.list_query, cls.row_query = compile_queries(cls)

    @cached_property
    def live_rows(self) -> LiveRows:
        """The rows that a request body can refer to."""
        return LiveRows(self.device)

    @classmethod
    def rows_of(cls, device) -> QuerySet:
        return cls.model.objects.for_device(device)

    def get_queryset(self) -> QuerySet:
        return self.rows_of(self.device)

    def list(self, request, **kwargs) -> JSONResponse:
        query = self.validate_query()
        rows, headers = page(request, self.list_query.json, device=self.device.pk, **query)
        return JSONResponse(self.attach_related(rows), headers=headers)

    def retrieve(self, request, pk, **kwargs) -> JSONResponse:
        rows = self.row_query.json(device=self.device.pk, pk=pk)
        rows = rows and self.attach_related(rows)
        if not rows:
            raise not_found(self.model)
        return JSONResponse(rows[0])

    def create(self, request, **kwargs) -> JSONResponse:
        data = sent_data(request)  # before the change set locks the device, because a body can arrive slowly
        with change_set(self.device):
            row = self.find_retry(data)
            if row is not None:
                return JSONResponse(self.to_representation(row))
            row = self.perform_create(**self.validate_new(data))
            return JSONResponse(self.to_representation(row), status=201)

    def update(self, request, pk, **kwargs) -> JSONResponse:
        """Change only the fields that are sent. `PUT` does the same as `PATCH`."""
        data = sent_data(request)
        with change_set(self.device):
            row = self.get_row(pk)
            self.perform_update(row, **validate(self.serializer_class, data, view=self, instance=row, partial=True))
            return JSONResponse(self.to_representation(row))

    def destroy(self, request, pk, **kwargs) -> Response:
        with change_set(self.device):
            self.perform_destroy(self.get_row(pk))
        return Response(status=204)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def restore(self, request, pk, **kwargs) -> JSONResponse:
        """Make a deleted row live again. If the row is live, the request is a retry, and nothing changes."""
        with change_set(self.device):
            row = self.model.all_objects.for_device(self.device).filter(pk=pk).first()
            if row is None:
                raise not_found(self.model)
            if row.deleted_at is not None:
                row.restore()
            return JSONResponse(self.to_representation(row))

    @classmethod
    def filter_queryset(cls, queryset: QuerySet, **query) -> QuerySet:
        """Return the rows of a list, in a total order. `query` has the values of the query string.

        The values are parameters of a compiled query, so the SQL can't depend on them.
        """
        raise NotImplementedError

    def validate_new(self, data) -> dict:
        """Return the values of a new row; raise ValidationError. It runs inside a change set."""
        return validate(self.serializer_class, data, view=self)

    def perform_create(self, **values) -> DeviceOwned:
        """Store a new row and return it. It runs inside a change set."""
        raise NotImplementedError

    def perform_update(self, row: DeviceOwned, **values) -> None:
        row.change(**values)

    def perform_destroy(self, row: DeviceOwned) -> None:
        row.soft_delete()

    def attach_related(self, rows: Rows) -> Rows:
        """Add the columns that come from other tables, and drop rows that were deleted meanwhile."""
        return rows

    def to_representation(self, row: DeviceOwned) -> dict:
        """Return a row that was just written, as a client would read it."""
        return self.attach_related([column_values(row, self.columns)])[0]

    def find_retry(self, data) -> DeviceOwned | None:
        """Return the live row that already has the id of the request body: then the request is a retry."""
        return self.live_rows.get(self.model, sent_uuid(data, "id"))

    def get_row(self, pk) -> DeviceOwned:
        return self.live_rows.get_or_404(self.model, pk)


@lru_cache(maxsize=200)
def validate_query_string(query_class: type, query: str) -> dict:
    """Return the values of a query string. They are cached, so don't change them: many requests send the same one."""
    sent = QueryDict(query.encode("latin-1"))  # as WSGI has decoded it
    return validate(query_class, sent.dict())


def column_values(row: DeviceOwned, columns: tuple[str, ...]) -> dict:
    return {column: getattr(row, column) for column in columns}


def compile_queries(view: type[DeviceOwnedViewSet]) -> tuple:
    """Return the compiled queries of a view: one for its list, one for a single row."""

    @compiled_query
    def list_query(device, **query) -> QuerySet:
        return view.filter_queryset(view.rows_of(device), **query).values(*view.columns)

    @compiled_query
    def row_query(device, pk) -> QuerySet:
        return view.rows_of(device).filter(pk=pk).values(*view.columns)

    return list_query, row_query
