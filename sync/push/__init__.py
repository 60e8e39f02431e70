"""The push: a phone's changes, judged against what is stored, and then stored in one change set, or not at all."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from uuid import UUID

from django.db import connection
from rest_framework.exceptions import APIException, ErrorDetail

from countonme.api.errors import Conflict, ValidationError, refusal
from countonme.db.bulk import in_batches
from countonme.observability import metrics
from devices.models import Device
from ownership.models import ChangeSet, DeviceOwned, change_set
from ownership.quotas import quota_reached
from ownership.serializers import no_such
from sync.cursor import Cursor
from sync.push.exclusive import refused_claims
from sync.push.payload import Sent, SentRow, read
from sync.push.response import Refused
from sync.registry import Named, SyncTable, Values, tables
from sync.turns import RowCount

LARGE = 2_000  # stored rows that are read
AT_HAND = 500  # rows at hand at once, where that can be: a model takes ten times what is sent of it


class PushConflict(Conflict):
    default_detail = "Some of these rows have changed since the last pull. Pull, merge, and push again."

    def __init__(self, conflicts: dict[str, list[UUID]]):
        super().__init__()
        self.body = {"conflicts": conflicts}


class IdsTaken(Exception):
    """Ids of new rows are not free: another device has them. Who, and what they are, nobody is told."""

    def __init__(self, table: SyncTable, ids: set[UUID]):
        super().__init__(table.name)
        self.table, self.ids = table, ids


def push(
    device: Device,
    bodies: Iterator,
    since: int,
    *,
    parsing: AbstractContextManager,
    on_large: Callable[[], None],
) -> Refused:
    """Store what a phone that last pulled at `since` has changed, and return which rows are refused, and why.

    `bodies` yields what was sent, as often as it is asked: reading it uses it up, so that its rows, the checked ones
    and the models are never all there at once. Raises PushConflict where something has changed since that the phone
    did not know; then nothing is stored.

    A body is parsed and read inside of `parsing`. As soon as more than LARGE stored rows have been read, `on_large` is
    called. If it raises an exception, nothing is stored, and the caller gets the exception.
    """
    taken = {table: set() for table in tables()}
    while True:
        with parsing:
            sent, refused = read(next(bodies), tables())  # before the lock is taken: it takes a while
        rows = sum(each.count for each in sent) + sum(map(len, refused.values()))
        try:
            with change_set(device, counts_rows=False) as changes:
                plan_for_what_is_asked()
                refused |= Push(device, changes, sent, taken, on_large).stored(since)
        except IdsTaken as found:
            # Seen only when the rows were to be stored, since nobody reads another device's rows: once more, from the
            # start, knowing it. Each time there are more of them, so that it ends.
            taken[found.table] |= found.ids
        else:
            metrics.synced_rows("push", rows)
            return refused


def plan_for_what_is_asked() -> None:
    """Have PostgreSQL plan each query of this transaction for its own ids.

    A plan for any ids may compare every row of the device with every one of them: its guess of how many rows a device
    has is that of all devices, and a push is of one that has many.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL plan_cache_mode = force_custom_plan")


class Push:
    """A push under the device's lock."""

    def __init__(
        self,
        device: Device,
        changes: ChangeSet,
        sent: list[Sent],
        taken: dict[SyncTable, set[UUID]],
        on_large: Callable[[], None],
    ):
        self.device, self.changes, self.quota, self.at = device, changes, changes.quota, changes.at
        self.incoming = {of.table.model: Incoming(self, of, taken[of.table]) for of in sent}
        self.ids: dict[UUID | None, UUID | None] = {}
        self.count = RowCount(LARGE, on_large)

    def stored(self, since: int) -> Refused:
        """Judge everything, and only then store it: the deletions first, then table by table."""
        every = list(self.incoming.values())
        self.refuse_conflicts(Cursor.of(self.device, since))
        for each in every:
            each.delete()
        for each in every:
            each.take_in()
            each.settle()
            each.store()
        refused = {each.table.name: each.refused for each in every if each.refused}
        self.incoming.clear()  # they know this, so that nothing would go before the garbage collector comes
        return refused

    def refuse_conflicts(self, cursor: Cursor) -> None:
        """Raise PushConflict if there is any, by the revisions from before this push."""
        # By now the device has this push's own revision, which no phone can know yet.
        stale = cursor.is_purged or cursor.is_lost or cursor.since == self.changes.revision
        judged = {each.table.name: each.judge(cursor.since, stale) for each in self.incoming.values()}
        if conflicts := {name: ids for name, ids in judged.items() if ids}:
            metrics.conflicted(conflicts)
            raise PushConflict(conflicts)


