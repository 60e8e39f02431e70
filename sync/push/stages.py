"""The stages of a push, in the order in which they run."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from uuid import UUID

from rest_framework.exceptions import ErrorDetail

from countonme.api.errors import ValidationError, refusal
from countonme.db.bulk import in_batches, to_object
from ownership.models import DeviceOwned
from ownership.serializers import no_such
from sync.push.exclusive import (
    claims_exclusive_value,
    clear_exclusive_values,
    exclusive_values,
    find_duplicates,
)
from sync.push.payload import PushedRow, drain
from sync.push.tables import TablePush, Writes
from sync.push.verdicts import Verdict, deletion_verdict, verdict
from sync.push.window import BATCH
from sync.registry import References, SyncTable, Values

Rows = dict[UUID, PushedRow]


class IdsTaken(Exception):
    """New rows have ids that belong to other devices. Clients never learn to which."""

    def __init__(self, table: SyncTable, ids: set[UUID]):
        super().__init__(table.name)
        self.table, self.ids = table, ids


# --- judge: compare each row with the stored one, by the revisions from before this push ---------------


def judge(table: TablePush, since: int, stale: bool) -> list[UUID]:
    """Sort the rows and deletions into the table's lists. Return the ids that are in conflict."""
    conflicts = []
    for rows in drain(table.payload.rows, BATCH):
        table.window.load(rows)
        for row_id, pushed in rows.items():
            stored = table.window.get(row_id)
            if stored and pushed.packed_sent:
                pushed = table.payload.without_stored_values(pushed, stored)
            match verdict(stored, pushed, since=since, stale=stale):
                case Verdict.UPSERT:
                    table.upserts[row_id] = pushed
                case Verdict.REDELETE:
                    table.to_redelete.append(row_id)
                case Verdict.CONFLICT:
                    conflicts.append(row_id)
    for ids in in_batches(table.payload.pop_deleted()):
        revisions = dict(table.sync.live_revisions(device=table.device.pk, ids=ids))
        for row_id in ids:
            match deletion_verdict(revisions.get(row_id), since=since, stale=stale):
                case Verdict.DELETE:
                    table.to_delete.append(row_id)
                case Verdict.CONFLICT:
                    conflicts.append(row_id)
    return conflicts


# --- delete --------------------------------------------------------------------------------------------


def delete(table: TablePush) -> None:
    """Soft-delete the rows and their children. `count_or_restore_children()` can undo the deletion of a child."""
    device_id = table.device.pk
    for ids in in_batches(table.to_redelete):
        table.sync.all_by_id(device_id, ids).update()
    for ids in in_batches(table.to_delete):
        if table.parent:
            table.unsettled_parents.update(parent for (parent,) in table.sync.parent_ids(device=device_id, ids=ids))
        table.sync.live_by_id(device_id, ids).update(deleted_at=table.at)
        for child in table.children:
            child.sync.live_children(device_id, ids).update(deleted_at=table.at)
    if table.to_delete:
        for each in (table, *table.children):
            each.window.clear()  # its rows may be deleted now
    table.to_redelete.clear()
    table.to_delete.clear()


# --- upsert --------------------------------------------------------------------------------------------


def upsert(table: TablePush) -> None:
    """Create and change rows, and reject each row that can never be stored.

    If the table has a unique column, all rows are checked before any is changed, because a rejected row must not claim
    a value.
    """
    checked: Rows = {}
    for rows in drain(table.upserts, BATCH):
        load(table, rows)
        check(table, rows)
        if table.sync.unique:
            checked |= rows
        else:
            assign(table, rows)
    reject_duplicates(table, checked)
    for rows in drain(checked, BATCH):
        load(table, rows)
        assign(table, rows)


def load(table: TablePush, rows: Rows) -> None:
    """Load the stored rows, and the rows that they will refer to."""
    table.window.load(rows)
    if not table.sync.references:
        return
    referenced = defaultdict(set)
    for row_id, pushed in rows.items():
        for _, model, other_id in new_references(table, table.window.get(row_id), pushed.values):
            referenced[model].add(other_id)
    for model in table.sync.references.values():
        table.windows[model].load(referenced[model])


def new_references(
    table: TablePush, row: DeviceOwned | None, values: Values
) -> Iterator[tuple[str, type[DeviceOwned], UUID]]:
    """Yield the columns in which the row gets a new reference, with the model and the id of the other row."""
    for column, model in table.sync.references.items():
        if (other_id := values.get(column)) not in (None, getattr(row, column, None)):
            yield column, model, other_id


