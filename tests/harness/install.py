"""An install of the app: a local database with the sync of the published client library, in plain Python.

If a pull returns a row that has local changes, the changed columns keep their local values until they are pushed. All
other columns get the server's values.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from tests.harness.sync import NOTHING, pull_changes, push


@dataclass
class Record:
    row: dict
    changed: set = field(default_factory=set)
    created: bool = False

    @property
    def pending(self) -> bool:
        return self.created or bool(self.changed)


class Install:
    def __init__(self, api):
        self.api = api
        self.records: dict[str, dict[str, Record]] = defaultdict(dict)  # by table
        self.deletions: dict[str, set[str]] = defaultdict(set)
        self.cursor = None
        self.acknowledged: set[str] = set()  # ids of rows whose push the server has confirmed

    # --- changes by the user -----------------------------------------------------------------------

    def create(self, table: str, row: dict) -> None:
        self.records[table][row["id"]] = Record(row, created=True)

    def edit(self, table: str, row_id: str, **values) -> None:
        record = self.records[table][row_id]
        record.row |= values
        record.changed |= values.keys()

    def delete(self, table: str, row_id: str) -> None:
        """Delete a row, and with a product its portions, as the app does."""
        if not self.records[table].pop(row_id).created:
            self.deletions[table].add(row_id)
        if table == "products":
            for portion_id in [pk for pk, one in self.records["portions"].items() if one.row["product_id"] == row_id]:
                self.delete("portions", portion_id)

    # --- sync --------------------------------------------------------------------------------------

    def sync(self, *, lost: bool = False) -> bool:
        """Pull and push, and repeat this once after a conflict. Return whether the push succeeded.

        With `lost`, the install never gets the response to the push.
        """
        for _ in range(2):
            self.pull()
            status = self.push(lost=lost)
            if status == 200:
                return True
            assert status == 409
        return False

    def pull(self) -> None:
        content = pull_changes(self.api, self.cursor)
        for table, changes in content["changes"].items():
            assert changes["created"] == []
            if content.get("experimentalStrategy") == "replacement":
                stored_ids = {row["id"] for row in changes["updated"]}
                records = {pk: one for pk, one in self.records[table].items() if pk in stored_ids or one.pending}
                self.records[table] = records
                self.deletions[table] &= stored_ids
            for row in changes["updated"]:
                self.merge(table, row)
            for row_id in changes["deleted"]:
                self.records[table].pop(row_id, None)
                self.deletions[table].discard(row_id)
        self.cursor = content["timestamp"]

    def merge(self, table: str, row: dict) -> None:
        if row["id"] in self.deletions[table]:
            return
        record = self.records[table].setdefault(row["id"], Record({}))
        local_columns = set(row) if record.created else record.changed
        record.row = row | {name: value for name, value in record.row.items() if name in local_columns}
        if record.created:  # the server has the row already: the response to its push was lost
            record.created, record.changed = False, {n for n, value in record.row.items() if row.get(n) != value}

    def push(self, *, lost: bool) -> int:
        sent = {
            table: {
                "created": [dict(one.row) for one in records.values() if one.created],
                "updated": [dict(one.row) for one in records.values() if one.changed and not one.created],
                "deleted": sorted(self.deletions[table]),
            }
            for table, records in self.records.items()
        }
        if all(lists == NOTHING for lists in sent.values()):
            return 200
        response = push(self.api, self.cursor, **sent)
        if lost or response.status_code != 200:
            return response.status_code
        rejected = response.json()["experimentalRejectedIds"]
        for table, records in self.records.items():
            for row_id, record in records.items():
                if record.pending and row_id not in rejected.get(table, ()):
                    record.changed, record.created = set(), False
                    self.acknowledged.add(row_id)
            self.deletions[table].clear()
        return 200

    # --- the local state ---------------------------------------------------------------------------

    def synced(self) -> dict[str, dict[str, dict]]:
        """Return the rows that are not waiting to be pushed."""
        return {
            table: {pk: one.row for pk, one in records.items() if not one.pending}
            for table, records in self.records.items()
        }
