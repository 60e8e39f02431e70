import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import type { FoodEntry, Product } from "../src/schema";
import type { Account } from "../src/server";
import { BARCODES, BREAD, bread, breakfast, DAY, PLAIN, QUARK, weighed } from "./food";
import { agree, complaints, KINDS, Watermelon } from "./phones";
import { during, everything, losingTheAnswer, next, register, rest, type Row, watched } from "./service";

afterEach(() => assert.deepEqual(complaints.splice(0), []));

const found = (rows: Row[], id: string) => rows.find((row) => row.id === id) ?? assert.fail(`no ${id}`);
const ids = (rows: Row[]) => rows.map((row) => row.id);
const asked = async (act: () => Promise<unknown>) =>
  (await watched(act)).map(({ method, status }) => `${method} ${status}`);

for (const Kind of KINDS) {
  describe(`Two installs of ${Kind.name}`, () => {
    let account: Account;
    let one: InstanceType<typeof Kind>;
    let other: InstanceType<typeof Kind>;
    let of: { product_id: string; portion_id: string };
    let eaten: string;

    beforeEach(async () => {
      account = await register();
      one = new Kind(account);
      other = new Kind(account);
      of = await bread(one);
      eaten = await breakfast(one, of);
      await agree(one, other);
    });

    it("get what REST wrote by a first sync, in all columns", async () => {
      const product = await rest(account, "POST", "/products", { ...QUARK, barcode: BARCODES[0] });
      await rest(account, "POST", "/food-entries", { product_id: product.id, grams: 150.25, date: DAY });
      const third = new Kind(account);

      const stored = await agree(third);

      assert.equal(stored.products.length, 2);
      assert.equal(stored.portions.length, 2);
      assert.equal(stored.food_entries.length, 2);
    });

    it("get what the server made of a row that was sent", async () => {
      const id = await one.put("products", { ...QUARK, name: "  Quark ", kcal_100g: 67, protein_100g: 11.999 });
      const entry = await weighed(one, id, 0.1 * 3);

      const stored = await agree(one, other);

      assert.deepEqual(found(stored.products, id), { id, ...QUARK, ...PLAIN });
      const portion = stored.portions.find((row) => row.product_id === id);
      assert.deepEqual({ ...portion, id }, { id, product_id: id, name: "100g", grams: 100, is_default: true });
      assert.equal(found(stored.food_entries, entry).grams, 0.3);
      assert.equal(found(stored.food_entries, entry).product_name, "Quark");
    });

    it("see each other's new rows, edits and deletions", async () => {
      const created = await weighed(other, of.product_id);
      await other.put("products", { id: of.product_id, name: "Bread" });
      await agree(other, one);
      const label = { kcal_100g: 250, brand: "Mill & Oven", unit: "ml", is_favorite: true, catalog_food_id: of.portion_id };
      await one.put("products", { id: of.product_id, ...label });
      await one.delete("food_entries", eaten);

      const stored = await agree(one, other);

      assert.deepEqual(ids(stored.food_entries), [created]);
      assert.deepEqual(found(stored.products, of.product_id), {
        ...{ id: of.product_id, ...BREAD, ...PLAIN },
        ...{ name: "Bread", ...label },
      });
    });

    it("both keep their word where they changed different columns", async () => {
      await one.put("products", { id: of.product_id, name: "Bread of one" });
      await other.put("products", { id: of.product_id, kcal_100g: 200 });

      const stored = await agree(one, other);

      const { name, kcal_100g } = found(stored.products, of.product_id);
      assert.deepEqual([name, kcal_100g], ["Bread of one", 200]);
    });

    it("take the word of the later one where they changed the same column", async () => {
      await one.put("products", { id: of.product_id, name: "Bread of one" });
      await other.put("products", { id: of.product_id, name: "Bread of the other" });

      const stored = await agree(one, other);

      assert.equal(found(stored.products, of.product_id).name, "Bread of the other");
    });

    it("merge and push again where a change came between pull and push", async () => {
      await one.put("products", { id: of.product_id, name: "Bread of one" });
      await other.put("products", { id: of.product_id, kcal_100g: 200 });

      const answers = await asked(() => during("GET", () => one.sync(), () => other.sync()));

      const own = ["GET 200", "POST 200"];
      assert.deepEqual(answers, ["GET 200", ...own, "POST 409", ...own]);
      const { name, kcal_100g } = found((await agree(one, other)).products, of.product_id);
      assert.deepEqual([name, kcal_100g], ["Bread of one", 200]);
    });

    it("keep what was eaten in one piece", async () => {
      const quark = await one.put("products", QUARK);
      await agree(one, other);
      await one.put("food_entries", { id: eaten, product_id: quark, portion_id: null, quantity: null, grams: 200 });
      await other.put("food_entries", { id: eaten, quantity: 3, grams: 106.5 });

      const entry = found((await agree(one, other)).food_entries, eaten);

      const { product_id, portion_id, quantity, grams } = entry;
      assert.deepEqual({ product_id, portion_id, quantity, grams }, { ...of, quantity: 3, grams: 106.5 });
    });

    it("lose nothing and double nothing when the answer to a push is lost", async () => {
      const created = await weighed(one, of.product_id);
      await one.put("products", { id: of.product_id, name: "Bread" });
      await one.delete("food_entries", eaten);
      await losingTheAnswer("POST", () => one.sync());
      assert.equal(await one.isSynced(), false);
      const before = await everything(account);

      const [pull, push] = await watched(() => one.sync());

      assert.deepEqual([pull.status, push.status], [200, 200]);
      const [{ body: nothing }] = await watched(() => one.sync());
      assert.equal(nothing.timestamp, pull.body.timestamp); // the retry was no change
      assert.deepEqual(ids(before.food_entries), [created]);
      assert.deepEqual(await agree(one, other), before);
    });

    it("keep an edit that was made after a push whose answer was lost", async () => {
      const created = await weighed(one, of.product_id, 10);
      await losingTheAnswer("POST", () => one.sync());
      await one.put("food_entries", { id: created, grams: 20 });
      await other.sync();
      await other.put("food_entries", { id: created, meal_type: "lunch" });
      await other.sync();

      const { grams, meal_type } = found((await agree(one, other)).food_entries, created);

      assert.deepEqual([grams, meal_type], [20, "lunch"]);
    });

    it("lose nothing when the answer to a pull is lost", async () => {
      await other.put("products", { id: of.product_id, name: "Bread" });
      await other.sync();

      await losingTheAnswer("GET", () => one.sync());

      assert.equal(found((await agree(one, other)).products, of.product_id).name, "Bread");
    });

    it("keep what is written while a pull is under way", async () => {
      await other.put("products", { id: of.product_id, name: "Bread of the other", kcal_100g: 200 });
      await other.delete("food_entries", eaten);
      await other.sync();
      let created = "";
      const write = async () => {
        await one.put("products", { id: of.product_id, name: "Bread of one" });
        created = await weighed(one, of.product_id);
      };

      await during("GET", write, () => one.sync());

      const stored = await agree(one, other);
      const { name, kcal_100g } = found(stored.products, of.product_id);
      assert.deepEqual([name, kcal_100g], ["Bread of one", 200]);
      assert.deepEqual(ids(stored.food_entries), [created]);
    });

    it("send with the next push what is written while one is under way", async () => {
      await one.put("products", { id: of.product_id, name: "Bread", kcal_100g: 1 });
      const doomed = await weighed(one, of.product_id);
      const write = async () => {
        await one.put("products", { id: of.product_id, kcal_100g: 2 });
        await one.delete("food_entries", doomed);
      };

      await during("POST", write, () => one.sync());

      assert.equal(await one.isSynced(), false);
      const stored = await agree(one, other);
      const { name, kcal_100g } = found(stored.products, of.product_id);
      assert.deepEqual([name, kcal_100g], ["Bread", 2]);
      assert.deepEqual(ids(stored.food_entries), [eaten]);
    });

    it("keep a row that is refused, unsynced, and sync the others", async () => {
      const wrong = await one.put("products", { ...QUARK, kcal_100g: 5000 });
      const right = await weighed(one, of.product_id);
      await one.put("products", { id: of.product_id, protein_100g: 101 });

      const rejected = await one.sync();

      assert.deepEqual(
        rejected.map(({ table, id, errors }) => [table, id, errors.map(({ loc, type }) => [...loc, type])]).sort(),
        [
          ["products", wrong, [["kcal_100g", "max_value"]]],
          ["products", of.product_id, [["protein_100g", "max_value"]]],
        ].sort(),
      );
      assert.equal(await one.isSynced(), false);
      assert.equal(found((await one.everything()).products, wrong).kcal_100g, 5000);
      assert.equal(found((await one.everything()).products, of.product_id).protein_100g, 101);
      await other.sync();
      assert.deepEqual(ids((await other.everything()).products), [of.product_id]);
      assert.deepEqual(ids((await other.everything()).food_entries), [eaten, right].sort());
      await one.put("products", { id: wrong, kcal_100g: 67 });
      await one.put("products", { id: of.product_id, protein_100g: 10 });
      assert.deepEqual(ids((await agree(one, other)).products), [of.product_id, wrong].sort());
    });

    it("see what REST changes, and REST what they change", async () => {
      await rest(account, "PATCH", `/products/${of.product_id}`, { name: "Bread of REST" });
      await rest(account, "PATCH", `/food-entries/${eaten}`, { quantity: 4 });
      const { id } = await rest(account, "POST", "/food-entries", { product_id: of.product_id, grams: 5, date: DAY });
      await one.put("food_entries", { id: eaten, meal_type: "dinner" });
      await one.put("products", { id: of.product_id, fat_100g: null });

      const stored = await agree(one, other);

      const { quantity, grams, meal_type } = found(stored.food_entries, eaten);
      assert.deepEqual([quantity, grams, meal_type], [4, 142, "dinner"]);
      assert.deepEqual(found(stored.products, of.product_id), {
        ...{ id: of.product_id, ...BREAD, ...PLAIN },
        ...{ name: "Bread of REST", fat_100g: null },
      });
      await rest(account, "DELETE", `/food-entries/${id}`);
      assert.deepEqual(ids((await agree(one, other)).food_entries), [eaten]);
    });

    it("lose a deleted product's portions, and keep what was eaten of it", async () => {
      const late = await weighed(other, of.product_id);
      await one.delete("products", of.product_id);

      const stored = await agree(one, other);

      assert.deepEqual([stored.products, stored.portions], [[], []]);
      assert.deepEqual(ids(stored.food_entries), [eaten, late].sort());
      assert.equal(found(stored.food_entries, late).product_name, BREAD.name);
      assert.deepEqual(found(stored.food_entries, eaten).portion_id, of.portion_id);
    });

    it("let a deletion win, whoever edited the row meanwhile", async () => {
      await one.delete("food_entries", eaten);
      await other.put("food_entries", { id: eaten, meal_type: "lunch" });
      const second = await breakfast(one, of);
      await agree(one, other);
      await other.put("food_entries", { id: second, meal_type: "lunch" });
      await other.sync();
      await one.delete("food_entries", second);

      assert.deepEqual((await agree(one, other)).food_entries, []);
    });

    it("have one default portion of a product, whatever both claim", async () => {
      const { product_id } = of;
      const first = await one.put("portions", { product_id, name: "Half", grams: 250, is_default: true });
      const second = await other.put("portions", { product_id, name: "Loaf", grams: 500, is_default: true });

      const { portions } = await agree(one, other);

      assert.deepEqual(ids(portions), [of.portion_id, first, second].sort());
      assert.deepEqual(ids(portions.filter((portion) => portion.is_default)), [second]);
      await one.delete("portions", second);
      const { portions: left } = await agree(one, other);
      assert.deepEqual(ids(left.filter((portion) => portion.is_default)), [of.portion_id]);
    });

    it("can swap two barcodes", async () => {
      const quark = await one.put("products", { ...QUARK, barcode: BARCODES[1] });
      await one.put("products", { id: of.product_id, barcode: BARCODES[0] });
      await agree(one, other);
      await one.put("products", { id: of.product_id, barcode: BARCODES[1] });
      await one.put("products", { id: quark, barcode: BARCODES[0] });

      const { products } = await agree(one, other);

      assert.deepEqual(
        [of.product_id, quark].map((id) => found(products, id).barcode),
        [BARCODES[1], BARCODES[0]],
      );
    });

    it("push a month offline at once", async () => {
      for (let n = 1; n <= 300; n++) await weighed(one, of.product_id, n);

      const answers = await asked(() => one.sync());

      assert.deepEqual(answers, ["GET 200", "POST 200"]);
      assert.equal((await agree(one, other)).food_entries.length, 301);
    });
  });
}

