import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Account, push, request, ServerError } from "../src/server";

type Answer = { status: number; body?: string; headers?: Record<string, string> };

/** Return an account whose server gives these answers, and what it was asked and how long the phone waited. */
function answered(...answers: Answer[]) {
  const asked: { method: string; path: string; body: any }[] = [];
  const waits: number[] = [];
  const account: Account = {
    url: "https://api.example.org/v1",
    token: "…",
    random: () => 0.5,
    sleep: async (milliseconds) => void waits.push(milliseconds),
    fetch: async (address, { method = "", body } = {}) => {
      asked.push({ method, path: String(address).slice(26), body: body && JSON.parse(String(body)) });
      const { status, body: text = "{}", headers } = answers.shift() ?? assert.fail("one request too many");
      return new Response(status === 204 ? null : text, { status, headers });
    },
  };
  return { account, asked, waits };
}

const busy = (status: number, seconds: string) => ({ status, headers: { "Retry-After": seconds } });

describe("A request", () => {
  it("waits as long as the server asks, a random time longer, and is sent again", async () => {
    const { account, asked, waits } = answered(busy(429, "1"), busy(503, "10"), { status: 200, body: '{"token": "new"}' });

    assert.deepEqual(await request(account, "POST", "/auth/rotate"), { token: "new" });

    assert.equal(asked.length, 3);
    assert.deepEqual(waits, [1500, 12_500]);
  });

  it("is sent three times at most", async () => {
    const { account, asked } = answered(busy(503, "1"), busy(503, "1"), busy(503, "1"));

    await assert.rejects(request(account, "GET", "/products"), { status: 503, retryAfter: 1 });

    assert.equal(asked.length, 3);
  });

  it("does not wait for hours: the app hears how long", async () => {
    const { account, waits } = answered({ ...busy(429, "7200"), body: '{"detail": "A device can add 20,000 rows a day."}' });

    const expected = { status: 429, retryAfter: 7200, message: "429 A device can add 20,000 rows a day." };
    await assert.rejects(request(account, "POST", "/products", {}), expected);

    assert.deepEqual(waits, []);
  });

  it("reads a time to wait that a proxy gives as a date", async () => {
    const date = new Date(Date.now() + 3_600_000).toUTCString();
    const { account } = answered(busy(503, date));

    const error = await request(account, "GET", "/products").catch((error) => error);

    assert.ok(Math.abs(error.retryAfter - 3600) < 5);
  });

  it("is not sent again after another error, or when the server does not say when", async () => {
    for (const answer of [busy(422, "1"), { status: 503 }, busy(503, "soon")]) {
      const { account } = answered(answer);
      await assert.rejects(request(account, "GET", "/products"), { status: answer.status, retryAfter: null });
    }
  });

  it("treats a deletion that finds nothing as done", async () => {
    const { account } = answered({ status: 204 }, { status: 404 }, { status: 404 });

    assert.equal(await request(account, "DELETE", "/products/…"), null);
    assert.equal(await request(account, "DELETE", "/products/…"), null);

    await assert.rejects(request(account, "GET", "/products/…"), { status: 404 });
  });

  it("fails with the status if a proxy answers with a page", async () => {
    for (const status of [502, 200]) {
      const { account } = answered({ status, body: "<html>Log in to the WLAN</html>" });
      const error = await request(account, "GET", "/products").catch((error) => error);
      assert.ok(error instanceof ServerError);
      assert.deepEqual([error.status, error.body], [status, null]);
    }
  });

  it("is given up if there is no response in time", async () => {
    const never = (signal: AbortSignal) => new Promise<never>((_, reject) => (signal.onabort = () => reject(signal.reason)));
    const account: Account = { url: "", token: "", timeout: 20, fetch: (_, init) => never(init!.signal!) };

    await assert.rejects(request(account, "GET", "/sync"), /No response to GET \/sync in 20 ms/);
  });
});

describe("A push that is too large", () => {
  const rows = (...ids: string[]) => ids.map((id) => ({ id }));

  it("is sent in parts, products and their portions first", async () => {
    const rejects = (table: string, id: string) =>
      JSON.stringify({ experimentalRejectedIds: { [table]: [id] }, rejected: [{ table, id, errors: [] }] });
    const [large, first, second, third] = [
      { status: 413 },
      { status: 200, body: rejects("products", "1") },
      { status: 200, body: rejects("food_entries", "3") },
      { status: 200, body: rejects("food_entries", "4") },
    ];
    const { account, asked } = answered(large, first, large, second, third);

    const answer = await push(account, 7, {
      products: { created: [], updated: rows("1"), deleted: [] },
      portions: { created: [], updated: rows("2"), deleted: [] },
      food_entries: { created: [], updated: rows("3"), deleted: ["4"] },
    });

    assert.deepEqual(
      [asked[1], asked[3], asked[4]].map(({ body }) => body),
      [
        { products: { updated: rows("1") }, portions: { updated: rows("2") } },
        { food_entries: { updated: rows("3") } },
        { food_entries: { deleted: ["4"] } },
      ],
    );
    assert.ok(asked.every(({ path }) => path === "/sync?last_pulled_at=7"));
    assert.deepEqual(answer.experimentalRejectedIds, { products: ["1"], food_entries: ["3", "4"] });
    assert.deepEqual(answer.rejected.map(({ id }) => id), ["1", "3", "4"]);
  });

  it("fails if it is a single row", async () => {
    const { account } = answered({ status: 413 });

    await assert.rejects(push(account, 7, { products: { updated: rows("1") } }), { status: 413 });
  });
});
