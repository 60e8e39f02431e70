const TABLES = ["products", "portions", "food_entries"] as const;
const EATEN = ["product_id", "portion_id", "quantity", "grams"]; // one decision: they are merged together

export type Table = (typeof TABLES)[number];
export type Row = { id: string; [column: string]: unknown };
/** A row as it is here; `changed` names the columns that the server has not heard of. Never altered, only replaced. */
type Kept = { row: Row; changed: string[]; isNew?: boolean; isDeleted?: boolean };
type Sent = { table: Table; kept: Kept }[];

/** A phone's own copy, and its sync. Store `rows` and `cursor` together, or neither. */
export class Diary {
  cursor = 0;
  rows: Record<Table, Map<string, Kept>> = { products: new Map(), portions: new Map(), food_entries: new Map() };

  constructor(private url: string, private token: string) {}

  /** Create a row, or change the columns of it that are given. Returns its id. */
  put(table: Table, { id = crypto.randomUUID(), ...values }: Partial<Row>): string {
    const kept = this.rows[table].get(id);
    const eaten = table === "food_entries" && EATEN.some((column) => column in values) ? EATEN : [];
    const changed = [...new Set([...(kept?.changed ?? []), ...Object.keys(values), ...eaten])];
    const created = { row: { id, ...values }, changed: [], isNew: true };
    this.rows[table].set(id, kept ? { ...kept, row: { ...kept.row, ...values }, changed } : created);
    return id;
  }

  delete(table: Table, id: string): void {
    const kept = this.rows[table].get(id);
    if (kept) this.rows[table].set(id, { ...kept, isDeleted: true });
  }

  /** Pull, merge, push; once more where the push ran into a newer change. Returns what was refused, and why. */
  async sync(retries = 1): Promise<{ table: Table; id: string; errors: object[] }[]> {
    this.merge(await this.call());
    const all = TABLES.flatMap((table) => [...this.rows[table].values()].map((kept) => ({ table, kept })));
    const sent = all.filter(({ kept }) => kept.isNew || kept.isDeleted || kept.changed.length);
    const answer = sent.length ? await this.call(changesOf(sent)) : {};
    if (answer.conflicts && retries) return this.sync(retries - 1);
    if (answer.conflicts) throw new Error("Another phone is writing. Try again later.");
    this.settle(sent, answer.experimentalRejectedIds ?? {});
    return answer.rejected ?? [];
  }

  private merge({ changes, timestamp, restored, newer, experimentalStrategy }: any): void {
    for (const table of TABLES) {
      const rows = this.rows[table];
      const stored = new Map<string, Row>(changes[table].updated.map((row: Row) => [row.id, row]));
      const deleted = new Set(changes[table].deleted);
      for (const [id, kept] of rows) {
        const isGone = experimentalStrategy === "replacement" && !stored.has(id) && !kept.isNew;
        if (isGone || deleted.has(id)) rows.delete(id);
        else if (restored && !newer[table].includes(id)) rows.set(id, { ...kept, isNew: !stored.has(id), changed: Object.keys(kept.row) });
      }
      for (const [id, theirs] of stored) {
        const { row = theirs, changed = [], isDeleted } = rows.get(id) ?? {};
        const own = Object.fromEntries(changed.map((column) => [column, row[column]]));
        rows.set(id, { row: { ...theirs, ...own }, changed, isDeleted });
      }
    }
    this.cursor = timestamp;
  }

  private settle(sent: Sent, rejectedIds: { [table: string]: string[] }): void {
    for (const { table, kept } of sent) {
      const { id } = kept.row;
      if (rejectedIds[table]?.includes(id) || this.rows[table].get(id) !== kept) continue; // refused, or changed since
      if (kept.isDeleted) this.rows[table].delete(id);
      else this.rows[table].set(id, { row: kept.row, changed: [] });
    }
  }

  private async call(changes?: object): Promise<any> {
    const response = await fetch(`${this.url}/sync?last_pulled_at=${this.cursor}`, {
      method: changes ? "POST" : "GET",
      headers: { Authorization: `Bearer ${this.token}`, "Content-Type": "application/json" },
      body: changes && JSON.stringify(changes),
    });
    if (response.ok || response.status === 409) return response.json();
    throw new Error(`${response.status} ${await response.text()}`);
  }
}

function changesOf(sent: Sent): object {
  const rows = (table: Table, areDeleted: boolean) =>
    sent.filter(({ table: of, kept }) => of === table && !!kept.isDeleted === areDeleted).map(({ kept }) => kept.row);
  const changes = (table: Table) => ({ updated: rows(table, false), deleted: rows(table, true).map(({ id }) => id) });
  return Object.fromEntries(TABLES.map((table) => [table, changes(table)]));
}
