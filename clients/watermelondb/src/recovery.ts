import type { Database, DirtyRaw, Model } from "@nozbe/watermelondb";
import { setRawColumnChange } from "@nozbe/watermelondb/sync/helpers";
import randomId from "@nozbe/watermelondb/utils/common/randomId";
import { standInsFor } from "./lost";

type Changes = { [table: string]: { updated: DirtyRaw[]; deleted: string[] } };
type Newer = { [table: string]: string[] };

/**
 * Mark what a restored server has lost: the rows that it lacks as created, the columns in which it differs as changed.
 * The sync that is under way then keeps them in its merge, and pushes them. Rows that are newer than the last pull are
 * merged like those of any pull.
 */
export async function reclaim(database: Database, changes: Changes, newer: Newer): Promise<void> {
  const stored = new Map(Object.values(changes).flatMap(({ updated }) => updated).map((row) => [row.id, row]));
  const deleted = Object.values(changes).flatMap((table) => table.deleted);
  await database.write(async () => {
    const isNewer = new Set(Object.values(newer).flat());
    const own = (await recordsOf(database)).filter(({ id }) => !isNewer.has(id));
    const known = new Set([...own.map(({ id }) => id), ...stored.keys(), ...deleted]);
    const missing = standIns(own, known);
    for (const { id } of missing) known.add(id);
    const [orphans, kept] = split(own, known);
    await database.adapter.destroyDeletedRecords("products", missing.map(({ id }) => id)); // their ids are needed again
    await database.batch([
      ...missing.map((raw) => database.get("products").prepareCreateFromDirtyRaw(raw)),
      ...orphans.map((portion) => portion.prepareDestroyPermanently()),
      ...kept.map((record) => record.prepareUpdate(() => mark(record, stored.get(record.id), known))),
    ]);
  });
}

function mark(record: Model, stored: DirtyRaw | undefined, known: Set<string>): void {
  const raw: DirtyRaw = record._raw;
  if (raw.portion_id && !known.has(raw.portion_id)) {
    record._setRaw("portion_id", null); // nobody has it any more, and the grams say what was eaten
    record._setRaw("quantity", null);
  }
  if (!stored) raw._status = "created";
  for (const column of Object.keys(record.collection.schema.columns)) {
    if (stored && stored[column] !== raw[column]) setRawColumnChange(record._raw, column);
  }
}

/**
 * Give every row a new id, as if nothing had been synced. For a new device: the server rejects ids that another device
 * has used.
 */
export async function giveNewIds(database: Database): Promise<void> {
  await database.write(async () => {
    const old = await recordsOf(database);
    const known = new Set(old.map(({ id }) => id));
    const missing = standIns(old, known);
    for (const { id } of missing) known.add(id);
    const rows = [
      ...split(old, known)[1].map((record) => ({ table: record.table, raw: { ...record._raw } as DirtyRaw })),
      ...missing.map((raw) => ({ table: "products", raw })),
    ];
    const ids = new Map(rows.map(({ raw }) => [raw.id, randomId()]));
    const copies = rows.map(({ table, raw }) =>
      database.get(table).prepareCreateFromDirtyRaw({
        ...raw,
        id: ids.get(raw.id),
        product_id: ids.get(raw.product_id),
        portion_id: ids.get(raw.portion_id),
        quantity: ids.has(raw.portion_id) ? raw.quantity : null,
        _status: "created",
        _changed: "",
      }),
    );
    await database.batch([...old.map((record) => record.prepareDestroyPermanently()), ...copies]);
    for (const table of Object.keys(database.schema.tables)) {
      await database.adapter.destroyDeletedRecords(table, await database.adapter.getDeletedRecords(table));
    }
    for (const key of ["last_pulled_at", "last_pulled_schema_version"]) {
      await database.localStorage.remove(`__watermelon_${key}`);
    }
  });
}

/** Return the portions whose product is unknown, which nobody needs, and all other records. */
function split(records: Model[], known: Set<string>): [Model[], Model[]] {
  const isOrphan = ({ table, _raw }: Model) => table === "portions" && !known.has((_raw as DirtyRaw).product_id);
  return [records.filter(isOrphan), records.filter((record) => !isOrphan(record))];
}

async function recordsOf(database: Database): Promise<Model[]> {
  const tables = Object.keys(database.schema.tables);
  return (await Promise.all(tables.map((table) => database.get(table).query().fetch()))).flat();
}

function standIns(records: Model[], known: Set<string>): DirtyRaw[] {
  const entries = records.filter(({ table }) => table === "food_entries").map((record): DirtyRaw => record._raw);
  return standInsFor(entries, known);
}
