import type { Database, DirtyRaw } from "@nozbe/watermelondb";
import { synchronize } from "@nozbe/watermelondb/sync";
import { reclaim } from "./recovery";

/** Where to sync, such as `https://api.example.org/v1`, and the token that says as whom. */
export type Account = { url: string; token: string };

/** A row that the server refused, and why. It stays on the phone, unsynced, until it is changed. */
export type Rejected = { table: string; id: string; errors: { loc: (string | number)[]; msg: string; type: string }[] };

export class Refused extends Error {
  constructor(readonly status: number, body: string) {
    super(`${status} ${body}`);
  }
}

/** Pull, merge, push. A push that ran into a newer change pulls that one and tries once more. */
export async function sync(database: Database, account: Account): Promise<Rejected[]> {
  try {
    return await syncOnce(database, account);
  } catch (error) {
    if (!(error instanceof Refused && error.status === 409)) throw error;
    return await syncOnce(database, account);
  }
}

async function syncOnce(database: Database, account: Account): Promise<Rejected[]> {
  let rejected: Rejected[] = [];
  await synchronize({
    database,
    pullChanges: async ({ lastPulledAt, schemaVersion, migration }) => {
      const known = `last_pulled_at=${lastPulledAt}&schema_version=${schemaVersion}`;
      const answer = await call(account, `${known}&migration=${encodeURIComponent(JSON.stringify(migration))}`);
      if (answer.restored) await reclaim(database, answer.changes, answer.newer);
      return answer;
    },
    pushChanges: async ({ changes, lastPulledAt }) => {
      const answer = await call(account, `last_pulled_at=${lastPulledAt}`, changes);
      rejected = answer.rejected ?? [];
      return answer; // its experimentalRejectedIds stay unsynced
    },
    sendCreatedAsUpdated: true,
    migrationsEnabledAtVersion: 1,
    conflictResolver: keepTogether,
  });
  return rejected;
}

// What was eaten is one decision: half of this phone's and half of another's would be what nobody ate.
const EATEN = ["product_id", "portion_id", "quantity", "grams"];

function keepTogether(table: string, local: DirtyRaw, _remote: DirtyRaw, resolved: DirtyRaw): DirtyRaw {
  const changed: string[] = local._changed.split(",");
  if (table === "food_entries" && EATEN.some((column) => changed.includes(column))) {
    for (const column of EATEN) resolved[column] = local[column];
  }
  return resolved;
}

async function call({ url, token }: Account, query: string, changes?: object) {
  const response = await fetch(`${url}/sync?${query}`, {
    method: changes ? "POST" : "GET",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: changes && JSON.stringify(changes),
  });
  if (!response.ok) throw new Refused(response.status, await response.text());
  return response.json();
}
