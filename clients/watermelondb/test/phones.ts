/** Two kinds of phone, one interface: the published WatermelonDB with the set-up of this project, and the one by hand. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { Database, DirtyRaw, Model } from "@nozbe/watermelondb";
import LokiJSAdapter from "@nozbe/watermelondb/adapters/lokijs";
import { hasUnsyncedChanges } from "@nozbe/watermelondb/sync";
import logger from "@nozbe/watermelondb/utils/common/logger";
import { Diary, type Storage } from "../src/handwritten";
import { giveNewIds } from "../src/recovery";
import { migrations, openDatabase, schema } from "../src/schema";
import type { Account, Rejected } from "../src/server";
import { sync } from "../src/sync";
import { everything, inForm, type Row, type Table, TABLES, type Tables } from "./service";

export interface Phone {
  /** Create a row, or change the columns of it that are given. */
  put(table: Table, values: Partial<Row>): Promise<string>;
  delete(table: Table, id: string): Promise<void>;
  giveNewIds(): Promise<void>;
  sync(): Promise<Rejected[]>;
  everything(): Promise<Tables>;
  isSynced(): Promise<boolean>;
}

export class Watermelon implements Phone {
  database: Database;

  constructor(public account: Account, adapter = inMemory()) {
    this.database = openDatabase(adapter, randomUUID);
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

  giveNewIds(): Promise<void> {
    return giveNewIds(this.database);
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

/** What a phone stores. It forgets everything else when the app is killed. */
export class InMemory implements Storage {
  values = new Map<string, string>();

  async getAllKeys(): Promise<string[]> {
    return [...this.values.keys()];
  }

  async multiGet(keys: string[]): Promise<[string, string | null][]> {
    return keys.map((key) => [key, this.values.get(key) ?? null]);
  }

  async multiSet(values: [string, string][]): Promise<void> {
    for (const [key, value] of values) await this.write(() => this.values.set(key, value));
  }

  async multiRemove(keys: string[]): Promise<void> {
    for (const key of keys) await this.write(() => this.values.delete(key));
  }

  protected async write(write: () => void): Promise<void> {
    write();
  }
}

export class Handwritten implements Phone {
  private opened?: Promise<Diary>;

  constructor(public account: Account, public storage: Storage = new InMemory()) {}

  /** The diary. The app is started at the first use, and again after a `restart()`. */
  async diary(): Promise<Diary> {
    this.opened ??= Diary.open(this.storage, randomUUID);
    return this.opened;
  }

  restart(): void {
    this.opened = undefined;
  }

  async put(table: Table, values: Partial<Row>): Promise<string> {
    return (await this.diary()).put(table, values);
  }

  async delete(table: Table, id: string): Promise<void> {
    await (await this.diary()).delete(table, id);
  }

  async giveNewIds(): Promise<void> {
    await (await this.diary()).giveNewIds();
  }

  async sync(): Promise<Rejected[]> {
    return (await this.diary()).sync(this.account);
  }

  async everything(): Promise<Tables> {
    const { rows } = await this.diary();
    return inForm((table) => [...rows[table].values()].filter(({ isDeleted }) => !isDeleted).map(({ row }) => row));
  }

  async isSynced(): Promise<boolean> {
    const { rows } = await this.diary();
    const all = TABLES.flatMap((table) => [...rows[table].values()]);
    return all.every(({ changed, isDeleted, isNew }) => !changed.length && !isDeleted && !isNew);
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
