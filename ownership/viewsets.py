from functools import lru_cache

from django.db.models import QuerySet
from django.http import QueryDict
from django.utils.functional import cached_property
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from countonme.api.errors import NotFound
from countonme.api.fields import sent_uuid
from countonme.api.pagination import PageQuery, page
from countonme.api.parsers import sent_data
from countonme.api.renderers import Answer
from countonme.db.compiled import compiled_query
from devices.models import Device
from ownership.etags import ConditionalReads
from ownership.models import DeviceOwned, change_set
from ownership.serializers import LiveRows, checked

# What the methods of a row and of a list of rows do: `as_view(ROW)`.
ROW = {"get": "retrieve", "put": "update", "patch": "update", "delete": "destroy"}
ROWS = {"get": "list", "post": "create"}

Rows = list[dict]  # inside of a viewset `list` is an action


class DeviceOwnedViewSet(ConditionalReads, GenericViewSet):
    """The one place that narrows a view to the caller's live rows.

    A subclass names its `model`, its `serializer_class` and its `query_class`, and says what is in its list
    (`narrowed`) and how a row is born (`added`). Reading builds no model and no serializer: the columns that
    `serializer_class` shows are read as they are, by queries that are compiled once, and the renderer writes them.
    """

    model: type[DeviceOwned]
    columns: tuple[str, ...]  # what `serializer_class` shows, less what `completed` adds
    query_class: type[PageQuery] = PageQuery
    conditional_reads = ("list", "retrieve")
    conflicts: tuple[str, ...] = ("create",)
    additions = ("create",)  # actions that a quota may refuse
    pagination_class = None
    filter_backends = ()

    @property
    def device(self) -> Device:
        return self.request.user

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        if "model" in vars(cls):
            stored = {field.attname for field in cls.model._meta.concrete_fields}
            cls.columns = tuple(name for name in cls.serializer_class.Meta.fields if name in stored)
            cls.list_query, cls.row_query = queries_of(cls)

    @cached_property
    def live_rows(self) -> LiveRows:
        """What a body may name: the caller's live rows."""
        return LiveRows(self.device)

    @property
    def default_response_headers(self) -> dict[str, str]:
        return {}  # DRF says with every answer what is allowed; countonme/api/errors.py says it where it matters

    def perform_authentication(self, request) -> None:
        """Set the caller. DRF reads `request.user`, which raises an exception first, and takes up to 3 % of a read."""
        request.user = request.auth = None
        for authenticator in request.authenticators:
            if caller := authenticator.authenticate(request):
                request.user, request.auth = caller
                return

    @classmethod
    def rows_of(cls, device) -> QuerySet:
        return cls.model.objects.for_device(device)

    def get_queryset(self) -> QuerySet:
        return self.rows_of(self.device)

    def list(self, request, **kwargs) -> Answer:
        query = self.checked_query()
        rows, headers = page(request, self.list_query.json, device=self.device.pk, **query)
        return Answer(self.completed(rows), headers=headers)

    def retrieve(self, request, pk, **kwargs) -> Answer:
        rows = self.row_query.json(device=self.device.pk, pk=pk) or self.not_found()
        rows = self.completed(rows) or self.not_found()
        return Answer(rows[0])

    def create(self, request, **kwargs) -> Answer:
        sent = sent_data(request)  # read before the lock is taken: a body can come slowly
        with change_set(self.device):
            stored = self.stored(sent)
            if stored is not None:  # a retry: it is answered as it is stored, whatever else it carries by now
                return Answer(self.shown(stored))
            values = checked(self.serializer_class, sent, self)
            return Answer(self.shown(self.added(**values)), status=201)

    def update(self, request, pk, **kwargs) -> Answer:
        """Change the fields that are sent; the others stay. `PUT` and `PATCH` mean the same."""
        sent = sent_data(request)
        with change_set(self.device):
            row = self.row(pk)
            row.change(**checked(self.serializer_class, sent, self, row))
            return Answer(self.shown(row))

    def destroy(self, request, pk, **kwargs) -> Response:
        with change_set(self.device):
            self.row(pk).soft_delete()
        return Response(status=204)

    def checked_query(self, query_class: type | None = None) -> dict:
        return checked_once(query_class or self.query_class, self.request.META.get("QUERY_STRING", ""))

    @classmethod
    def narrowed(cls, rows: QuerySet, **query) -> QuerySet:
        """Return those of the device's rows that the list's query asks for, in their total order.

        The values are parameters of a compiled query, so the SQL can't depend on them.
        """
        raise NotImplementedError

    def added(self, **values) -> DeviceOwned:
        """Store a new row and return it. Called inside of a change set."""
        raise NotImplementedError

    def completed(self, rows: Rows) -> Rows:
        """Add to rows of columns what clients see beside, and leave out those that are gone by now."""
        return rows

    def shown(self, row: DeviceOwned) -> dict:
        """Return a row that was just written as a client reads it."""
        return self.completed([columns_of(row, self.columns)])[0]

    def stored(self, sent) -> DeviceOwned | None:
        """Return the live row whose id the client sent for a new one."""
        sent_id = sent_uuid(sent, "id")
        return sent_id and self.live_rows.get(self.model, sent_id)

    def row(self, pk) -> DeviceOwned:
        return self.live_rows.get(self.model, pk) or self.not_found()

    def not_found(self):
        raise NotFound(f"{self.model._meta.verbose_name.capitalize()} not found")


@lru_cache(maxsize=200)
def checked_once(query_class: type, query: str) -> dict:
    """Return the values of a query, not to be changed: what phones ask for is mostly today, and the first page."""
    sent = QueryDict(query.encode("latin-1"))  # WSGI has bytes so
    return checked(query_class, sent.dict(), None)


def columns_of(row: DeviceOwned, columns: tuple[str, ...]) -> dict:
    return {column: getattr(row, column) for column in columns}


def queries_of(view: type[DeviceOwnedViewSet]) -> tuple:
    """Return the compiled queries of a view: those for its list, and for one row."""

    @compiled_query
    def list_query(device, **query) -> QuerySet:
        return view.narrowed(view.rows_of(device), **query).values(*view.columns)

    @compiled_query
    def row_query(device, pk) -> QuerySet:
        return view.rows_of(device).filter(pk=pk).values(*view.columns)

    return list_query, row_query
