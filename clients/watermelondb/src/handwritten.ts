import { standInsFor } from "./lost";
import { type Account, push, type Rejected, request, ServerError } from "./server";

const TABLES = ["products", "portions", "food_entries"] as const;
const EATEN = ["product_id", "portion_id", "quantity", "grams"]; // they belong together, and are merged together

export type Table = (typeof TABLES)[number];
export type Row = { id: string; [column: string]: unknown };
/** A row as it is on this phone, and the columns that the server doesn't know yet. It is replaced, never altered. */
type Kept = { row: Row; changed: string[]; isNew?: boolean; isDeleted?: boolean };
type Rows = Record<Table, Map<string, Kept>>;
type Sent = { table: Table; kept: Kept }[];
type State = { generation: number; cursor: number; tables: string[] };

/**
 * Where the rows are stored: `expo-sqlite/kv-store`, AsyncStorage 2, or anything with these methods. A value must be
 * stored as a whole or not at all. After a crash, some of several values may be missing.
 */
export interface Storage {
  getAllKeys(): Promise<readonly string[]>;
  multiGet(keys: string[]): Promise<readonly (readonly [string, string | null])[]>;
  multiSet(values: [key: string, value: string][]): Promise<void>;
  multiRemove(keys: string[]): Promise<void>;
}

const STATE = "countonme/state";
const BATCH = 500; // values in one call of the storage

/**
 * The rows of a diary on this phone, and their sync.
 *
 * Each row has its own key. A pull stores the cursor last: after a crash, the next pull brings the same changes again.
 */
export class Diary {
  /** Rows that are deleted stay here, with `isDeleted`, until the server has the deletion. */
  rows = noRows();
  private state: State = { generation: 0, cursor: 0, tables: [] };
  private writing: Promise<void> = Promise.resolve();
  private running?: Promise<Rejected[]>;

  private constructor(
    private storage: Storage,
    private randomUUID: () => string,
  ) {}

  /** Read what is stored. `randomUUID` makes the ids of new rows. */
  static async open(storage: Storage, randomUUID: () => string): Promise<Diary> {
    const diary = new Diary(storage, randomUUID);
    const [[, state]] = await storage.multiGet([STATE]);
    if (state) diary.state = JSON.parse(state);
    const keys = await diary.keys((key) => key.startsWith(diary.prefix));
    for (const some of batches(keys)) {
      for (const [key, value] of await storage.multiGet(some)) {
        const [table, id] = key.slice(diary.prefix.length).split("/");
        if (value && table in diary.rows) diary.rows[table as Table].set(id, JSON.parse(value));
      }
    }
    await diary.removeOldGenerations();
    return diary;
  }

  /** Create a row, or change the given columns of it. Returns its id, as soon as the row is stored on the phone. */
  async put(table: Table, { id = this.randomUUID(), ...values }: Partial<Row>): Promise<string> {
    const kept = this.rows[table].get(id);
    const eaten = table === "food_entries" && EATEN.some((column) => column in values) ? EATEN : [];
    const changed = [...new Set([...(kept?.changed ?? []), ...Object.keys(values), ...eaten])];
    const created = { row: { id, ...values }, changed: [], isNew: true };
    this.rows[table].set(id, kept ? { ...kept, row: { ...kept.row, ...values }, changed } : created);
    await this.store([[table, id]]);
    return id;
  }

  async delete(table: Table, id: string): Promise<void> {
    const kept = this.rows[table].get(id);
    if (kept) this.rows[table].set(id, { ...kept, isDeleted: true });
    await this.store([[table, id]]);
  }

  /** Pull, merge, push. If the push is in conflict with a newer change, do it once more. Returns the rejected rows. */
  sync(account: Account): Promise<Rejected[]> {
    this.running ??= this.syncTwice(account).finally(() => (this.running = undefined));
    return this.running;
  }

  private async syncTwice(account: Account): Promise<Rejected[]> {
    try {
      return await this.syncOnce(account);
    } catch (error) {
      if (!(error instanceof ServerError && error.status === 409)) throw error;
      return await this.syncOnce(account);
    }
  }