describe("WatermelonDB", () => {
  it("asks first for what came after `null`, then for what came after the last pull", async () => {
    const phone = new Watermelon(await register());
    await bread(phone);

    const [first, push, second] = await watched(async () => [await phone.sync(), await phone.sync()]);

    assert.deepEqual(Object.fromEntries(first.query), { last_pulled_at: "null", schema_version: "1", migration: "null" });
    const since = [push, second].map(({ query }) => Number(query.get("last_pulled_at")));
    assert.deepEqual(since, [first.body.timestamp, first.body.timestamp]);
  });

  it("shows rows as models", async () => {
    const phone = new Watermelon(await register());
    const of = await bread(phone);
    const eaten = await breakfast(phone, of);
    await agree(phone);

    const product = await phone.database.get<Product>("products").find(of.product_id);
    const entry = await phone.database.get<FoodEntry>("food_entries").find(eaten);

    assert.deepEqual([product.name, product.kcal100g, product.protein100g, product.barcode], ["Rye bread", 259, 8.5, null]);
    assert.deepEqual([entry.productName, entry.kcal, entry.fat, entry.mealType], ["Rye bread", 183.89, 2.34, "breakfast"]);
    await phone.database.write(() => entry.update((record) => void (record.mealType = "dinner")));
    assert.equal((await agree(phone)).food_entries[0].meal_type, "dinner");
  });

  it("gives up after one retry, and has lost nothing", async () => {
    const account = await register();
    const [phone, other] = [new Watermelon(account), new Watermelon(account)];
    const of = await bread(phone);
    await agree(phone, other);
    await phone.put("products", { id: of.product_id, name: "Bread of one" });
    const change = async (kcal_100g: number) => {
      await other.put("products", { id: of.product_id, kcal_100g });
      await other.sync();
    };

    next("GET", async () => {
      await change(1);
      next("GET", () => change(2));
    });

    await assert.rejects(phone.sync(), /409/);

    const { name, kcal_100g } = found((await agree(phone, other)).products, of.product_id);
    assert.deepEqual([name, kcal_100g], ["Bread of one", 2]);
  });
});