def check(table: TablePush, rows: Rows) -> None:
    """Remove and reject the rows that can never be stored, regardless of the other rows of the push."""
    for row_id, pushed in list(rows.items()):
        row = table.window.get(row_id)
        if row and row.deleted_at is not None:
            del rows[row_id]  # deleted by this push, together with its parent
        elif errors := pushed.errors or find_errors(table, row_id, row, pushed.values):
            del rows[row_id]
            table.reject(row_id, errors)


def find_errors(table: TablePush, row_id: UUID, row: DeviceOwned | None, values: Values) -> list[dict] | None:
    try:
        check_row(table, row_id, row, values)
    except ValidationError as error:
        return table.payload.errors_of(error)
    return None


def check_row(table: TablePush, row_id: UUID, row: DeviceOwned | None, values: Values) -> None:
    """Raise ValidationError if the row can't get these values."""
    if row_id in table.ids_of_others:
        raise refusal("id", "This id is taken.", "taken")
    if row is None and (missing := set(table.sync.required) - values.keys() - {"id"}):
        raise ValidationError({name: [ErrorDetail("This field is required.", "required")] for name in missing})
    table.sync.check(row, values, newly_referenced_rows(table, row, values))


def newly_referenced_rows(table: TablePush, row: DeviceOwned | None, values: Values) -> References:
    """Return the rows that the row will refer to, live or deleted. Raise ValidationError if one does not exist."""
    references = {}
    for column, model, other_id in new_references(table, row, values):
        references[column] = table.windows[model].get(other_id)
        if references[column] is None:
            raise refusal(column, no_such(model), "does_not_exist")
    return references


def reject_duplicates(table: TablePush, rows: Rows) -> None:
    """Remove and reject the rows whose unique value belongs to another row.

    A rejected row keeps its stored values, and another row may want one of them. So check until no row is refused.
    """
    while refused := find_refused(table, rows):
        for row_id, errors in refused.items():
            table.reject(row_id, errors)
            del rows[row_id]


def find_refused(table: TablePush, rows: Rows) -> dict[UUID, list[dict]]:
    """Return the rows that can't get their value of a unique column, each with its errors."""
    for column, message in table.sync.unique.items():
        if duplicates := find_duplicates(table.sync, table.device.pk, column, rows):
            source, _ = table.sync.source_of(column)
            return dict.fromkeys(duplicates, table.payload.errors_of(refusal(source, message, "unique")))
    return {}


def assign(table: TablePush, rows: Rows) -> None:
    """Create new rows and change stored ones. Write those that don't depend on the other rows."""
    ready = Writes()
    if table.parent:
        new = [pushed.values for row_id, pushed in rows.items() if not table.window.get(row_id)]
        table.new_rows.load({values[table.sync.parent_column] for values in new})
    for row_id in list(rows):
        pushed = rows.pop(row_id)
        if row := table.window.get(row_id):
            change_row(table, row, pushed, ready)
        else:
            create_row(table, row_id, pushed.values)
    write(table, ready)


def create_row(table: TablePush, row_id: UUID, values: Values) -> None:
    references = newly_referenced_rows(table, None, values)
    parent = references.get(table.sync.parent_column)
    if errors := table.new_rows.count(parent and parent.pk, row_id, table.required_children):
        table.reject(row_id, errors)
        return
    row = table.sync.build(table.device, row_id, values, references)
    if parent and parent.deleted_at is not None:
        row.deleted_at = table.at
    if not table.parent:
        row.stamp()
        table.waiting.written[row_id] = to_object(row)
        return
    table.waiting.to_insert.append(row)
    table.pending_children.append(row)
    if claims_exclusive_value(table.sync, row, values):
        table.claims.append(row)


def change_row(table: TablePush, row: DeviceOwned, pushed: PushedRow, ready: Writes) -> None:
    """Assign the pushed values to a stored row, and list it for `write()`, which gives it the new revision.

    A row that does not change is listed if the client has it in another form, so that the client pulls it.
    """
    values, before = pushed.values, exclusive_values(table.sync, row)
    references = newly_referenced_rows(table, row, values)
    has_changed = row.assign(**table.sync.values_to_assign(row, values, references))
    if not has_changed and pushed.is_identical_to(row):
        return
    if table.parent and claims_exclusive_value(table.sync, row, values):
        table.pending_children.append(row)
        table.claims.append(row)
    elif exclusive_values(table.sync, row) == before:
        ready.to_update[row.pk] = row
    else:
        table.waiting.to_update[row.pk] = row
        if before != table.sync.exclusive:
            table.waiting.to_clear.append(row)


# --- settle the children of a parent -------------------------------------------------------------------


