// Sync with a client of orval.
import { pullChanges, pushChanges, registerDevice } from "./build/orval";
import { check } from "./check";
import { session } from "./orval-fetch";

async function main(): Promise<void> {
  const registered = await registerDevice({ device_id: crypto.randomUUID() });
  check(registered.status === 200, "register");
  session.token = registered.data.token;
  const [productId, badId] = [crypto.randomUUID(), crypto.randomUUID()];

  const rows = [
    { id: productId, name: "Rye bread", kcal_100g: 259 },
    { id: badId, name: "Bad", kcal_100g: 2000 },
  ];
  const pushed = await pushChanges({ products: { created: rows } });
  check(pushed.status === 200, "push");
  check(pushed.data.experimentalRejectedIds["products"]?.[0] === badId, "rejected id");
  check(pushed.data.rejected[0]?.errors[0]?.loc[0] === "kcal_100g", "path of an error");

  const first = await pullChanges();
  check(first.status === 200, "pull");
  check(first.data.changes.products.updated[0]?.name === "Rye bread", "first pull");

  const query = { last_pulled_at: first.data.timestamp };
  const nothing = await pullChanges(query);
  check(nothing.status === 200, "pull with a cursor");
  check(nothing.data.changes.products.updated.length === 0, "the second pull is from the cursor on");

  const renamed = await pushChanges({ products: { updated: [{ id: productId, name: "Crispbread" }] } }, query);
  check(renamed.status === 200 && renamed.data.rejected.length === 0, "update of one column");

  const conflict = await pushChanges({ products: { updated: [{ id: productId, name: "Toast" }] } }, query);
  check(conflict.status === 409, "conflict");
  check(conflict.data.conflicts["products"]?.[0] === productId, "rows in conflict");
}

main();
