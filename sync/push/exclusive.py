"""Exclusive values, which only one row at a time can have, for example a barcode or `is_default`.

Rows can swap such values in one push. So the rows that give up a value are cleared before another row gets it.
"""

from collections.abc import Hashable
from uuid import UUID

from ownership.models import DeviceOwned, OwnedQuerySet
from sync.push.payload import PushedRow
from sync.registry import SyncTable, Values


def exclusive_values(table: SyncTable, row: DeviceOwned) -> Values:
    """Return the values of the row's exclusive columns. A tombstone has none of them."""
    return {name: none if row.deleted_at else getattr(row, name) for name, none in table.exclusive.items()}


def claims_exclusive_value(table: SyncTable, row: DeviceOwned, values: Values) -> bool:
    """Return whether the values have an exclusive value that the row does not have yet."""
    return any(values.get(name, none) not in (none, getattr(row, name)) for name, none in table.exclusive.items())


def clear_exclusive_values(table: SyncTable, stored: OwnedQuerySet, rows: list[DeviceOwned]) -> None:
    """Store these rows without exclusive values, so that other rows can get them. The models keep the values."""
    values = [{name: getattr(row, name) for name in table.exclusive} for row in rows]
    set_values(rows, [table.exclusive] * len(rows))
    stored.change_all(rows)
    set_values(rows, values)


def set_values(rows: list[DeviceOwned], values: list[Values]) -> None:
    for row, each in zip(rows, values, strict=True):
        for name, value in each.items():
            setattr(row, name, value)


def find_duplicates(table: SyncTable, device_id: UUID, column: str, upserts: dict[UUID, PushedRow]) -> list[UUID]:
    """Return the ids of the rows that can't get their value of a unique column, because another row has or gets it.

    A row whose stored value was sent is never refused. If it is older than a derived column, that one may be null.
    """
    source, derive = table.source_of(column)
    claims = {row_id: values[source] for row_id, row in upserts.items() if source in (values := row.values)}
    if all(value is None for value in claims.values()):
        return []
    held = {}
    for row_id, value, sent in table.holders[column](device=device_id):
        if value is not None:
            held[row_id] = value
        if claims.get(row_id, sent) == sent:
            claims.pop(row_id, None)
    claims = {row_id: value if value is None else derive(value) for row_id, value in claims.items()}
    return refused_claims(held, claims)


def refused_claims(held: dict, claims: dict[Hashable, Hashable | None]) -> list:
    """Return the claimants whose claim fails, if each value can go to only one claimant.

    `held` has the current value of each holder. `claims` has the value that each claimant wants, in order; None means
    that it gives up its value. A holder that claims no other value keeps its own. Any other value goes to the first
    claim. A claimant whose claim fails keeps its current value, so all other claims to that value fail too.
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