  private async syncOnce(account: Account): Promise<Rejected[]> {
    const tables = TABLES.filter((table) => !this.state.tables.includes(table)); // new in this version of the app
    const migration = encodeURIComponent(JSON.stringify({ tables }));
    const query = `last_pulled_at=${this.state.cursor}&migration=${migration}`;
    await this.merge(await request(account, "GET", `/sync?${query}`));
    const all = TABLES.flatMap((table) => [...this.rows[table].values()].map((kept) => ({ table, kept })));
    const sent = all.filter(({ kept }) => kept.isNew || kept.isDeleted || kept.changed.length);
    if (!sent.length) return [];
    const answer = await push(account, this.state.cursor, changesOf(sent));
    await this.settle(sent, answer.experimentalRejectedIds);
    return answer.rejected;
  }

  private async merge({ changes, timestamp, restored, newer, experimentalStrategy }: any): Promise<void> {
    const before = copyOf(this.rows);
    if (restored) this.reclaim(changes, newer);
    for (const table of TABLES) {
      const rows = this.rows[table];
      const stored = new Map<string, Row>(changes[table].updated.map((row: Row) => [row.id, row]));
      const deleted = new Set(changes[table].deleted);
      for (const [id, { isNew }] of rows) {
        const isGone = experimentalStrategy === "replacement" && !stored.has(id) && !isNew;
        if (isGone || deleted.has(id)) rows.delete(id);
      }
      for (const [id, theirs] of stored) {
        const { row = theirs, changed = [], isDeleted } = rows.get(id) ?? {};
        const own = Object.fromEntries(changed.map((column) => [column, row[column]]));
        rows.set(id, { row: { ...theirs, ...own }, changed, isDeleted });
      }
    }
    await this.store(differences(before, this.rows));
    await this.moveTo({ ...this.state, cursor: timestamp, tables: [...TABLES] });
  }

  /** Mark what a restored server has lost as new. Create the products that entries lack, and forget lost portions. */
  private reclaim(changes: any, newer: any): void {
    const stored = new Set(TABLES.flatMap((table) => [...changes[table].updated.map(idOf), ...changes[table].deleted]));
    const own = liveRows(this.rows);
    const known = new Set([...stored, ...own.map(({ row }) => row.id)]);
    for (const row of standInsFor(entriesOf(own), known)) {
      this.rows.products.set(row.id, { row, changed: [], isNew: true });
      known.add(row.id);
    }
    for (const [id, { row }] of this.rows.portions) if (!known.has(row.product_id)) this.rows.portions.delete(id);
    for (const table of TABLES) {
      for (const [id, kept] of this.rows[table]) {
        if (newer[table].includes(id)) continue;
        const isLost = kept.row.portion_id && !known.has(kept.row.portion_id); // the grams say what was eaten
        const row = isLost ? { ...kept.row, portion_id: null, quantity: null } : kept.row;
        this.rows[table].set(id, { ...kept, row, isNew: !stored.has(id), changed: Object.keys(row) });
      }
    }
  }

  /** Mark what was sent as stored by the server, unless it was rejected, or changed meanwhile. */
  private async settle(sent: Sent, rejectedIds: { [table: string]: string[] }): Promise<void> {
    const settled = sent.filter(
      ({ table, kept }) => !rejectedIds[table]?.includes(kept.row.id) && this.rows[table].get(kept.row.id) === kept,
    );
    for (const { table, kept } of settled) {
      if (kept.isDeleted) this.rows[table].delete(kept.row.id);
      else this.rows[table].set(kept.row.id, { row: kept.row, changed: [] });
    }
    await this.store(settled.map(({ table, kept }) => [table, kept.row.id]));
  }

