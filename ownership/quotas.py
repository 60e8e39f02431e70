"""Quotas: how many rows a device can store in total, and how many it can add in a day.

The counters are columns of the device's row. A change set reads them when it locks the device, and writes them back if
it has added rows, so no request has to count rows. Deleted rows count until a purge removes them. `manage.py recount`
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
    """The device has reached its limit of rows of one model (507)."""

    status_code = status.HTTP_507_INSUFFICIENT_STORAGE
    default_code = "quota"


class Quota:
    """The counters of one device, read under its lock, and the limits that they are checked against.

    A day has 24 hours and begins at the time of day at which the device registered. The first day is day 0.
    """

    def __init__(self, row_counts: str, new_rows: int, new_rows_day: int, *, registered_at: datetime, now: datetime):
        self._row_counts = row_counts
        self.registered_at, self.now = registered_at, now
        self.day = max(0, (now - registered_at) // DAY)
        self.new_rows = new_rows if new_rows_day == self.day else 0
        self.changed = False

    @classmethod
    def of(cls, device, now: datetime) -> Self:
        """Return the quota of a device that was read without a lock. Use it only for display."""
        counters = json.dumps(device.row_counts), device.new_rows, device.new_rows_day
        return cls(*counters, registered_at=device.created_at, now=now)

    @cached_property
    def row_counts(self) -> dict[str, int]:
        """The number of stored rows by table, parsed on first use: most change sets add no row."""
        return json.loads(self._row_counts)

    def count(self, model: type[models.Model]) -> int:
        return self.row_counts.get(model._meta.db_table, 0)

    def add(self, model: type[models.Model]) -> None:
        """Count a new row."""
        self.row_counts[model._meta.db_table] = self.count(model) + 1
        self.new_rows += 1
        self.changed = True

    @property
    def daily_limit(self) -> int:
        return settings.NEW_ROWS_FIRST_DAY if self.day == 0 else settings.NEW_ROWS_PER_DAY

    def limit(self, model: type[models.Model]) -> int:
        return getattr(settings, model.quota_setting)

    def refusal(self, model: type[models.Model], others: int = 0) -> APIException | None:
        """Return the error (507 or 429) for another row of this model; None if the quota allows it.

        `others` is the number of rows of other models that will be added together with it.
        """
        if self.count(model) >= self.limit(model):
            return quota_reached(self.limit(model), model)
        if self.new_rows + others >= self.daily_limit:
            next_day_at = self.registered_at + (self.day + 1) * DAY
            detail = f"A device can add {self.daily_limit:,} rows a day."
            return Throttled((next_day_at - self.now).total_seconds(), detail, code="quota")
        return None


def quota_reached(limit: int, model: type[models.Model], parent: type[models.Model] | None = None) -> QuotaReached:
    """Return the error for a device, or for a parent row, that has the maximum number of rows of this model."""
    owner = parent._meta.verbose_name if parent else "device"
    names = model._meta.verbose_name_plural
    return QuotaReached(f"A {owner} can have {limit:,} {names}. Deleted ones count until they are purged.")
