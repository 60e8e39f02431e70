"""How many rows a device may store, in all and in a day.

The counters are columns of the device's row. A change set reads them with the device's lock, and writes them back if it
has added rows, so that no request counts rows. Deleted rows count until a purge removes them. `manage.py recount`
repairs the counters.
"""

import json
from datetime import datetime, timedelta
from functools import cached_property
from typing import Self

from django.conf import settings
from django.db import models
from rest_framework import status
from rest_framework.exceptions import APIException, Throttled

DAY = timedelta(days=1)


class QuotaReached(APIException):
    """The device stores as many rows of one kind as it may."""

    status_code = status.HTTP_507_INSUFFICIENT_STORAGE
    default_code = "quota"


class Quota:
    """The counters of one device, as they are under its lock, and what they allow.

    A day has 24 hours and begins at the time of day at which the device registered. Day 0 is the first.
    """

    def __init__(self, row_counts: str, new_rows: int, new_rows_day: int, *, registered_at: datetime, now: datetime):
        self._row_counts = row_counts
        self.registered_at, self.now = registered_at, now
        self.day = max(0, (now - registered_at) // DAY)
        self.new_rows = new_rows if new_rows_day == self.day else 0
        self.changed = False

    @classmethod
    def of(cls, device, now: datetime) -> Self:
        """Return the quota of a device whose row was read without a lock: for display only."""
        counters = json.dumps(device.row_counts), device.new_rows, device.new_rows_day
        return cls(*counters, registered_at=device.created_at, now=now)

    @cached_property
    def row_counts(self) -> dict[str, int]:
        """The number of stored rows by table. Most change sets add no row, and need not read it."""
        return json.loads(self._row_counts)

    def count(self, model: type[models.Model]) -> int:
        return self.row_counts.get(model._meta.db_table, 0)

    def add(self, model: type[models.Model]) -> None:
        """Count a row that is added."""
        self.row_counts[model._meta.db_table] = self.count(model) + 1
        self.new_rows += 1
        self.changed = True

    @property
    def daily_limit(self) -> int:
        return settings.NEW_ROWS_FIRST_DAY if self.day == 0 else settings.NEW_ROWS_PER_DAY

    def limit(self, model: type[models.Model]) -> int:
        return getattr(settings, model.quota_setting)

    def refusal(self, model: type[models.Model], others: int = 0) -> APIException | None:
        """Return the error (507 or 429) that refuses another row of this model; None if it may be added.

        `others` is the number of rows of other models that are to be added together with it.
        """
        if self.count(model) >= self.limit(model):
            return quota_reached(self.limit(model), model)
        if self.new_rows + others >= self.daily_limit:
            next_day_at = self.registered_at + (self.day + 1) * DAY
            detail = f"A device can add {self.daily_limit:,} rows a day."
            return Throttled((next_day_at - self.now).total_seconds(), detail, code="quota")
        return None


def quota_reached(limit: int, model: type[models.Model], parent: type[models.Model] | None = None) -> QuotaReached:
    """Return the error for a device, or for a parent row, that has as many rows of this model as it may."""
    owner = parent._meta.verbose_name if parent else "device"
    names = model._meta.verbose_name_plural
    return QuotaReached(f"A {owner} can have {limit:,} {names}. Deleted ones count until they are purged.")
