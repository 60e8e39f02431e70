"""Compiled queries: they return what the ORM returns, and are compiled once for each thread."""

import itertools
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from decimal import Decimal
from inspect import Parameter, signature
from threading import Thread
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import DatabaseError, connection, connections
from django.db.models import F, Sum
from django.db.models.signals import post_init, pre_init
from django.db.models.sql.compiler import SQLCompiler
from django.urls import get_resolver

from catalog.tests import import_foods, make_food
from countonme.db.compiled import compiled_query, id_filter, transformed
from countonme.db.compiled.params import Param
from countonme.db.compiled.query import CompiledQuery, registered
from countonme.db.compiled.rows import JSON, JSON_TUPLES, MODELS, MODES, TUPLES
from countonme.db.postgresql import cursors
from countonme.db.statements import update_row
from devices.models import Attempts
from food_entries.models import FoodEntry
from food_entries.tests.factories import FoodEntryFactory
from ownership.models import change_set, owned_models
from ownership.serializers import live_rows_query
from ownership.tests.factories import factories
from ownership.viewsets import DeviceOwnedViewSet
from products.models import Portion, Product
from products.tests.factories import PortionFactory, ProductFactory
from sync.registry import tables
from tests.harness import verification
from tests.harness.verification import verified_run, verify


@pytest.fixture
def compilations(monkeypatch) -> list:
    """The queries that Django has compiled to SQL, one for each compilation."""
    queries, as_sql = [], SQLCompiler.as_sql

    def record(compiler, *args, **kwargs):
        queries.append(compiler.query)
        return as_sql(compiler, *args, **kwargs)

    monkeypatch.setattr(SQLCompiler, "as_sql", record)
    monkeypatch.setattr(CompiledQuery, "run", verification.run)  # without the ORM's query, which is compiled too
    return queries


COLUMNS = ("id", "product_id", "portion_id", "grams", "protein", "fat", "date", "created_at", "updated_at")

JOINED = ("id", "product__id", "product__fat_100g", "product__kcal_100g", "portion__id", "portion__grams")


def products_of(device):
    return Product.objects.for_device(device).by_name()


