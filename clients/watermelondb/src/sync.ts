import type { Database, DirtyRaw } from "@nozbe/watermelondb";
import { synchronize } from "@nozbe/watermelondb/sync";
import { reclaim } from "./recovery";
import { type Account, push, type Rejected, request, ServerError } from "./server";

const running = new WeakMap<Database, Promise<Rejected[]>>();

/** Pull, merge, push. If the push is in conflict with a newer change, do it once more. Returns the rejected rows. */
export function sync(database: Database, account: Account): Promise<Rejected[]> {
  const started = running.get(database) ?? syncTwice(database, account).finally(() => running.delete(database));
  running.set(database, started);
  return started;
}

async function syncTwice(database: Database, account: Account): Promise<Rejected[]> {
  try {
    return await syncOnce(database, account);
  } catch (error) {
    if (!(error instanceof ServerError && error.status === 409)) throw error;
    return await syncOnce(database, account);
  }
}

async function syncOnce(database: Database, account: Account): Promise<Rejected[]> {
  let rejected: Rejected[] = [];
  await synchronize({
    database,
    pullChanges: async ({ lastPulledAt, schemaVersion, migration }) => {
      const known = `last_pulled_at=${lastPulledAt}&schema_version=${schemaVersion}`;
      const changed = `migration=${encodeURIComponent(JSON.stringify(migration))}`;
      const answer = await request(account, "GET", `/sync?${known}&${changed}`);
      if (answer.restored) await reclaim(database, answer.changes, answer.newer);
      return answer;
    },
    pushChanges: async ({ changes, lastPulledAt }) => {
      const answer = await push(account, lastPulledAt, changes);
      rejected = answer.rejected;
      return answer; // its experimentalRejectedIds stay unsynced
    },
    sendCreatedAsUpdated: true,
    migrationsEnabledAtVersion: 1,
    conflictResolver: keepTogether,
  });
  return rejected;
}

// Together they say what was eaten. Half from this phone and half from another would be wrong.
const EATEN = ["product_id", "portion_id", "quantity", "grams"];

function keepTogether(table: string, local: DirtyRaw, _remote: DirtyRaw, resolved: DirtyRaw): DirtyRaw {
  const changed: string[] = local._changed.split(",");
  if (table === "food_entries" && EATEN.some((column) => changed.includes(column))) {
    for (const column of EATEN) resolved[column] = local[column];
  }
  return resolved;
}