def settle_children(table: TablePush) -> None:
    """Let the table settle the children of each parent whose children have changed: for example, choose the default.

    It works in batches of parents. Each batch is written at once, except for the new rows that the client sent. All
    new rows of a push are inserted together, sorted by id, so that pushes of two devices can't deadlock.
    """
    if not table.parent:
        return
    table.unsettled_parents.update(map(table.parent_id_of, table.pending_children))
    for rows in (table.pending_children, table.claims):
        rows.sort(key=table.parent_id_of)  # a stable sort: the children of one parent stay in the order sent
    for ids in in_batches(sorted(table.unsettled_parents), BATCH):
        settle_batch(table, ids)
    table.pending_children.clear()
    table.claims.clear()
    table.unsettled_parents.clear()


def settle_batch(table: TablePush, parent_ids: list[UUID]) -> None:
    """Settle the children of these parents, both pushed and stored ones."""
    device_id = table.device.pk
    pending = {child.pk: child for child in rows_between(table, table.pending_children, parent_ids)}
    stored = [child_id for (child_id,) in table.sync.live_child_ids(device=device_id, parent_ids=parent_ids)]
    table.window.load([child_id for child_id in stored if child_id not in pending])
    live = [child for child in (*pending.values(), *table.window.loaded) if child.deleted_at is None]
    children = by_parent(table, sorted(live, key=age_key))
    claims = by_parent(table, rows_between(table, table.claims, parent_ids))
    writes = Writes(to_update={child.pk: child for child in pending.values() if not child._state.adding})
    live_parents = [parent_id for parent_id, _ in table.parent.live_revisions(device=device_id, ids=parent_ids)]
    if table.sync.each_parent_has_one:
        count_or_restore_children(table, [each for each in live_parents if not children[each]], children, writes)
    for parent_id in live_parents:
        owner_ids = {"device_id": device_id, table.sync.parent_column: parent_id}
        for child, values in table.sync.settle(children[parent_id], claims[parent_id], **owner_ids):
            before = exclusive_values(table.sync, child)
            has_changed = child.assign(**values)
            if child._state.adding:
                if child.pk not in pending:
                    writes.to_insert.append(child)  # created by the server
            elif has_changed:
                writes.to_update[child.pk] = child
                if before != table.sync.exclusive:
                    writes.to_clear.append(child)
    write(table, writes)


def rows_between(table: TablePush, rows: list[DeviceOwned], parent_ids: list[UUID]) -> list[DeviceOwned]:
    """Return the rows of these parents. Both lists are sorted by parent id, and `parent_ids` skips no parent."""
    start = bisect_left(rows, parent_ids[0], key=table.parent_id_of)
    return rows[start : bisect_right(rows, parent_ids[-1], start, key=table.parent_id_of)]


def by_parent(table: TablePush, rows: list[DeviceOwned]) -> dict[UUID, list[DeviceOwned]]:
    children = defaultdict(list)
    for row in rows:
        children[table.parent_id_of(row)].append(row)
    return children


def count_or_restore_children(
    table: TablePush, parent_ids: list[UUID], children: dict[UUID, list[DeviceOwned]], writes: Writes
) -> None:
    """For each of these parents, which have no children, count the child that the server will create.

    If a quota is reached, reject the deletion of the oldest child instead. Otherwise each push could delete the last
    child and make the server store another one.
    """
    table.new_rows.load(parent_ids)
    refused = {parent_id: errors for parent_id in parent_ids if (errors := table.new_rows.count(parent_id))}
    if not refused:
        return
    for child in table.sync.children_deleted_at(table.device.pk, list(refused), table.at):
        if errors := refused.pop(table.parent_id_of(child), None):
            child.deleted_at = None
            children[table.parent_id_of(child)].append(child)
            writes.to_update[child.pk] = child
            table.reject(child.pk, errors)


def age_key(row: DeviceOwned) -> tuple:
    """Return a sort key: stored rows come first, the oldest first, then new rows in the order sent."""
    return (0, row.created_at, row.pk) if row.created_at else (1,)


# --- write ---------------------------------------------------------------------------------------------


def write(table: TablePush, writes: Writes) -> None:
    """Write rows. Clear exclusive values first, so that no two rows ever have the same one."""
    if writes.to_clear:
        clear_exclusive_values(table.sync, table.all_rows, writes.to_clear)
        writes.to_clear.clear()
    if writes.to_insert or writes.written:
        table.window.clear()  # it says that these rows don't exist
        stored = table.all_rows.add_all(writes.to_insert) | table.all_rows.add_written(writes.written)
        new = {row.pk for row in writes.to_insert} | writes.written.keys()
        if len(stored) < len(new):
            raise IdsTaken(table.sync, new - stored)
        for child in table.children:
            child.unsettled_parents |= stored
        writes.to_insert.clear()
        writes.written.clear()
    if writes.to_update:
        table.all_rows.change_all(list(writes.to_update.values()))
        writes.to_update.clear()
