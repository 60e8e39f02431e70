/** What the phones of the tests keep and eat. */
import type { Phone } from "./phones";

export const BREAD = {
  ...{ name: "Rye bread", kcal_100g: 259, protein_100g: 8.5, carbs_100g: 48.3, fat_100g: 3.3 },
  ...{ sugars_100g: 3.85, saturated_fat_100g: 0.63, fiber_100g: 5.8, salt_100g: 1.51 },
};
export const QUARK = {
  ...{ name: "Quark", kcal_100g: 67, protein_100g: 12, carbs_100g: 4, fat_100g: null },
  ...{ sugars_100g: null, saturated_fat_100g: null, fiber_100g: null, salt_100g: null },
};
/** What the server stores in the other columns of a product. */
export const PLAIN = { brand: null, unit: "g", barcode: null, is_favorite: false, catalog_food_id: null };
export const BARCODES = ["4006381333931", "96385074"];
export const DAY = "2026-01-05";

export async function bread(phone: Phone, values: object = {}) {
  const product_id = await phone.put("products", { ...BREAD, ...values });
  const portion_id = await phone.put("portions", { product_id, name: "Slice", grams: 35.5, is_default: true });
  return { product_id, portion_id };
}

/** Two slices. */
export function breakfast(phone: Phone, of: { product_id: string; portion_id: string }): Promise<string> {
  return phone.put("food_entries", { ...of, quantity: 2, grams: 71, date: DAY, time: "07:30:00.000", meal_type: "breakfast" });
}

/** Some grams of a product, weighed. */
export function weighed(phone: Phone, product_id: string, grams = 50): Promise<string> {
  return phone.put("food_entries", { product_id, portion_id: null, quantity: null, grams, date: DAY, meal_type: "snacks" });
}
