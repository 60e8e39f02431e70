import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, it } from "node:test";
import { appSchema, tableSchema } from "@nozbe/watermelondb";
import { addColumns, schemaMigrations } from "@nozbe/watermelondb/Schema/migrations";
import { schema } from "../src/schema";
import type { Account } from "../src/server";
import { BARCODES, BREAD, bread, breakfast, QUARK, weighed } from "./food";
import { agree, complaints, inMemory, KINDS, Watermelon } from "./phones";
import { backUp, everything, purge, register, rest, restore, type Row, watched } from "./service";

afterEach(() => assert.deepEqual(complaints.splice(0), []));

const WITHOUT_PORTION = { quantity: null, portion_name: null, portion_grams: null };
const ids = (rows: Row[]) => rows.map((row) => row.id);

for (const Kind of KINDS) {
  describe(`An install of ${Kind.name}`, () => {
    let account: Account;
    let phone: InstanceType<typeof Kind>;
    let other: InstanceType<typeof Kind>;
    let of: { product_id: string; portion_id: string };
    let eaten: string;

    beforeEach(async () => {
      account = await register();
      phone = new Kind(account);
      other = new Kind(account);
      of = await bread(other);
      eaten = await breakfast(other, of);
      await agree(other, phone);
    });

    it("drops what was deleted while it was away, though the deletion has been purged", async () => {
      const gone = await other.put("products", QUARK);
      const edited = await other.put("products", { ...QUARK, name: "Skyr" });
      await agree(other, phone);
      await other.delete("products", gone);
      await other.delete("products", edited);
      await agree(other);
      await purge();
      await phone.put("products", { id: edited, name: "Skyr, the best" });
      const created = await weighed(phone, of.product_id);

      const [pull] = await watched(() => phone.sync());

      assert.equal(pull.body.experimentalStrategy, "replacement");
      const stored = await agree(phone, other);
      assert.deepEqual(ids(stored.products), [of.product_id]);
      assert.deepEqual(ids(stored.food_entries), [eaten, created].sort());
    });

    it("undoes a deletion: it syncs, restores the row and syncs again", async () => {
      await phone.delete("food_entries", eaten);
      await phone.sync();
      await rest(account, "POST", `/food-entries/${eaten}/restore`);

      const stored = await agree(phone, other);

      assert.deepEqual(ids(stored.food_entries), [eaten]);
    });

    it("gives back to a restored server what that has lost", async () => {
      const since = await other.put("products", QUARK);
      await agree(other, phone);
      await backUp();
      const lost = await bread(phone, { name: "Lost bread" });
      const lostEntry = await breakfast(phone, lost);
      await phone.put("products", { id: of.product_id, kcal_100g: 200 });
      await phone.put("portions", { id: of.portion_id, grams: 40 });
      await phone.put("food_entries", { id: eaten, quantity: 3, grams: 120 });
      await agree(phone);
      const before = await phone.everything();
      await restore();
      await rest(account, "PATCH", `/products/${since}`, { name: "Renamed since the restore" });
      const unsent = await weighed(phone, of.product_id);
      assert.deepEqual(ids((await everything(account)).products), [of.product_id, since].sort());

      const [pull] = await watched(() => phone.sync());

      assert.equal(pull.body.restored, true);
      const stored = await agree(phone, other);
      const renamed = (row: Row) => (row.id === since ? { ...row, name: "Renamed since the restore" } : row);
      assert.deepEqual(stored.products, before.products.map(renamed));
      assert.deepEqual(stored.portions, before.portions);
      assert.deepEqual(ids(stored.food_entries), [eaten, lostEntry, unsent].sort());
      assert.equal(stored.food_entries.find(({ id }) => id === eaten)?.grams, 120);
    });

    it("gives back to a restored server what it has pushed since its last pull", async () => {
      const pushed = await weighed(phone, of.product_id);
      await backUp();
      await phone.sync();
      await restore();
      assert.deepEqual(ids((await everything(account)).food_entries), [eaten]);

      await phone.sync();

      assert.deepEqual(ids((await agree(phone, other)).food_entries), [eaten, pushed].sort());
    });

    it("gets back from a restored server what it deleted in the lost time, and hears of later deletions", async () => {
      const second = await breakfast(other, of);
      await agree(other, phone);
      await backUp();
      await phone.delete("food_entries", eaten);
      await agree(phone);
      await restore();
      await rest(account, "DELETE", `/food-entries/${second}`);

      await phone.sync();

      assert.deepEqual(ids((await agree(phone, other)).food_entries), [eaten]);
    });

    it("gives back to a restored server an entry whose product and portion exist nowhere any more", async () => {
      const { product_id } = of;
      await backUp();
      const lost = await bread(phone, { name: "Lost bread" });
      const ofLostProduct = await breakfast(phone, lost);
      const portion_id = await phone.put("portions", { product_id, name: "Half", grams: 250, is_default: false });
      const ofLostPortion = await breakfast(phone, { product_id, portion_id });
      await agree(phone);
      await phone.delete("products", lost.product_id);
      await phone.delete("portions", portion_id);
      await agree(phone);
      const before = await phone.everything();
      await restore();

      await phone.sync();

      const stored = await agree(phone, new Kind(account));
      const withoutPortions = before.food_entries.map((entry) =>
        entry.id === eaten ? entry : { ...entry, portion_id: null, ...WITHOUT_PORTION },
      );
      assert.deepEqual(ids(stored.food_entries), [eaten, ofLostProduct, ofLostPortion].sort());
      assert.deepEqual(stored.food_entries, withoutPortions);
      const standIn = stored.products.find(({ id }) => id === lost.product_id);
      assert.deepEqual([standIn?.name, standIn?.kcal_100g], ["Lost bread", BREAD.kcal_100g]);
    });

    it("gives back an entry whose product it has deleted, before and after the restore, and forgets the portions", async () => {
      const gone = await bread(other, { name: "Gone bread" });
      await agree(other, phone);
      await other.delete("products", gone.product_id);
      await other.sync();
      await purge();
      await backUp();
      const lost = await bread(phone, { name: "Lost bread" });
      await agree(phone);
      const lostEntry = await breakfast(phone, lost);
      await agree(phone);
      await restore();
      await phone.delete("products", lost.product_id);

      await phone.sync();

      const stored = await agree(phone, other);
      assert.deepEqual(ids(stored.food_entries), [eaten, lostEntry].sort());
      assert.deepEqual(stored.products.map(({ name }) => name).sort(), ["Lost bread", "Rye bread"]);
    });

    it("goes on under a new device id with all its rows", async () => {
      await phone.put("products", { id: of.product_id, barcode: BARCODES[0] });
      const gone = await bread(phone, { name: "Gone bread" });
      await breakfast(phone, gone);
      await agree(phone);
      await phone.delete("products", gone.product_id);
      await phone.put("products", { id: of.product_id, name: "Bread" });
      await agree(phone);
      const unsent = await weighed(phone, of.product_id);
      await phone.delete("food_entries", unsent);
      await rest(account, "DELETE", "/devices/me");
      await assert.rejects(phone.sync(), /401/);
      const before = await phone.everything();

      await phone.giveNewIds();
      phone.account = await register();

      const stored = await agree(phone, new Kind(phone.account));
      const old = new Set(Object.values(before).flatMap(ids));
      assert.deepEqual(Object.values(stored).flatMap(ids).filter((id) => old.has(id)), []);
      assert.deepEqual(stored.products.map(({ name }) => name).sort(), ["Bread", "Gone bread"]);
      const expected = before.food_entries.map((row) =>
        row.product_id === gone.product_id ? { ...row, ...WITHOUT_PORTION } : { ...row, product_name: "Bread" },
      );
      assert.deepEqual(withoutIds(stored.food_entries), withoutIds(expected));
      assert.equal(stored.food_entries.filter(({ portion_id }) => portion_id).length, 1);
    });

    it("registers its device again, and gives back all its rows, if it registered after the backup", async () => {
      await backUp();
      const device_id = randomUUID();
      const late = new Kind(await register(device_id));
      const eaten = await breakfast(late, await bread(late));
      await agree(late);
      const unsent = await weighed(late, (await late.everything()).products[0].id);
      const before = await late.everything();
      await restore();
      await assert.rejects(late.sync(), /401/);

      late.account = await register(device_id);

      const stored = await agree(late, new Kind(late.account));
      assert.deepEqual(ids(stored.food_entries), [eaten, unsent].sort());
      assert.deepEqual([stored.products, stored.portions], [before.products, before.portions]);
    });
  });
}

