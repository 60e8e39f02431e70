import type { Database } from "@nozbe/watermelondb";
import type { FoodEntry, Portion, Product } from "../src/schema";
import { rescaled } from "../src/totals";

/** Log two slices of bread: the product, the portion and the entry. */
export function logBread(database: Database, today: string): Promise<FoodEntry> {
  return database.write(async () => {
    const bread = await database.get<Product>("products").create((product) => {
      Object.assign(product, { name: "Rye bread", kcal100g: 259, protein100g: 8.5, carbs100g: 48.3, fat100g: 3.3 });
    });
    const slice = await database.get<Portion>("portions").create((portion) => {
      Object.assign(portion, { productId: bread.id, name: "Slice", grams: 35.5, isDefault: true });
    });
    return database.get<FoodEntry>("food_entries").create((entry) => {
      Object.assign(entry, bread.inEntry(slice.gramsOf(2)), slice.inEntry(2));
      Object.assign(entry, { date: today, time: "07:30", mealType: "breakfast" });
    });
  });
}

/** Change the weight of an entry. It has no portion then. */
export function weighAgain(database: Database, entry: FoodEntry, grams: number): Promise<FoodEntry> {
  const withoutPortion = { portionId: null, quantity: null, portionName: null, portionGrams: null };
  return database.write(() => entry.update(() => Object.assign(entry, rescaled(entry, grams), withoutPortion)));
}
