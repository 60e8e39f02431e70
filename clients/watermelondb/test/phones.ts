/** Two kinds of phone, one interface: the published WatermelonDB with the set-up of this project, and the one by hand. */
import assert from "node:assert/strict";
import { Database, type DirtyRaw, type Model } from "@nozbe/watermelondb";
import LokiJSAdapter from "@nozbe/watermelondb/adapters/lokijs";
import { hasUnsyncedChanges } from "@nozbe/watermelondb/sync";
import logger from "@nozbe/watermelondb/utils/common/logger";
import { Diary } from "../src/handwritten";
import { migrations, modelClasses, schema } from "../src/schema";
import { type Account, type Rejected, sync } from "../src/sync";
import { everything, inForm, type Row, type Table, TABLES, type Tables } from "./service";

export interface Phone {
  /** Create a row, or change the columns of it that are given. */
  put(table: Table, values: Partial<Row>): Promise<string>;
  delete(table: Table, id: string): Promise<void>;
  sync(): Promise<Rejected[]>;
  everything(): Promise<Tables>;
  isSynced(): Promise<boolean>;
}

export class Watermelon implements Phone {
  database: Database;

  constructor(public account: Account, adapter = inMemory()) {
    this.database = new Database({ adapter, modelClasses });
  }

  async put(table: Table, { id, ...values }: Partial<Row>): Promise<string> {
    const collection = this.database.get(table);
    const known = id && (await collection.query().fetchIds()).includes(id);
    const write = (record: Model) => {
      for (const [column, value] of Object.entries(values)) record._setRaw(column, value);
    };
    const record = await this.database.write(async () =>
      known
        ? (await collection.find(id)).update(write)
        : collection.create((created) => {
            if (id) (created._raw as DirtyRaw).id = id;
            write(created);
          }),
    );
    return record.id;
  }

  async delete(table: Table, id: string): Promise<void> {
    const record = await this.database.get(table).find(id);
    await this.database.write(() => record.markAsDeleted());
  }

  sync(): Promise<Rejected[]> {
    return sync(this.database, this.account);
  }

  async everything(): Promise<Tables> {
    const records = await Promise.all(TABLES.map((table) => this.database.get(table).query().fetch()));
    return inForm((table) => records[TABLES.indexOf(table)].map((record) => record._raw));
  }

  async isSynced(): Promise<boolean> {
    return !(await hasUnsyncedChanges({ database: this.database }));
  }
}

export function inMemory(options: object = {}): LokiJSAdapter {
  const anywhere = { useWebWorker: false, useIncrementalIndexedDB: true, extraLokiOptions: { autosave: false } };
  return new LokiJSAdapter({ schema, migrations, ...anywhere, ...options });
}

export class Handwritten implements Phone {
  diary: Diary;

  constructor(public account: Account) {
    this.diary = new Diary(account.url, account.token);
  }

  async put(table: Table, values: Partial<Row>): Promise<string> {
    return this.diary.put(table, values);
  }

  async delete(table: Table, id: string): Promise<void> {
    this.diary.delete(table, id);
  }

  sync(): Promise<Rejected[]> {
    return this.diary.sync() as Promise<Rejected[]>;
  }

  async everything(): Promise<Tables> {
    return inForm((table) =>
      [...this.diary.rows[table].values()].filter(({ isDeleted }) => !isDeleted).map(({ row }) => row),
    );
  }

  async isSynced(): Promise<boolean> {
    const rows = TABLES.flatMap((table) => [...this.diary.rows[table].values()]);
    return rows.every(({ changed, isDeleted, isNew }) => !changed.length && !isDeleted && !isNew);
  }
}

export const KINDS = [Watermelon, Handwritten];

/** Sync all phones until each has heard of what the others pushed; then they and REST must say the same, row by row. */
export async function agree(...phones: (Phone & { account: Account })[]): Promise<Tables> {
  for (const phone of [...phones, ...phones]) assert.deepEqual(await phone.sync(), []);
  const stored = await everything(phones[0].account);
  for (const phone of phones) {
    assert.deepEqual(await phone.everything(), stored);
    assert.ok(await phone.isSynced());
  }
  return stored;
}

// --- what the library complains about -----------------------------------------------------------------

export const complaints: string[] = [];

logger.log = () => {};
logger.warn = logger.error = (...messages: unknown[]) => void complaints.push(messages.join(" "));