class TestACompiledQuery:
    def test_is_compiled_once_for_each_set_of_names(self, device, compilations):
        rye, oats = ProductFactory(device=device, name="Rye"), ProductFactory(device=device, name="Oats")

        @compiled_query
        def named(device, **wanted):
            return Product.objects.for_device(device).filter(**wanted).by_name()

        compilations.clear()
        found = [named.models(device=device.pk, name=name) for name in ("Rye", "Oats", "Egg")]
        once = len(compilations)
        every = [named.models(device=device.pk) for _ in range(2)]

        assert found == [[rye], [oats], []]
        assert every == [[oats, rye]] * 2
        assert (once, len(compilations)) == (1, 2)

    def test_is_compiled_once_in_each_thread(self, device, compilations):
        query = compiled_query(products_of)
        query.statement(MODELS, frozenset({"device"}), False)
        compilations.clear()

        def compile_twice():
            try:
                for _ in range(2):
                    query.statement(MODELS, frozenset({"device"}), False)
            finally:
                connections.close_all()

        thread = Thread(target=compile_twice)
        thread.start()
        thread.join()

        assert len(compilations) == 1

    @pytest.mark.parametrize(
        ("mode", "shape"),
        [
            (MODELS, lambda device: FoodEntry.objects.for_device(device)),
            (MODELS, lambda device: FoodEntry.objects.for_device(device).defer("grams", "product_name")),
            (MODELS, lambda device: FoodEntry.objects.for_device(device).alias(weight=F("grams"))),
            (TUPLES, lambda device: FoodEntry.objects.for_device(device).values_list(*COLUMNS)),
            (TUPLES, lambda device: FoodEntry.objects.for_device(device).values_list("date", "grams").distinct()),
            (TUPLES, lambda device: FoodEntry.objects.for_device(device).values_list("date").annotate(g=Sum("grams"))),
            (JSON, lambda device: FoodEntry.objects.for_device(device).values(*COLUMNS)),
            (JSON, lambda device: FoodEntry.objects.for_device(device).values("id")),
            (JSON, lambda device: FoodEntry.objects.for_device(device).values("date", weight=F("grams"))),
            (JSON, lambda device: FoodEntry.objects.for_device(device).values("date").annotate(g=Sum("grams"))),
            (JSON_TUPLES, lambda device: FoodEntry.objects.for_device(device).values_list(*COLUMNS)),
            (JSON_TUPLES, lambda device: FoodEntry.objects.for_device(device).sums()),
            # joins
            (MODELS, lambda device: FoodEntry.objects.for_device(device).order_by("product__name", "portion__grams")),
            (TUPLES, lambda device: FoodEntry.objects.for_device(device).values_list(*JOINED)),
            (JSON, lambda device: FoodEntry.objects.for_device(device).values(*JOINED)),
            (JSON, lambda device: FoodEntry.objects.for_device(device).values(weight=F("portion__grams"))),
            (JSON_TUPLES, lambda device: FoodEntry.objects.for_device(device).values_list(*JOINED)),
        ],
    )
    def test_returns_what_the_orm_returns(self, device, mode, shape):
        FoodEntryFactory(device=device, grams=Decimal("33.30"), date=date(2026, 1, 5))
        FoodEntryFactory(device=device, grams=Decimal(50), date=date(2026, 1, 6))
        portion = PortionFactory(product__device=device)
        FoodEntryFactory(device=device, product=portion.product, portion=portion, quantity=Decimal(1))
        query = compiled_query(shape)

        rows = getattr(query, mode.method)(device=device.pk)

        assert rows
        verify(query, mode, rows, None, 0, {"device": device.pk})

    def test_returns_ids_as_text_and_amounts_as_float_in_json(self, device):
        entry = FoodEntryFactory(device=device, grams=Decimal("33.30"), date=date(2026, 1, 5))
        query = compiled_query(lambda device: FoodEntry.objects.for_device(device).values(*COLUMNS))

        (row,) = query.json(device=device.pk)

        assert (row["id"], row["product_id"], row["portion_id"]) == (str(entry.pk), str(entry.product_id), None)
        assert (row["grams"], type(row["grams"]), row["fat"]) == (33.3, float, None)
        assert (row["date"], row["created_at"]) == (entry.date, entry.created_at)

    @pytest.mark.parametrize(
        ("run", "shape"),
        [
            ("json", lambda device: Portion.objects.for_device(device)),
            ("tuples", lambda device: Portion.objects.for_device(device)),
            ("models", lambda device: Portion.objects.for_device(device).values("id")),
            ("tuples", lambda device: Portion.objects.for_device(device).values_list("id", flat=True)),
            ("models", lambda device: Portion.objects.for_device(device).select_related("product")),
            ("models", lambda device: Portion.objects.for_device(device).prefetch_related("product")),
            ("models", lambda device: Portion.objects.for_device(device).annotate(weight=F("grams"))),
        ],
    )
    def test_rejects_querysets_of_another_kind(self, device, run, shape):
        with pytest.raises(TypeError):
            getattr(compiled_query(shape), run)(device=device.pk)

    @pytest.mark.parametrize("signal", [pre_init, post_init])
    def test_rejects_a_model_with_signal_receivers(self, device, signal):
        signal.connect(lambda **kwargs: None, sender=Product, weak=False, dispatch_uid="here")
        try:
            with pytest.raises(TypeError, match="Product"):
                compiled_query(products_of).models(device=device.pk)
        finally:
            signal.disconnect(sender=Product, dispatch_uid="here")

    @pytest.mark.parametrize("name", ["__init__", "from_db"])
    def test_rejects_a_model_that_overrides_its_construction(self, device, monkeypatch, name):
        own = classmethod(lambda *args: None) if name == "from_db" else lambda *args: None
        monkeypatch.setattr(Product, name, own, raising=False)

        with pytest.raises(TypeError, match="Product"):
            compiled_query(products_of).models(device=device.pk)

    def test_takes_limit_and_offset(self, device):
        rows = [ProductFactory(device=device, name=name) for name in "abcde"]
        query = compiled_query(products_of)

        assert query.models(device=device.pk, limit=2, offset=1) == rows[1:3]
        assert query.models(device=device.pk, limit=2) == rows[:2]
        assert query.models(device=device.pk, limit=9, offset=4) == rows[4:]

    def test_rejects_a_limit_in_addition_to_a_slice(self, device):
        query = compiled_query(lambda device: products_of(device)[:3])

        with pytest.raises(TypeError):
            query.models(device=device.pk, limit=2)

    @pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 5])
    def test_can_be_read_in_chunks(self, device, django_assert_num_queries, rows):
        ProductFactory.create_batch(rows, device=device)
        query = compiled_query(lambda device: products_of(device).values("id", "fat_100g", "created_at", "name"))
        every = query.json(device=device.pk)

        with django_assert_num_queries(1 if rows < 2 else 2):
            chunks = list(query.json_chunks(2, device=device.pk))

        assert [row for chunk in chunks for row in chunk] == every
        assert [{name: type(value) for name, value in row.items()} for chunk in chunks for row in chunk] == [
            {name: type(value) for name, value in row.items()} for row in every
        ]
        assert [len(chunk) for chunk in chunks if chunk] == [2] * (rows // 2) + [1] * (rows % 2)

    @pytest.mark.postgres
    def test_closes_its_cursor_with_its_iterator(self, device):
        ProductFactory.create_batch(5, device=device)
        chunks = compiled_query(lambda device: products_of(device).values("id")).json_chunks(2, device=device.pk)
        next(chunks), next(chunks)

        def is_open() -> bool:
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_cursors WHERE name LIKE '_django_curs%'")
                return cursor.fetchone()[0] == 1

        before = is_open()
        chunks.close()

        assert (before, is_open()) == (True, False)

    @pytest.mark.parametrize("many", [0, 1, 3])
    @pytest.mark.parametrize("kind", [UUID, str])
    def test_accepts_any_number_of_ids(self, device, many, kind):
        products = [ProductFactory(device=device, name=name) for name in "abcde"]
        by_id = compiled_query(lambda **named: Product.objects.for_device(device).filter(**named).by_name())
        of_products = compiled_query(lambda **named: Portion.objects.for_device(device).filter(**named))

        wanted = [kind(str(product.pk)) for product in products[:many]]

        assert by_id.models(**id_filter("pk", [*wanted, kind(str(uuid4()))])) == products[:many]
        portions = of_products.models(**id_filter("product", wanted))
        assert {portion.product_id for portion in portions} == {product.pk for product in products[:many]}

    def test_accepts_one_id_as_a_single_value(self, device):
        assert id_filter("pk", {device.pk}) == {"pk": device.pk}

    def test_transforms_a_value_with_a_function(self, device):
        rows = [ProductFactory(device=device, name=name) for name in ("rye", "oats")]

        def find(text):
            return Product.objects.for_device(device).filter(name=transformed(str.lower, text))

        assert compiled_query(find).models(text="RYE") == list(find("RYE")) == rows[:1]


class TestEveryCompiledQuery:
    def test_returns_what_the_orm_returns(self, values):
        """Run each query of the service with each set of parameters that it is called with, on filled tables."""
        get_resolver().url_patterns  # noqa: B018 - loads the views
        for model in owned_models():
            live_rows_query(model)
        queries = [query for query in registered if is_of_the_service(query)]
        empty = []

        assert len(queries) > 30
        for query in queries:
            for names in name_sets(query):
                queryset = query.function(**{name: Param(name) for name in names})
                sent = {name: values(queryset.model, name) for name in names}
                modes = [mode for mode in MODES if mode.kind is queryset._iterable_class]
                for mode, (limit, offset) in itertools.product(modes, ((None, 0), (1, 0))):
                    rows = query.run(mode, limit, offset, sent)
                    verify(query, mode, rows, limit, offset, sent)
                    empty += [] if rows else [(query.function, names)]
                if modes == [JSON]:
                    chunks = [row for chunk in query.json_chunks(1, **sent) for row in chunk]
                    assert chunks == query.json(**sent)
        assert empty == []

    @pytest.fixture
    def values(self, device):
        """Fill the tables. Return a function that returns a parameter's value, by the query's model and the name."""
        for factory in factories():
            factory(device=device)
        product = ProductFactory(device=device, name="Rye", barcode="4006381333931", fat_100g=Decimal("1.25"))
        deleted = ProductFactory(device=device, name="Oats")
        entry = FoodEntryFactory(device=device, product=product, portion=product.portions.get(), quantity=Decimal(2))
        with change_set(device):
            deleted.soft_delete()
        food = make_food("Rye", portions=[("slice", 35.5)])
        import_foods(food)
        Attempts.objects.create(key="key", moments=[1.5, [2, 3]])
        ids = [row.pk for model in owned_models() for row in model.all_objects.for_device(device)]
        by_name = {
            **dict.fromkeys(("ids", "parent_ids", "pk__any_of", "product__any_of"), ids),
            **dict.fromkeys(("uuid__any_of", "food__uuid__any_of"), [*ids, food.id]),  # noqa: RUF024 - not changed
            **dict.fromkeys(("date", "first", "last"), entry.date),
            **dict.fromkeys(("uuid", "food__uuid"), food.id),
            "gtin": food.barcode,
            "source": food.source,
            "device": device.pk,
            "since": 1,
            "key": "key",
            "parts": "rye",  # of a search text
            "barcode": product.barcode,
            "favorite": False,
            "product": product.pk,
            "meal_type": entry.meal_type,
        }

        def value_of(model, name: str):
            return by_name[name] if name in by_name else model.objects.first().pk

        return value_of


def is_of_the_service(query: CompiledQuery) -> bool:
    """Return whether the query is defined outside of tests, and not for a sync table that a test has registered."""
    function = getattr(query.function, "func", query.function)
    table = getattr(function, "__self__", None)
    return "tests" not in function.__module__.split(".") and (table is None or table in tables())


def name_sets(query: CompiledQuery) -> Iterator[list[str]]:
    """Yield each set of parameter names that a query is called with."""
    *fixed, last = signature(query.function).parameters.values()
    names = [parameter.name for parameter in fixed]
    if last.kind is not Parameter.VAR_KEYWORD:
        yield [*names, last.name]
    elif last.name == "query":  # the query of a list, with all filters and with the required ones only
        (view,) = [view for view in DeviceOwnedViewSet.__subclasses__() if view.list_query is query]
        narrowing = list(signature(view.filter_queryset).parameters.values())[1:]
        yield names + [parameter.name for parameter in narrowing]
        yield names + [parameter.name for parameter in narrowing if parameter.default is Parameter.empty]
    else:  # the query has an `id_filter`
        column = {"products": "product", "foods": "uuid", "of_foods": "food__uuid"}.get(last.name, "pk")
        yield [*names, column]
        yield [*names, f"{column}__any_of"]


class TestTheVerification:
    @pytest.fixture
    def entry(self, device):
        return FoodEntryFactory(device=device, grams=Decimal("33.30"))

    @pytest.mark.parametrize(
        ("shape", "mode", "change"),
        [
            (lambda device: FoodEntry.objects.for_device(device), MODELS, lambda row: setattr(row, "grams", 33.3)),
            (lambda device: FoodEntry.objects.for_device(device), MODELS, lambda row: vars(row).pop("grams")),
            (
                lambda device: FoodEntry.objects.for_device(device).values("id", "grams"),
                JSON,
                lambda row: row.update(grams=Decimal("33.30")),
            ),
            (
                lambda device: FoodEntry.objects.for_device(device).values("id", "grams"),
                JSON,
                lambda row: row.update(id=UUID(row["id"])),
            ),
        ],
    )
    def test_reports_a_value_of_another_type(self, entry, device, shape, mode, change, monkeypatch):
        query = compiled_query(shape)
        verified_run(query, mode, None, 0, {"device": device.pk})

        def wrong_run(*args):
            rows = query_run(*args)
            change(rows[0])
            return rows

        query_run = verification.run
        monkeypatch.setattr(verification, "run", wrong_run)

        with pytest.raises(AssertionError, match="SQL: SELECT"):
            verified_run(query, mode, None, 0, {"device": device.pk})

    def test_adds_no_queries_to_a_test(self, entry, device, django_assert_num_queries):
        query = compiled_query(lambda device: FoodEntry.objects.for_device(device))

        with django_assert_num_queries(1):
            verified_run(query, MODELS, None, 0, {"device": device.pk})


@pytest.mark.postgres
class TestACachedCursor:
    @pytest.mark.parametrize(("rows", "is_cached"), [(2, True), (3, False)])
    def test_is_not_cached_after_a_large_result(self, device, monkeypatch, rows, is_cached):
        monkeypatch.setattr(cursors, "LARGE_RESULT", 3)
        ProductFactory.create_batch(rows, device=device)
        query = compiled_query(products_of)

        for _ in range(2):
            assert len(query.models(device=device.pk)) == rows

        sql = query.statement(MODELS, frozenset({"device"}), False).sql
        assert ((sql, False) in connection.cursors) is is_cached

    def test_reads_times_as_the_orm_does(self, device):
        (row,) = connection.fetch_cached("SELECT created_at, now() FROM devices WHERE id = %s", [device.pk])

        assert row[0] == device.created_at
        assert {value.tzinfo for value in row} == {device.created_at.tzinfo}


class TestANewRow:
    def test_is_stored_as_django_would(self, device):
        with change_set(device):
            one, two = (Product.objects.create(device=device, name=name, kcal_100g=1) for name in ("É", "È"))

        for row in (one, two):
            stored = Product.objects.for_device(device).get(pk=row.pk)
            assert not row._state.adding
            for field in Product._meta.concrete_fields:
                assert getattr(row, field.attname) == getattr(stored, field.attname)


class TestAStoredRow:
    def test_is_changed_as_django_would(self, device):
        before, row = (FoodEntryFactory(device=device, grams=Decimal("33.30")) for _ in range(2))
        with change_set(device):
            row.change(grams=Decimal("12.5"), date=date(2026, 2, 1), meal_type="lunch")

        stored = FoodEntry.objects.for_device(device).get(pk=row.pk)
        for field in FoodEntry._meta.concrete_fields:
            assert getattr(stored, field.attname) == getattr(row, field.attname)
        assert FoodEntry.objects.for_device(device).get(pk=before.pk).grams == Decimal("33.30")

    def test_is_updated_by_its_id_and_its_device(self, device, other_device, django_assert_num_queries):
        row = ProductFactory(device=device, name="Rye")

        with django_assert_num_queries(1) as queries:
            assert update_row(row, of="device")

        assert '"device_id" = ' in queries[0]["sql"].partition("WHERE")[2]

    def test_cannot_be_moved_to_another_device(self, device, other_device):
        row = ProductFactory(device=device, name="Rye")
        row.device, row.name = other_device, "Mine"
        with pytest.raises(DatabaseError), change_set(other_device):
            row.save()

        assert Product.objects.for_device(device).get().name == "Rye"
        assert not Product.objects.for_device(other_device).exists()


def terminate_connection() -> None:
    """End PostgreSQL's side of this thread's connection."""
    with connection.cursor() as cursor:  # behind a pooler, the driver only knows the pooler's process id
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    with suppress(psycopg.OperationalError), psycopg.connect(**connection.get_connection_params()) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])  # a pooler may run it on that same connection


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestAConnectionThatDiedWithItsServer:
    @pytest.mark.parametrize("path", ["/v1/products", "/readyz"])
    def test_is_replaced_without_an_error(self, api, path):
        api.get(path)
        terminate_connection()

        assert api.get(path).status_code == 200

    def test_is_replaced_without_an_error_for_a_registration(self, anonymous):
        terminate_connection()

        assert anonymous.post("/v1/auth/register", {"device_id": uuid4()}).status_code == 200
