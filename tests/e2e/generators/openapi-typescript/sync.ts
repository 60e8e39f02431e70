// Sync with the types of openapi-typescript. COUNTONME_URL is the address of a live service.
import createClient from "openapi-fetch";
import type { components, paths } from "./build/schema";

declare const process: { env: { COUNTONME_URL: string } };

function check(claim: unknown, what: string): asserts claim {
  if (!claim) throw new Error(`openapi-typescript: ${what}`);
}

async function main(): Promise<void> {
  const client = createClient<paths>({ baseUrl: new URL(process.env.COUNTONME_URL).origin });
  const registered = await client.POST("/v1/auth/register", { body: { device_id: crypto.randomUUID() } });
  check(registered.data, "register");
  const headers = { Authorization: `Bearer ${registered.data.token}` };
  const [productId, entryId, badId] = [crypto.randomUUID(), crypto.randomUUID(), crypto.randomUUID()];

  const product: components["schemas"]["ProductRowRequest"] = { id: productId, name: "Rye bread", kcal_100g: 259 };
  const pushed = await client.POST("/v1/sync", {
    headers,
    body: {
      products: { created: [product, { id: badId, name: "Bad", kcal_100g: 2000 }] },
      food_entries: { created: [{ id: entryId, product_id: productId, grams: 71, date: "2026-01-05" }] },
    },
  });
  check(pushed.data?.experimentalRejectedIds["products"]?.[0] === badId, "rejected id");
  check(pushed.data.rejected[0]?.errors[0]?.loc[0] === "kcal_100g", "path of an error");

  const first = await client.GET("/v1/sync", { headers });
  check(first.data?.changes.products.updated[0]?.name === "Rye bread", "first pull");
  check(first.data.changes.food_entries.updated[0]?.kcal === 183.89, "pulled entry");

  const query = { last_pulled_at: first.data.timestamp };
  const renamed = { products: { updated: [{ id: productId, name: "Crispbread" }] } };
  const updated = await client.POST("/v1/sync", { headers, params: { query }, body: renamed });
  check(updated.data?.rejected.length === 0, "update of one column");

  const next = await client.GET("/v1/sync", { headers, params: { query } });
  check(next.data?.changes.products.updated[0]?.name === "Crispbread", "second pull");
  check(next.data.changes.food_entries.updated.length === 0, "the second pull is from the cursor on");

  const late = { products: { updated: [{ id: productId, name: "Toast" }] } };
  const conflict = await client.POST("/v1/sync", { headers, params: { query }, body: late });
  check(conflict.response.status === 409, "conflict");
  check(conflict.error && "conflicts" in conflict.error, "body of a conflict");
  check(conflict.error.conflicts["products"]?.[0] === productId, "rows in conflict");
}

main();
