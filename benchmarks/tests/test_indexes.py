"""The checks of benchmarks/indexes.py, with small plans instead of a database."""

from benchmarks.indexes import unused_indexes, wide_scans

FEED = "CREATE INDEX portion_feed ON public.portions USING btree (device_id, revision)"
BY_DAY = "CREATE INDEX by_day ON public.food_entries USING btree (date DESC, device_id) WHERE (deleted_at IS NULL)"
DEFINITIONS = {"portion_feed": FEED, "by_day": BY_DAY}


def scan(kind: str, index: str | None = None, condition: str = "", table: str = "portions") -> dict:
    by = {"Index Name": index, "Index Cond": condition} if index else {}
    return {"Node Type": kind, "Relation Name": table, "Actual Rows": 1, **by}


def faults(*plans: dict, call="pull") -> list[str]:
    return list(wide_scans({call: [{"sql": "SELECT 1", "plan": plan} for plan in plans]}, DEFINITIONS))


class TestAQuery:
    def test_may_use_an_index_that_begins_with_the_device(self):
        straight = scan("Index Scan", "portion_feed", "((device_id = $1) AND (revision > $2))")
        bitmap = {"Node Type": "Bitmap Index Scan", "Index Name": "portion_feed", "Index Cond": "(device_id = $1)"}

        assert faults(straight, {"Node Type": "Sort", "Plans": [straight]}) == []
        assert faults(scan("Bitmap Heap Scan") | {"Plans": [bitmap]}) == []

    def test_is_reported_if_it_reads_all_rows(self):
        everything = scan("Seq Scan")

        assert faults(everything) == ["pull: portions by all its rows: SELECT 1"]
        assert len(faults({"Node Type": "Limit", "Plans": [{"Node Type": "Sort", "Plans": [everything]}]})) == 1

    def test_is_reported_if_it_has_no_condition_on_the_first_column(self):
        assert len(faults(scan("Index Scan", "portion_feed", "(revision > $1)"))) == 1
        assert len(faults(scan("Index Only Scan", "portion_feed"))) == 1
        assert len(faults(scan("Index Scan", "by_day", "((date = $1) AND (device_id = $2))", "food_entries"))) == 1

    def test_may_read_all_rows_of_a_small_table(self):
        assert faults(scan("Seq Scan", table="restores")) == []

    def test_may_read_all_rows_if_a_reason_is_listed(self):
        assert faults(scan("Seq Scan"), call="purge: devices with tombstones") == []


class TestAnIndex:
    def test_is_reported_if_it_is_unused(self):
        assert list(unused_indexes([("spare", "products", 0, ""), ("product_feed", "products", 3, "")])) == [
            "products: nothing uses spare"
        ]

    def test_may_be_unused_if_a_reason_is_listed(self):
        assert list(unused_indexes([("restores_pkey", "restores", 0, "")])) == []
