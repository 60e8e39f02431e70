import type { Database, DirtyRaw, Model } from "@nozbe/watermelondb";
import { setRawColumnChange } from "@nozbe/watermelondb/sync/helpers";

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
    const products = standIns(own, known).map((raw) => database.get("products").prepareCreateFromDirtyRaw(raw));
    const marked = own.map((record) => record.prepareUpdate(() => mark(record, stored.get(record.id), known)));
    await database.batch([...products, ...marked]);
  });
}

function mark(record: Model, stored: DirtyRaw | undefined, known: Set<string>): void {
  const raw: DirtyRaw = record._raw;
  if (raw.portion_id && !known.has(raw.portion_id)) {
    record._setRaw("portion_id", null); // nobody has it any more; the grams say what was eaten
    record._setRaw("quantity", null);
  }
  if (!stored) raw._status = "created";
  for (const column of Object.keys(record.collection.schema.columns)) {
    if (stored && stored[column] !== raw[column]) setRawColumnChange(record._raw, column);
  }
}

/** Give every row a new id, and forget what was synced. For going on under a new device id: ids are never used twice. */
export async function giveNewIds(database: Database): Promise<void> {
  await database.write(async () => {
    const old = await recordsOf(database);
    const missing = standIns(old, new Set(old.map(({ id }) => id)));
    const rows = [
      ...old.map((record) => ({ table: record.table, raw: { ...record._raw } as DirtyRaw })),
      ...missing.map((raw) => ({ table: "products", raw })),
    ];
    const ids = new Map(rows.map(({ raw }) => [raw.id, crypto.randomUUID()]));
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

async function recordsOf(database: Database): Promise<Model[]> {
  const tables = Object.keys(database.schema.tables);
  return (await Promise.all(tables.map((table) => database.get(table).query().fetch()))).flat();
}

/** Return the products that entries were logged with and that nobody has any more, by what the entries say of them. */
function standIns(records: Model[], known: Set<string>): DirtyRaw[] {
  const entries = records.filter((record) => record.table === "food_entries").map((record): DirtyRaw => record._raw);
  const orphans = entries.filter((entry) => !known.has(entry.product_id));
  return [...new Map(orphans.map((entry) => [entry.product_id, productOf(entry)])).values()];
}

function productOf({ product_id, product_name, grams, kcal, protein, carbs, fat }: DirtyRaw): DirtyRaw {
  const per100g = (amount: number | null) => amount === null ? null : Math.min(100, (amount / grams) * 100);
  return {
    id: product_id,
    name: product_name,
    kcal_100g: Math.min(1000, Math.round((kcal / grams) * 100)),
    protein_100g: per100g(protein),
    carbs_100g: per100g(carbs),
    fat_100g: per100g(fat),
  };
}