class Incoming:
    """One table of a push: what was sent, what is stored, and what becomes of it."""

    def __init__(self, push: Push, sent: Sent, taken: set[UUID]):
        self.push, self.sent, self.taken, self.table = push, sent, taken, sent.table
        self.refused = sent.refused
        self.rows: dict[UUID, DeviceOwned] = {}  # the device's, live or not, that are at hand; new ones too
        self.held: dict[UUID, Values] = {}  # of stored rows that hold any: the values that only one may hold
        self.wanted: dict[UUID, SentRow] = {}  # what is to be created or updated
        self.doomed: list[UUID] = []  # what is to be deleted: ids alone, since there may be very many
        self.dead: list[UUID] = []  # what was deleted before, and the phone is to hear of again
        self.unsettled: set[UUID] = set()  # rows that have lost parts, or are new
        self.entered: dict[UUID, bool] = {}  # parts still to be settled, as they came, and whether each claims to hold
        self.promised: set[UUID] = set()  # new rows for which a part is counted that hasn't come yet
        self.parts_stored: dict[UUID, int] = {}  # how many parts a row has, deleted ones included
        self.new: list[DeviceOwned] = []
        self.touched: dict[UUID, DeviceOwned] = {}  # stored rows that get the new revision

    @property
    def whole(self) -> "Incoming | None":
        """What comes in for the table whose rows this table's are parts of."""
        return self.push.incoming[self.table.references[self.table.part_of]] if self.table.part_of else None

    def parts(self) -> "list[Incoming]":
        """Return what comes in for the tables whose rows are parts of this table's."""
        return [each for each in self.push.incoming.values() if each.whole is self]

    # --- before anything is changed ----------------------------------------------------------------

    def named_anew(self, row_id: UUID, values: Values) -> Iterator[tuple[str, type[DeviceOwned], UUID]]:
        """Yield the columns in which a row names another one that it did not name before, and which one that is."""
        row = self.rows.get(row_id)
        for column, model in self.table.references.items():
            if (named := values.get(column)) not in (None, getattr(row, column, None)):
                yield column, model, named

    def know(self, row_ids: Iterable[UUID]) -> None:
        """Have the device's rows of these ids at hand."""
        unknown = [row_id for row_id in row_ids if row_id not in self.rows]
        for ids in in_batches(unknown, AT_HAND):  # a row as it comes takes as much memory as the row it becomes
            rows = self.table.rows_by_id(device=self.push.device.pk, ids=ids)
            self.push.count.add(len(rows))
            for row in rows:
                self.rows[row.pk] = row
                self.share_ids(row)
                if (held := self.exclusive_of(row)) != self.table.exclusive:
                    self.held[row.pk] = held

    def know_with_named(self, row_ids: list[UUID]) -> None:
        """Have these rows at hand, and of others what they are to name anew: by now that is stored."""
        self.know(row_ids)
        named = defaultdict(set)
        for row_id in row_ids:
            if sent := self.wanted.get(row_id):
                for _, model, other_id in self.named_anew(row_id, sent.values):
                    named[model].add(other_id)
        for model in self.table.references.values():
            others = self.push.incoming[model]
            others.let_go(others.rows.keys() - named[model])
            others.know(named[model])

    def let_go(self, row_ids: Iterable[UUID]) -> None:
        """Have no longer at hand what nothing else needs: of many rows only a batch at a time."""
        for row_id in row_ids:
            if row_id not in self.entered and row_id not in self.touched:
                self.rows.pop(row_id, None)
                self.held.pop(row_id, None)
        self.push.ids.clear()

    def know_live_parts(self, wholes: list[UUID]) -> None:
        for ids in in_batches(wholes):
            self.know(part for (part,) in self.table.live_parts(device=self.push.device.pk, wholes=ids))

    def share_ids(self, row: DeviceOwned) -> None:
        """Let rows that refer to the same have one id between them: of many rows, a tenth of the memory."""
        for column in ("device_id", *self.table.references):
            row_id = getattr(row, column)
            setattr(row, column, self.push.ids.setdefault(row_id, row_id))

    def exclusive_of(self, row: DeviceOwned) -> Values:
        """Return what the row holds that only one may hold: a tombstone holds nothing."""
        return {
            name: nothing if row.deleted_at else getattr(row, name) for name, nothing in self.table.exclusive.items()
        }

    def judge(self, since: int, stale: bool) -> list[UUID]:
        """Sort what was sent by what is to be done with it; return the ids that are in conflict."""
        conflicts = []
        for ids in in_batches(list(self.sent.rows), AT_HAND):
            self.let_go(list(self.rows))  # the last ones stay: where there are few, they are read but once
            self.know(ids)
            for row_id in ids:
                row, sent = self.rows.get(row_id), self.sent.rows.pop(row_id)
                if stale:
                    conflicts.append(row_id)
                elif row is None or (row.deleted_at is None and row.revision <= since):
                    self.wanted[row_id] = sent
                elif row.revision <= since:
                    self.dead.append(row_id)  # a deletion wins
                elif row.deleted_at is not None or not sent.says(row):
                    conflicts.append(row_id)
        self.sent.rows.clear()  # empty as it is, it has room for all
        for ids in in_batches(list(self.sent.deleted)):
            live = dict(self.table.live_revisions(device=self.push.device.pk, ids=ids))
            for row_id in ids:
                if stale or live.get(row_id, 0) > since:
                    conflicts.append(row_id)
                elif row_id in live:
                    self.doomed.append(row_id)
        self.sent.deleted.clear()
        return conflicts

    # --- what becomes of it ------------------------------------------------------------------------

    def delete(self) -> None:
        """Make tombstones of what was deleted, and of its parts. It is written at once: nothing can stop it now."""
        for ids in in_batches(self.dead):
            self.table.all_by_id(self.push.device.pk, ids).update()
        device = self.push.device.pk
        for ids in in_batches(self.doomed):
            if self.whole:
                self.unsettled.update(whole for (whole,) in self.table.wholes(device=device, ids=ids))
            for buried in (self.table.live_by_id(device, ids), *(of.table.parts(device, ids) for of in self.parts())):
                buried.update(deleted_at=self.push.at)
        if self.doomed:
            for each in (self, *self.parts()):
                each.rows.clear()  # what is at hand may be deleted now
        self.doomed.clear()

    def take_in(self) -> None:
        """Put what was sent on the rows, and refuse what can never be stored, each row for itself."""
        for ids in in_batches(list(self.wanted), AT_HAND):
            self.let_go(self.rows.keys() - set(ids))
            self.know_with_named(ids)
            for row_id in ids:
                if (row := self.rows.get(row_id)) and row.deleted_at is not None:
                    del self.wanted[row_id]  # it went with what it was a part of
                    continue
                try:
                    self.check(row_id, self.wanted[row_id])
                except ValidationError as error:
                    self.refuse(row_id, self.sent.with_errors(error))
            if not self.table.unique:
                self.enter_all(ids)
        for column, message in self.table.unique.items():
            for row_id in self.without_a_value_of_its_own(column):
                self.refuse(row_id, self.sent.with_errors(refusal(column, message, "unique")))
        for ids in in_batches(list(self.wanted), AT_HAND):
            self.know_with_named(ids)
            self.enter_all(ids)
        self.wanted.clear()

    def enter_all(self, row_ids: list[UUID]) -> None:
        """Enter those of these rows that are wanted, and write what nothing else waits for."""
        self.count_parts(row_ids)
        for row_id in row_ids:
            if sent := self.wanted.pop(row_id, None):
                self.enter(row_id, sent)
        self.write([row for row in self.touched.values() if row.pk not in self.entered and not self.moves(row)])
        self.let_go(row_ids)

    def check(self, row_id: UUID, sent: SentRow) -> None:
        """Refuse a row, or raise ValidationError, if it can never be stored, whatever the others are."""
        if sent.errors:
            self.refuse(row_id, sent)
            return
        row, values = self.rows.get(row_id), sent.values
        if row_id in self.taken:
            raise refusal("id", "This id is taken.", "taken")
        if row is None and (missing := set(self.table.required) - values.keys() - {"id"}):
            raise ValidationError({name: [ErrorDetail("This field is required.", "required")] for name in missing})
        self.table.check(row, values, self.named(row_id, values))

    def named(self, row_id: UUID, values: Values) -> Named:
        """Return the rows that a row refers to anew; raise ValidationError where there is no such row."""
        return {column: self.referred(column, model, named) for column, model, named in self.named_anew(row_id, values)}

    def referred(self, column: str, model: type[DeviceOwned], row_id: UUID) -> DeviceOwned:
        """Return the device's row of this id, live or not."""
        row = self.push.incoming[model].rows.get(row_id)
        if row is None:
            raise refusal(column, no_such(model), "does_not_exist")
        return row

    def without_a_value_of_its_own(self, column: str) -> list[UUID]:
        """Return those rows whose value another one has, or claims first, when all that was sent is in."""
        claims = {row_id: sent.values[column] for row_id, sent in self.wanted.items() if column in sent.values}
        if not claims:
            return []
        held = dict(self.table.holders[column](device=self.push.device.pk))
        return refused_claims(held, claims)

    def enter(self, row_id: UUID, sent: SentRow) -> None:
        row, values = self.rows.get(row_id), sent.values
        named = self.named(row_id, values)
        if row is None:
            if refusal := self.count_new(values):
                self.refused[str(row_id)] = refusal
                return
            row = self.rows[row_id] = self.table.born(self.push.device, row_id, values, named)
            self.new.append(row)
            if any(part.table.each_whole_has_one for part in self.parts()):
                self.promised.add(row_id)
            if self.whole and self.whole.rows[getattr(row, self.table.part_of)].deleted_at is not None:
                row.deleted_at = self.push.at  # a part of what is deleted
        elif row.take(**self.table.changed(row, values, named)):
            self.touched[row_id] = row
        elif not sent.matches(row):
            self.touched[row_id] = row  # it is not as the phone has it
        claims = self.claims(row, values)
        if self.whole and (row._state.adding or claims):
            self.entered[row_id] = claims

    # --- quotas ------------------------------------------------------------------------------------

    def count_parts(self, row_ids: list[UUID]) -> None:
        """Find out how many parts are stored for each row that is to get another one."""
        if self.table.max_parts is None:
            return
        sent = [self.wanted[row_id].values for row_id in row_ids if row_id in self.wanted and row_id not in self.rows]
        self.count_parts_of({values[self.table.part_of] for values in sent})

    def count_parts_of(self, wholes: set[UUID]) -> None:
        unknown = wholes - self.parts_stored.keys()
        if unknown:
            self.parts_stored.update(dict.fromkeys(unknown, 0))
            self.parts_stored.update(self.table.stored_parts(device=self.push.device.pk, wholes=list(unknown)))

    def count_new(self, values: Values) -> list[dict] | None:
        """Count a new row; return the errors that refuse it if there may be no more.

        A row that always has a part is counted with it. The first part that comes for it is counted already.
        """
        whole_id = values.get(self.table.part_of)
        most = self.table.max_parts
        if most is not None and self.parts_stored[whole_id] >= most:
            return quota_errors(quota_reached(most, self.table.model, self.whole.table.model))
        if self.whole and whole_id in self.whole.promised:
            self.whole.promised.remove(whole_id)
        else:
            tables = [self.table, *(part.table for part in self.parts() if part.table.each_whole_has_one)]
            for others, table in enumerate(tables):
                if refusal := self.push.quota.refusal(table.model, others):
                    return quota_errors(refusal)
            for table in tables:
                self.push.quota.add(table.model)
        if most is not None:
            self.parts_stored[whole_id] += 1
        return None

    def claims(self, row: DeviceOwned, values: Values) -> bool:
        """Say whether the row is to hold what only one may hold, and does not yet."""
        return any(
            values.get(name, nothing) not in (nothing, getattr(row, name))
            for name, nothing in self.table.exclusive.items()
        )

    def refuse(self, row_id: UUID, sent: SentRow) -> None:
        if self.wanted.pop(row_id, None):
            self.refused[str(row_id)] = sent.errors

    def settle(self) -> None:
        """Settle what is for the parts of each row together to decide."""
        if self.whole is None:
            return
        came = deque(sorted(map(self.rows.get, self.entered), key=self.whole_of))
        wholes = {self.whole_of(part) for part in came} | self.unsettled
        # Few at a time, written at once but for what was sent as new: there may be very many.
        for ids in in_batches(sorted(wholes), AT_HAND):
            batch = Incoming(self.push, Sent(self.table, {}), set())
            while came and self.whole_of(came[0]) <= ids[-1]:
                part = came.popleft()
                batch.rows[part.pk], batch.entered[part.pk] = part, self.entered.pop(part.pk)
                if self.touched.pop(part.pk, None):
                    batch.touched[part.pk] = part
            batch.settle_parts_of(ids)
            batch.store()
            self.refused |= batch.refused

    def whole_of(self, part: DeviceOwned) -> UUID:
        return getattr(part, self.table.part_of)

    def settle_parts_of(self, wholes: list[UUID]) -> None:
        """Settle the parts of those of these rows that are live."""
        self.know_live_parts(wholes)
        parts, claims = defaultdict(list), defaultdict(list)
        for part in sorted(self.rows.values(), key=age):
            if part.deleted_at is None:
                parts[self.whole_of(part)].append(part)
        for part_id, claiming in self.entered.items():
            if claiming:
                claims[self.whole_of(self.rows[part_id])].append(self.rows[part_id])
        live = [whole for whole, _ in self.whole.table.live_revisions(device=self.push.device.pk, ids=wholes)]
        self.count_made([whole for whole in live if not parts[whole]], parts)
        for whole in live:
            of = {"device_id": self.push.device.pk, self.table.part_of: whole}
            for part, values in self.table.settle(parts[whole], claims[whole], **of):
                self.take(part, values)

    def count_made(self, wholes: list[UUID], parts: dict[UUID, list[DeviceOwned]]) -> None:
        """Count the parts that the server makes for rows without any; if there may be no more, keep a deleted one.

        Its deletion is refused then. Otherwise each push could delete the last part and have another one stored.
        """
        if not self.table.each_whole_has_one:
            return
        most, without, errors = self.table.max_parts, [], []
        if most is not None:
            self.count_parts_of(set(wholes))
        for whole in wholes:
            if whole in self.whole.promised:
                self.whole.promised.remove(whole)
                continue
            refusal = self.push.quota.refusal(self.table.model)
            if most is not None and self.parts_stored[whole] >= most:
                refusal = quota_reached(most, self.table.model, self.whole.table.model)
            if refusal is None:
                self.push.quota.add(self.table.model)
            else:
                without.append(whole)
                errors = quota_errors(refusal)
        if not without:
            return
        for part in self.table.parts_deleted_at(self.push.device.pk, without, self.push.at):
            if not parts[whole := self.whole_of(part)]:
                part.deleted_at = None
                parts[whole].append(part)
                self.rows[part.pk] = self.touched[part.pk] = part
                self.refused[str(part.pk)] = errors

    def take(self, part: DeviceOwned, values: Values) -> None:
        differs = part.take(**values)
        if part.pk not in self.rows:
            self.rows[part.pk] = part
            self.new.append(part)
        elif differs and not part._state.adding:
            self.touched[part.pk] = part

    # --- and now it is stored ----------------------------------------------------------------------

    def store(self) -> None:
        self.release()
        for done in (self.entered, self.rows, self.held, self.push.ids):
            done.clear()
        if self.new:
            stored = self.table.model.all_objects.for_device(self.push.device).add_all(self.new)
            if len(stored) < len(self.new):
                raise IdsTaken(self.table, {row.pk for row in self.new} - stored)
            for parts in self.parts():
                parts.unsettled |= stored
            self.new.clear()
        self.write(list(self.touched.values()))

    def write(self, rows: list[DeviceOwned]) -> None:
        """Write stored rows that have changed: with that they are done."""
        if rows:
            self.table.model.all_objects.for_device(self.push.device).change_all(rows)
        for row in rows:
            del self.touched[row.pk]

    def moves(self, row: DeviceOwned) -> bool:
        """Say whether the stored row gets, or lets go of, what only one may hold."""
        return self.held.get(row.pk, self.table.exclusive) != self.exclusive_of(row)

    def release(self) -> None:
        """Let go of what another row may get now: no two may hold it, not even for a moment."""
        nothing = self.table.exclusive
        letting_go = [
            row for row in self.touched.values() if self.held.get(row.pk, nothing) != nothing and self.moves(row)
        ]
        if not letting_go:
            return
        becoming = [{name: getattr(row, name) for name in nothing} for row in letting_go]
        for row in letting_go:
            put(row, nothing)
        self.table.model.all_objects.for_device(self.push.device).change_all(letting_go)
        for row, values in zip(letting_go, becoming, strict=True):
            put(row, values)


def quota_errors(refusal: APIException) -> list[dict]:
    return [{"loc": [], "msg": str(refusal.detail), "type": "quota"}]


def put(row: DeviceOwned, values: Values) -> None:
    for name, value in values.items():
        setattr(row, name, value)


def age(row: DeviceOwned) -> tuple:
    """Sort stored rows by age, before new ones, which come in the order sent."""
    return (0, row.created_at, row.pk) if row.created_at else (1,)
