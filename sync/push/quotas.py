"""Quotas of a push: rows over a quota are rejected, and all others are stored."""

from collections.abc import Collection
from uuid import UUID

from rest_framework.exceptions import APIException

from countonme.api.errors import error_item
from ownership.quotas import Quota, quota_reached
from sync.registry import SyncTable


class NewRows:
    """Counts the new rows of one table against the quota of the device and the limit of each parent.

    If each parent must have a child, the child is counted together with its parent. So it always fits into the quota.
    """

    def __init__(self, table: SyncTable, device_id: UUID, quota: Quota):
        self.table, self.device_id, self.quota = table, device_id, quota
        self.limit = table.max_children
        self.children: dict[UUID, int] = {}  # the number of children by parent, deleted ones included
        self.promised: set[UUID] = set()  # new parents: each was counted together with its first child

    def load(self, parent_ids: Collection[UUID]) -> None:
        """Read how many children these parents have, if there is a limit."""
        missing = [parent_id for parent_id in parent_ids if parent_id not in self.children]
        if missing and self.limit is not None:
            self.children |= dict.fromkeys(missing, 0)
            self.children.update(self.table.child_counts(device=self.device_id, parent_ids=missing))

    def count(
        self, parent_id: UUID | None, row_id: UUID | None = None, required: Collection["NewRows"] = ()
    ) -> list[dict] | None:
        """Count a new row. Return errors if a quota is reached.

        `required` are the counters of tables in which this row must have a child. That child is counted too.
        """
        if self.limit is not None and self.children[parent_id] >= self.limit:
            parent = self.table.references[self.table.parent_column]
            return quota_errors(quota_reached(self.limit, self.table.model, parent))
        if parent_id in self.promised:
            self.promised.remove(parent_id)
        else:
            models = [each.table.model for each in (self, *required)]
            for others, model in enumerate(models):
                if refusal := self.quota.refusal(model, others):
                    return quota_errors(refusal)
            for model in models:
                self.quota.add(model)
        for each in required:
            each.promised.add(row_id)
        if self.limit is not None:
            self.children[parent_id] += 1
        return None


def quota_errors(refusal: APIException) -> list[dict]:
    return [error_item((), str(refusal.detail), "quota")]