  /**
   * Give every row a new id, as if nothing had been synced. For a new device: the server rejects ids that another one
   * has used. Write nothing else meanwhile.
   */
  async giveNewIds(): Promise<void> {
    await this.running?.catch(() => {});
    const own = liveRows(this.rows);
    const missing: Row[] = standInsFor(entriesOf(own), new Set(own.map(({ row }) => row.id)));
    const all = [...missing.map((row) => ({ table: "products" as Table, row })), ...own];
    const products = new Set<unknown>(all.filter(({ table }) => table === "products").map(({ row }) => row.id));
    const kept = all.filter(({ table, row }) => table !== "portions" || products.has(row.product_id));
    const ids = new Map<unknown, string>(kept.map(({ row }) => [row.id, this.randomUUID()]));
    const rows = noRows();
    for (const { table, row: old } of kept) {
      const row: Row = { ...old, id: ids.get(old.id)! };
      if (table !== "products") row.product_id = ids.get(old.product_id);
      if (old.portion_id) row.portion_id = ids.get(old.portion_id) ?? null;
      if (old.quantity && !row.portion_id) row.quantity = null;
      rows[table].set(row.id, { row, changed: [], isNew: true });
    }
    // Rows of the next generation don't count until the state names it. So a crash leaves all of the old or of the new.
    const generation = this.state.generation + 1;
    await this.store(differences(noRows(), rows), rows, generation);
    await this.moveTo({ generation, cursor: 0, tables: [] });
    this.rows = rows;
    await this.removeOldGenerations();
  }

  // --- storage ------------------------------------------------------------------------------------------

  private get prefix(): string {
    return prefixOf(this.state.generation);
  }

  /** Store rows as they are now, after everything that was to be stored before. */
  private store(which: [Table, string][], rows = this.rows, generation = this.state.generation): Promise<void> {
    const values: [string, string][] = [];
    const removed: string[] = [];
    for (const [table, id] of which) {
      const kept = rows[table].get(id);
      const key = `${prefixOf(generation)}${table}/${id}`;
      if (kept) values.push([key, JSON.stringify(kept)]);
      else removed.push(key);
    }
    return this.inTurn(async () => {
      for (const some of batches(values)) await this.storage.multiSet(some);
      for (const some of batches(removed)) await this.storage.multiRemove(some);
    });
  }

  private async moveTo(state: State): Promise<void> {
    await this.inTurn(() => this.storage.multiSet([[STATE, JSON.stringify(state)]]));
    this.state = state;
  }

  private inTurn(write: () => Promise<void>): Promise<void> {
    const written = this.writing.then(write);
    this.writing = written.catch(() => {}); // the caller awaits `written`, and gets the error
    return written;
  }

  private async removeOldGenerations(): Promise<void> {
    const old = await this.keys((key) => key.startsWith("countonme/") && key !== STATE && !key.startsWith(this.prefix));
    for (const some of batches(old)) await this.storage.multiRemove(some);
  }

  private async keys(isWanted: (key: string) => boolean): Promise<string[]> {
    return (await this.storage.getAllKeys()).filter(isWanted);
  }
}

const prefixOf = (generation: number) => `countonme/${generation}/`;

function noRows(): Rows {
  return { products: new Map(), portions: new Map(), food_entries: new Map() };
}

function copyOf({ products, portions, food_entries }: Rows): Rows {
  return { products: new Map(products), portions: new Map(portions), food_entries: new Map(food_entries) };
}

function liveRows(rows: Rows): { table: Table; row: Row }[] {
  const all = TABLES.flatMap((table) => [...rows[table].values()].map((kept) => ({ table, ...kept })));
  return all.filter(({ isDeleted }) => !isDeleted).map(({ table, row }) => ({ table, row }));
}

const entriesOf = (rows: { table: Table; row: Row }[]) =>
  rows.filter(({ table }) => table === "food_entries").map(({ row }) => row);
const idOf = ({ id }: Row) => id;

function differences(before: Rows, after: Rows): [Table, string][] {
  return TABLES.flatMap((table) => {
    const ids = [...new Set([...before[table].keys(), ...after[table].keys()])];
    return ids.filter((id) => before[table].get(id) !== after[table].get(id)).map((id): [Table, string] => [table, id]);
  });
}

function batches<Item>(items: Item[]): Item[][] {
  return Array.from({ length: Math.ceil(items.length / BATCH) }, (_, n) => items.slice(n * BATCH, (n + 1) * BATCH));
}

function changesOf(sent: Sent): object {
  const rows = (table: Table, areDeleted: boolean) =>
    sent.filter(({ table: of, kept }) => of === table && !!kept.isDeleted === areDeleted).map(({ kept }) => kept.row);
  const changes = (table: Table) => ({ updated: rows(table, false), deleted: rows(table, true).map(({ id }) => id) });
  return Object.fromEntries(TABLES.map((table) => [table, changes(table)]));
}