describe("WatermelonDB", () => {
  let account: Account;
  let phone: Watermelon;

  beforeEach(async () => {
    account = await register();
    phone = new Watermelon(account);
  });

  it("asks for the whole of a table that a new version of the app knows a column more of", async () => {
    const { product_id } = await bread(phone, { barcode: BARCODES[0] });
    await agree(phone);
    const older = inMemory({ schema: withoutBarcodes(), extraLokiOptions: { autosave: true } });
    await new Watermelon(account, older).sync();
    const added = addColumns({ table: "products", columns: [{ name: "barcode", type: "string", isOptional: true }] });
    const newer = new Watermelon(
      account,
      await older.testClone({
        schema: { ...schema, version: 2 },
        migrations: schemaMigrations({ migrations: [{ toVersion: 2, steps: [added] }] }),
        extraLokiOptions: { autosave: false },
      }),
    );
    assert.deepEqual((await newer.everything()).products.map(({ id, barcode }) => [id, barcode]), [[product_id, null]]);

    const [{ query }] = await watched(() => newer.sync());

    const columns = [{ table: "products", columns: ["barcode"] }];
    assert.deepEqual(JSON.parse(query.get("migration") ?? ""), { from: 1, tables: [], columns });
    assert.equal((await agree(newer, phone)).products[0].barcode, BARCODES[0]);
  });
});

/** The schema of an app that knows no barcodes yet. */
function withoutBarcodes() {
  const { columnArray } = schema.tables.products;
  const columns = columnArray.filter(({ name }) => name !== "barcode");
  const tables = Object.values(schema.tables).filter(({ name }) => name !== "products");
  return appSchema({ version: 1, tables: [...tables, tableSchema({ name: "products", columns })] });
}

/** Rows as they are beside their ids and those of others, in any order. */
function withoutIds(rows: Row[]): string[] {
  return rows.map(({ id, product_id, portion_id, ...row }) => JSON.stringify(row)).sort();
}
