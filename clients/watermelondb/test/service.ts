/** The live service: its REST API, its commands, and the network in between. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { schema } from "../src/schema";
import type { Account } from "../src/server";

export type Table = "products" | "portions" | "food_entries";
export type Row = { id: string; [column: string]: any };
export type Tables = Record<Table, Row[]>;

export const TABLES: Table[] = ["products", "portions", "food_entries"];
const ROOT = resolve(__dirname, "../../../..");
export const url = process.env.COUNTONME_URL ?? assert.fail("no service: run `make test-clients`");

export async function register(device_id: string = randomUUID()): Promise<Account> {
  const { token } = await rest({ url, token: "" }, "POST", "/auth/register", { device_id });
  return { url, token };
}

/** Ask the REST API, and return the body of its answer; anything but a 2xx fails. */
export async function rest(account: Account, method: string, path: string, body?: object): Promise<any> {
  const response = await send(account.url + path, {
    method,
    headers: { Authorization: `Bearer ${account.token}`, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

/** Everything of a device that is live, as REST shows it, in the columns and the form that phones have. */
export async function everything(account: Account): Promise<Tables> {
  const products = await pages(account, "/products");
  const tables = {
    products,
    portions: products.flatMap((product) => product.portions),
    food_entries: await pages(account, "/food-entries"),
  };
  return inForm((table) => tables[table]);
}

async function pages(account: Account, path: string, offset = 0): Promise<Row[]> {
  const page = await rest(account, "GET", `${path}?limit=200&offset=${offset}`);
  return page.length < 200 ? page : [...page, ...(await pages(account, path, offset + 200))];
}

/** Return rows with their columns and nothing else, in the order of their ids. */
export function inForm(rowsOf: (table: Table) => Row[]): Tables {
  const formed = TABLES.map((table) => {
    const columns = ["id", ...Object.keys(schema.tables[table].columns)];
    const rows = rowsOf(table).map((row) => Object.fromEntries(columns.map((column) => [column, row[column]])) as Row);
    return [table, rows.sort((one, other) => (one.id < other.id ? -1 : 1))];
  });
  return Object.fromEntries(formed);
}

export async function purge(): Promise<void> {
  await python("manage.py", "purge_tombstones", "--older-than", "0d", "--commit");
}

export async function backUp(): Promise<void> {
  await python("-m", "tests.e2e.clients.backup", "take");
}

export async function restore(): Promise<void> {
  await python("-m", "tests.e2e.clients.backup", "restore");
  await python("manage.py", "after_restore", "--without-ledger");
}

// Not the synchronous one, during which nobody notices that the service has closed an idle connection.
const run = promisify(execFile);

function python(...command: string[]): Promise<unknown> {
  return run(resolve(ROOT, ".venv/bin/python"), command, { cwd: ROOT });
}

// --- the network ------------------------------------------------------------------------------------

type Exchange = { method: string; query: URLSearchParams; status: number; body: any };
type Fault = { method: string; happen: () => unknown };

export const LOST = new TypeError("the connection broke");

const send = globalThis.fetch;
let faults: Fault[] = [];
let exchanges: Exchange[] = [];

globalThis.fetch = async (address, init) => {
  const response = await send(address, init);
  const { method = "GET" } = init ?? {};
  const body = await response.clone().json();
  exchanges.push({ method, query: new URL(String(address)).searchParams, status: response.status, body });
  const fault = faults.find((one) => one.method === method);
  faults = faults.filter((one) => one !== fault);
  await fault?.happen();
  return response;
};

/** Do something; return what the phones asked meanwhile, and what they were answered. */
export async function watched(act: () => Promise<unknown>): Promise<Exchange[]> {
  exchanges = [];
  await act();
  return exchanges;
}

/** When the service has answered the next request of a method, and before the phone hears it, let something happen. */
export function next(method: "GET" | "POST", happen: () => unknown): void {
  faults.push({ method, happen });
}

/** Do something, with something else happening while its first request of a method is under way. */
export async function during(method: "GET" | "POST", happen: () => unknown, act: () => Promise<unknown>): Promise<void> {
  next(method, happen);
  await act();
  assert.deepEqual(faults, [], "nothing of the kind was asked");
}

/** Let the answer to the next request of a method get lost; what a phone makes of that must be an error. */
export async function losingTheAnswer(method: "GET" | "POST", act: () => Promise<unknown>): Promise<void> {
  await assert.rejects(during(method, lose, act), LOST);
}

export function lose(): never {
  throw LOST;
}

/** Forget what was to happen at a request that nobody made. */
export function calm(): void {
  faults = [];
}
