import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, it } from "node:test";
import type { FoodEntry, Portion, Product } from "../src/schema";
import { push, request } from "../src/server";
import { gramsOf, rescaled, totalsOf } from "../src/totals";
import { BREAD, bread, DAY } from "./food";
import { agree, Watermelon } from "./phones";
import { register, rest } from "./service";

const below = (limit: number) => Math.floor(Math.random() * limit);
const hundredths = (limit: number) => below(limit * 100) / 100;

describe("The totals that a phone computes", () => {
  it("are those that the server computes", async () => {
    const account = await register();
    const half = { kcal_100g: 1, protein_100g: 1.01, carbs_100g: 0.01, fat_100g: null };
    const random = () => ({
      ...{ kcal_100g: below(1001), protein_100g: hundredths(100), carbs_100g: 8.5, fat_100g: 100 },
      ...{ sugars_100g: hundredths(100), saturated_fat_100g: 0.05, fiber_100g: null, salt_100g: hundredths(3) },
    });
    const foods = [half, ...Array.from({ length: 400 }, random)];
    const products = foods.map((values) => ({ id: randomUUID(), name: "Food", ...values }));
    const weights = [50, 0.5, 0.01, 1.005, 0.1 * 3, 100_000];
    const entries = products.map(({ id }, n) => {
      return { id: randomUUID(), product_id: id, grams: weights[n] ?? hundredths(1000) + 0.01, date: DAY };
    });
    await push(account, 0, { products: { updated: products }, food_entries: { updated: entries } });

    const { changes } = await request(account, "GET", "/sync");

    const stored = new Map<string, any>(changes.food_entries.updated.map((entry: any) => [entry.id, entry]));
    entries.forEach(({ id, grams }, n) => {
      const { kcal, protein, carbs, fat, sugars, saturated_fat, fiber, salt } = stored.get(id);
      const expected = { kcal, protein, carbs, fat, sugars, saturated_fat, fiber, salt };
      assert.deepEqual(totalsOf(products[n], grams), expected, JSON.stringify([products[n], grams]));
    });
  });

  it("are computed from the weight that the server computes from a portion", async () => {
    const account = await register();
    for (const [grams, quantity] of [[35.5, 2], [0.05, 0.1], [0.15, 0.3], [33.33, 1.5], [1.01, 0.5]]) {
      const product = await rest(account, "POST", "/products", BREAD);
      const portion = await rest(account, "POST", `/products/${product.id}/portions`, { name: "Slice", grams });
      const values = { product_id: product.id, portion_id: portion.id, quantity, date: DAY };
      const entry = await rest(account, "POST", "/food-entries", values);
      assert.equal(gramsOf(grams, quantity), entry.grams);
    }
  });

  it("follow a new weight, and are unknown if they were", () => {
    const unknown = { fat: null, sugars: null, saturated_fat: null, fiber: null };
    const entry = { grams: 71, kcal: 183.89, protein: 6.04, carbs: 34.29, salt: 0.5, ...unknown };

    const rest = { kcal: 367.78, protein: 12.08, carbs: 68.58, salt: 1, ...unknown };
    assert.deepEqual(rescaled(entry, 142), { grams: 142, ...rest });
  });

  it("are shown by WatermelonDB before the first sync, and don't change with it", async () => {
    const phone = new Watermelon(await register());
    const of = await bread(phone);
    const product = await phone.database.get<Product>("products").find(of.product_id);
    const slice = await phone.database.get<Portion>("portions").find(of.portion_id);

    await phone.database.write(() =>
      phone.database.get<FoodEntry>("food_entries").create((entry) => {
        Object.assign(entry, product.inEntry(slice.gramsOf(2)), slice.inEntry(2));
        Object.assign(entry, { date: DAY, mealType: "breakfast" });
      }),
    );

    const [before] = (await phone.everything()).food_entries;
    assert.deepEqual([before.product_name, before.grams, before.kcal, before.fat], ["Rye bread", 71, 183.89, 2.34]);
    assert.deepEqual([before.saturated_fat, before.salt], [0.45, 1.07]);
    assert.deepEqual((await agree(phone)).food_entries, [before]);
  });

  it("are replaced by the server's if they were wrong, also if nothing else changed", async () => {
    const phone = new Watermelon(await register());
    const of = await bread(phone);
    const id = await phone.put("food_entries", { ...of, quantity: 2, grams: 71, date: DAY, meal_type: "snacks" });
    await agree(phone);

    await phone.put("food_entries", { id, kcal: 1 });
    await phone.put("food_entries", { id, grams: 50 });
    await phone.put("food_entries", { id, grams: 71 });

    assert.equal((await agree(phone)).food_entries[0].kcal, 183.89);
  });
});
