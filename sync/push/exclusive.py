"""Exclusive values: only one row at a time may have such a value, for example a barcode, or being the default portion.

Rows can swap their values in one push. So those that give up a value are cleared first, before any other gets it.
"""

from collections.abc import Hashable
from uuid import UUID

from ownership.models import DeviceOwned, OwnedQuerySet
from sync.push.payload import PushedRow
from sync.registry import SyncTable, Values


def exclusive_values(table: SyncTable, row: DeviceOwned) -> Values:
    """Return the values of the row's exclusive columns. A tombstone holds none."""
    return {name: none if row.deleted_at else getattr(row, name) for name, none in table.exclusive.items()}


def claims_exclusive_value(table: SyncTable, row: DeviceOwned, values: Values) -> bool:
    """Return whether the row is to get an exclusive value that it does not have."""
    return any(values.get(name, none) not in (none, getattr(row, name)) for name, none in table.exclusive.items())


def clear_exclusive_values(table: SyncTable, stored: OwnedQuerySet, rows: list[DeviceOwned]) -> None:
    """Store these rows without exclusive values, so that other rows can get those. The rows themselves don't change."""
    values = [{name: getattr(row, name) for name in table.exclusive} for row in rows]
    set_values(rows, [table.exclusive] * len(rows))
    stored.change_all(rows)
    set_values(rows, values)


def set_values(rows: list[DeviceOwned], values: list[Values]) -> None:
    for row, each in zip(rows, values, strict=True):
        for name, value in each.items():
            setattr(row, name, value)


def find_duplicates(table: SyncTable, device_id: UUID, column: str, upserts: dict[UUID, PushedRow]) -> list[UUID]:
    """Return those rows whose value of a unique column stays with another row, or goes to one that was sent before."""
    claims = {row_id: values[column] for row_id, row in upserts.items() if column in (values := row.values)}
    if all(value is None for value in claims.values()):
        return []
    return refused_claims(dict(table.holders[column](device=device_id)), claims)


def refused_claims(held: dict, claims: dict[Hashable, Hashable | None]) -> list:
    """Return the claimants whose claim fails, when each value goes to one claimant.

    `held` has the present value of each one. `claims`, in order, has the value that each one wants; None gives one up.
    A value stays with its holder unless that wants another one; otherwise the first claim gets it. A claimant that
    fails keeps its value, so a claim on that value fails too. Two can swap, and nobody loses a value.
    """
    holders = {value: one for one, value in held.items() if claims.get(one, value) == value}
    refused = []
    for one, value in claims.items():
        if value is None or holders.setdefault(value, one) == one:
            continue
        loser = one
        while loser is not None:
            refused.append(loser)
            kept = held.get(loser)
            loser, holders[kept] = (None if kept is None else holders.get(kept)), loser
    return refused
