// Sync with a client of openapi-generator's typescript-fetch.
import { Configuration, DevicesApi, PushConflictBodyFromJSON, ResponseError, SyncApi } from "./build/typescript-fetch";
import { check, origin } from "./check";

async function main(): Promise<void> {
  const devices = new DevicesApi(new Configuration({ basePath: origin }));
  const { token } = await devices.registerDevice({ registerRequest: { deviceId: crypto.randomUUID() } });
  const sync = new SyncApi(new Configuration({ basePath: origin, accessToken: token }));
  const [productId, badId] = [crypto.randomUUID(), crypto.randomUUID()];

  const rows = [
    { id: productId, name: "Rye bread", kcal100g: 259 },
    { id: badId, name: "Bad", kcal100g: 2000 },
  ];
  const pushed = await sync.pushChanges({ pushedChangesRequest: { products: { created: rows } } });
  check(pushed.experimentalRejectedIds["products"]?.[0] === badId, "rejected id");
  check(pushed.rejected[0]?.errors[0]?.loc[0] === "kcal_100g", "path of an error");

  const first = await sync.pullChanges();
  check(first.changes.products.updated[0]?.name === "Rye bread", "first pull");

  const lastPulledAt = first.timestamp;
  const nothing = await sync.pullChanges({ lastPulledAt });
  check(nothing.changes.products.updated.length === 0, "the second pull is from the cursor on");

  const rename = (name: string) =>
    sync.pushChanges({ lastPulledAt, pushedChangesRequest: { products: { updated: [{ id: productId, name }] } } });
  check((await rename("Crispbread")).rejected.length === 0, "update of one column");

  const conflict: unknown = await rename("Toast").catch((error: unknown) => error);
  check(conflict instanceof ResponseError && conflict.response.status === 409, "conflict");
  const { conflicts } = PushConflictBodyFromJSON(await conflict.response.json());
  check(conflicts["products"]?.[0] === productId, "rows in conflict");
}

main();
