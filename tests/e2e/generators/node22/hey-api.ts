// Sync with a client of @hey-api/openapi-ts.
import { pullChanges, pushChanges, registerDevice } from "./build/hey-api";
import { client } from "./build/hey-api/client.gen";
import { check, origin } from "./check";

async function main(): Promise<void> {
  client.setConfig({ baseUrl: origin });
  const registered = await registerDevice({ body: { device_id: crypto.randomUUID() } });
  check(registered.data, "register");
  client.setConfig({ auth: registered.data.token });
  const [productId, badId] = [crypto.randomUUID(), crypto.randomUUID()];

  const rows = [
    { id: productId, name: "Rye bread", kcal_100g: 259 },
    { id: badId, name: "Bad", kcal_100g: 2000 },
  ];
  const pushed = await pushChanges({ body: { products: { created: rows } } });
  check(pushed.data?.experimentalRejectedIds["products"]?.[0] === badId, "rejected id");
  check(pushed.data.rejected[0]?.errors[0]?.loc[0] === "kcal_100g", "path of an error");

  const first = await pullChanges();
  check(first.data?.changes.products.updated[0]?.name === "Rye bread", "first pull");

  const query = { last_pulled_at: first.data.timestamp };
  const nothing = await pullChanges({ query });
  check(nothing.data?.changes.products.updated.length === 0, "the second pull is from the cursor on");

  const renamed = { products: { updated: [{ id: productId, name: "Crispbread" }] } };
  check((await pushChanges({ query, body: renamed })).data?.rejected.length === 0, "update of one column");

  const late = { products: { updated: [{ id: productId, name: "Toast" }] } };
  const conflict = await pushChanges({ query, body: late });
  check(conflict.response?.status === 409, "conflict");
  check(conflict.error && "conflicts" in conflict.error, "body of a conflict");
  check(conflict.error.conflicts["products"]?.[0] === productId, "rows in conflict");
}

main();
