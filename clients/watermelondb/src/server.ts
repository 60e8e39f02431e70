/** Requests to the server. Both clients use them, and an app can use `request` for its own calls. */

export type Account = {
  /** For example `https://api.example.org/v1`. */
  url: string;
  token: string;
  /** The milliseconds that one request may take. */
  timeout?: number;
  fetch?: typeof fetch;
  sleep?: (milliseconds: number) => Promise<void>;
  random?: () => number;
};

type Reason = { loc: (string | number)[]; field: string; msg: string; type: string };
/** A row that the server refused, and the reasons. It stays on the phone as not synced. */
export type Rejected = { table: string; id: string; errors: Reason[] };

type Changes = { [table: string]: { [list: string]: unknown[] } };
type PushResult = { experimentalRejectedIds: { [table: string]: string[] }; rejected: Rejected[] };

/** A response that is an error. */
export class ServerError extends Error {
  constructor(
    readonly status: number,
    /** The JSON of the response. Null if a proxy sent something else. */
    readonly body: any,
    /** The seconds after which the app can send the request again. Null if the server didn't say. */
    readonly retryAfter: number | null,
  ) {
    super(`${status} ${body?.detail ?? ""}`.trim());
  }
}

const TIMEOUT = 120_000;
const ATTEMPTS = 3;
const LONGEST_WAIT = 30; // seconds

/**
 * Send a request, and return the JSON of its response. If the server asks to wait for less than half a minute, wait and
 * send it again. If a `DELETE` finds nothing, it was successful before.
 */
export async function request(account: Account, method: string, path: string, body?: object): Promise<any> {
  const { sleep = sleepFor, random = Math.random } = account;
  for (let attempt = 1; ; attempt++) {
    try {
      return await requestOnce(account, method, path, body);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      if (method === "DELETE" && error.status === 404) return null;
      const wait = error.retryAfter;
      if (wait === null || wait > LONGEST_WAIT || attempt === ATTEMPTS) throw error;
      await sleep(1000 * (wait + random() * Math.max(1, wait / 2))); // not all phones at the same moment
    }
  }
}

async function requestOnce(account: Account, method: string, path: string, body?: object): Promise<any> {
  const { url, token, timeout = TIMEOUT, fetch = globalThis.fetch } = account;
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), timeout);
  try {
    const response = await fetch(url + path, {
      method,
      headers: { Authorization: `Bearer ${token}`, ...(body && { "Content-Type": "application/json" }) },
      body: body && JSON.stringify(body),
      signal: controller.signal,
    });
    const text = await response.text();
    const json = parsed(text);
    if (response.ok && (json !== null || !text)) return json;
    throw new ServerError(response.status, json, retryAfterOf(response));
  } catch (error) {
    throw controller.signal.aborted ? new Error(`No response to ${method} ${path} in ${timeout} ms`) : error;
  } finally {
    clearTimeout(timer);
  }
}

function parsed(text: string): any {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The server sends seconds; a proxy may send a date. */
function retryAfterOf(response: Response): number | null {
  const header = response.headers.get("Retry-After");
  if (!header || ![429, 503].includes(response.status)) return null;
  const seconds = Number.isNaN(Number(header)) ? (Date.parse(header) - Date.now()) / 1000 : Number(header);
  return Number.isNaN(seconds) ? null : Math.max(0, seconds);
}

function sleepFor(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Push changes: in one request, or in several if the server says that it is too large. */
export async function push(account: Account, lastPulledAt: number, changes: object): Promise<PushResult> {
  try {
    return await request(account, "POST", `/sync?last_pulled_at=${lastPulledAt}`, changes);
  } catch (error) {
    const parts = error instanceof ServerError && error.status === 413 ? halves(changes as Changes) : [];
    if (!parts.length) throw error;
    const answers: PushResult[] = [];
    for (const part of parts) answers.push(await push(account, lastPulledAt, part));
    return {
      experimentalRejectedIds: joined(answers.map(({ experimentalRejectedIds }) => experimentalRejectedIds)),
      rejected: answers.flatMap(({ rejected }) => rejected),
    };
  }
}

/** Split changes in two, parents first. Return nothing if there is only one. */
function halves(changes: Changes): Changes[] {
  const all = Object.entries(changes).flatMap(([table, lists]) =>
    Object.entries(lists).flatMap(([list, items]) => items.map((item) => ({ table, list, item }))),
  );
  if (all.length < 2) return [];
  // A product and its portions stay together. Otherwise the server would give the product another portion.
  const isFirst = ({ table }: { table: string }) => table === "products" || table === "portions";
  const [first, rest] = [all.filter(isFirst), all.filter((each) => !isFirst(each))];
  const middle = all.length >> 1;
  const parts = first.length && rest.length ? [first, rest] : [all.slice(0, middle), all.slice(middle)];
  return parts.map((part) => {
    const half: Changes = {};
    for (const { table, list, item } of part) ((half[table] ??= {})[list] ??= []).push(item);
    return half;
  });
}

function joined(ids: { [table: string]: string[] }[]): { [table: string]: string[] } {
  const all: { [table: string]: string[] } = {};
  for (const [table, some] of ids.flatMap(Object.entries<string[]>)) all[table] = [...(all[table] ?? []), ...some];
  return all;
}
