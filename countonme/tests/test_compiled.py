from contextlib import suppress
from datetime import date
from decimal import Decimal
from threading import Thread
from uuid import uuid4

import psycopg
import pytest
from django.db import DatabaseError, connection, connections
from django.db.models import F
from django.db.models.sql.compiler import SQLCompiler

from countonme.api.renderers import JSONRenderer
from countonme.db.compiled import Prepared, among, applied, update
from food_entries.models import FoodEntry
from food_entries.tests.factories import FoodEntryFactory
from ownership.models import change_set
from products.models import Portion, Product
from products.tests.factories import ProductFactory


@pytest.fixture
def compilations(monkeypatch) -> list:
    """The queries that Django has written as SQL, each time that it did."""
    written, as_sql = [], SQLCompiler.as_sql

    def noted(compiler, *args, **kwargs):
        written.append(compiler.query)
        return as_sql(compiler, *args, **kwargs)

    monkeypatch.setattr(SQLCompiler, "as_sql", noted)
    return written


as_json = JSONRenderer().render


class TestAPreparedQuery:
    def test_is_compiled_once_for_each_set_of_names(self, device, compilations):
        rye, oats = ProductFactory(device=device, name="Rye"), ProductFactory(device=device, name="Oats")

        @Prepared
        def named(device, **wanted):
            return Product.objects.for_device(device).filter(**wanted).by_name()

        compilations.clear()
        found = [named(device=device.pk, name=name) for name in ("Rye", "Oats", "Egg")]
        once = len(compilations)
        every = [named(device=device.pk) for _ in range(2)]

        assert found == [[rye], [oats], []]
        assert every == [[oats, rye]] * 2
        assert (once, len(compilations)) == (1, 2)

    def test_is_compiled_by_each_thread_for_itself(self, device, compilations):
        query = Prepared(lambda device: Product.objects.for_device(device))
        query.compiled(frozenset({"device"}), False)
        compilations.clear()

        def compile_twice():
            try:
                for _ in range(2):
                    query.compiled(frozenset({"device"}), False)
            finally:
                connections.close_all()

        thread = Thread(target=compile_twice)
        thread.start()
        thread.join()

        assert len(compilations) == 1

    def test_gives_rows_as_its_queryset_does(self, device):
        entry = FoodEntryFactory(device=device, grams=Decimal("33.30"), date=date(2026, 1, 5))
        columns = ("id", "product_id", "grams", "protein", "fat", "date", "created_at", "updated_at")
        for shape in (
            lambda device: FoodEntry.objects.for_device(device).values(*columns),
            lambda device: FoodEntry.objects.for_device(device).values("id"),
            lambda device: FoodEntry.objects.for_device(device).values("date", weight=F("grams")),
            lambda device: FoodEntry.objects.for_device(device).values_list(*columns),
            lambda device: FoodEntry.objects.for_device(device).sums(),
        ):
            # As JSON: an amount that is only shown need not be a Decimal.
            assert as_json(Prepared(shape)(device=device.pk)) == as_json(list(shape(device)))

        (row,) = Prepared(lambda device: FoodEntry.objects.for_device(device))(device=device.pk)
        assert row == entry
        assert vars(row).keys() == vars(FoodEntry.objects.for_device(device).get()).keys()
        assert (row.grams, row.date, row._state.adding) == (entry.grams, entry.date, False)

    @pytest.mark.postgres
    @pytest.mark.parametrize(("rows", "keeps"), [(2, True), (3, False)])
    def test_lets_go_of_an_answer_of_many_rows(self, device, monkeypatch, rows, keeps):
        monkeypatch.setattr("countonme.db.compiled.query.REMEMBERED", 2)
        ProductFactory.create_batch(rows, device=device)
        query = Prepared(lambda device: Product.objects.for_device(device))

        for _ in range(2):
            assert len(query(device=device.pk)) == rows

        *_, shape = query.compiled(frozenset({"device"}), False)
        assert (shape.cursor.kept is not None) is keeps

    def test_takes_limit_and_offset(self, device):
        rows = [ProductFactory(device=device, name=name) for name in "abcde"]
        query = Prepared(lambda device: Product.objects.for_device(device).by_name())

        assert query(device=device.pk, limit=2, offset=1) == rows[1:3]
        assert query(device=device.pk, limit=2) == rows[:2]
        assert query(device=device.pk, limit=9, offset=4) == rows[4:]

    @pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 5])
    @pytest.mark.parametrize(
        "shape",
        [
            lambda device: Product.objects.for_device(device).by_name(),
            lambda device: Product.objects.for_device(device).by_name().values("id", "fat_100g", "created_at", "name"),
            lambda device: Product.objects.for_device(device).by_name().values_list("id", "fat_100g", "created_at"),
        ],
        ids=["models", "dicts", "tuples"],
    )
    def test_is_read_in_chunks_too(self, device, django_assert_num_queries, shape, rows):
        ProductFactory.create_batch(rows, device=device)
        query = Prepared(shape)
        every = query(device=device.pk)

        with django_assert_num_queries(1 if rows < 2 else 2):
            chunks = list(query.chunks(2, device=device.pk))

        assert [row for chunk in chunks for row in chunk] == every
        assert [list(map(type, row)) for chunk in chunks for row in chunk if isinstance(row, tuple)] == [
            list(map(type, row)) for row in every if isinstance(row, tuple)
        ]
        assert [len(chunk) for chunk in chunks if chunk] == [2] * (rows // 2) + [1] * (rows % 2)

    @pytest.mark.postgres
    def test_closes_its_cursor_with_its_iterator(self, device):
        ProductFactory.create_batch(5, device=device)
        chunks = Prepared(lambda device: Product.objects.for_device(device).by_name()).chunks(2, device=device.pk)
        next(chunks), next(chunks)

        def is_open() -> bool:
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_cursors WHERE name LIKE '_django_curs%'")
                return cursor.fetchone()[0] == 1

        before = is_open()
        chunks.close()

        assert (before, is_open()) == (True, False)

    @pytest.mark.parametrize("many", [0, 1, 3])
    def test_takes_any_number_of_ids(self, device, many):
        products = [ProductFactory(device=device, name=name) for name in "abcde"]
        by_id = Prepared(lambda **named: Product.objects.for_device(device).filter(**named).by_name())
        of_products = Prepared(lambda **named: Portion.objects.for_device(device).filter(**named))

        wanted = [product.pk for product in products[:many]]

        assert by_id(**among("pk", [*wanted, uuid4()])) == products[:many]
        assert {portion.product_id for portion in of_products(**among("product", wanted))} == set(wanted)

    def test_takes_one_id_as_itself(self, device):
        assert among("pk", {device.pk}) == {"pk": device.pk}

    def test_takes_a_value_through_a_function(self, device):
        rows = [ProductFactory(device=device, name=name) for name in ("rye", "oats")]

        def find(text):
            return Product.objects.for_device(device).filter(name=applied(str.lower, text))

        assert Prepared(find)(text="RYE") == list(find("RYE")) == rows[:1]


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

    def test_is_found_by_its_device_too(self, device, other, django_assert_num_queries):
        row = ProductFactory(device=device, name="Rye")

        with django_assert_num_queries(1) as queries:
            assert update(row, of="device")

        assert '"device_id" = ' in queries[0]["sql"].partition("WHERE")[2]

    def test_is_no_other_devices(self, device, other):
        row = ProductFactory(device=device, name="Rye")
        row.device, row.name = other, "Mine"
        with pytest.raises(DatabaseError), change_set(other):
            row.save()

        assert Product.objects.for_device(device).get().name == "Rye"
        assert not Product.objects.for_device(other).exists()


def end_of_connection() -> None:
    """End PostgreSQL's side of this thread's connection."""
    with connection.cursor() as cursor:  # behind a pooler, the driver knows the pooler's number alone
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    with suppress(psycopg.OperationalError), psycopg.connect(**connection.get_connection_params()) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])  # which a pooler may send to that very one


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestAConnectionThatDiedWithItsServer:
    @pytest.mark.parametrize("path", ["/v1/products", "/readyz"])
    def test_is_replaced_unseen(self, api, path):
        api.get(path)
        end_of_connection()

        assert api.get(path).status_code == 200

    def test_is_replaced_unseen_for_a_registration(self, anonymous):
        end_of_connection()

        assert anonymous.post("/v1/auth/register", {"device_id": uuid4()}).status_code == 200
