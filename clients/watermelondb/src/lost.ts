/** Entries whose product or portion nobody has any more: after a restore, or under a new device. */
import type { Values } from "./totals";

/** Return a product for each entry whose product is unknown, made from what the entry says. */
export function standInsFor(entries: Values[], known: { has(id: any): boolean }): (Values & { id: string })[] {
  const orphans = entries.filter((entry) => !known.has(entry.product_id));
  return [...new Map(orphans.map((entry) => [entry.product_id, productOf(entry)])).values()];
}

function productOf({ product_id, product_name, grams, kcal, protein, carbs, fat }: any): Values & { id: string } {
  const per100g = (amount: number | null) => (amount === null ? null : Math.min(100, (amount / grams) * 100));
  return {
    id: product_id,
    name: product_name,
    kcal_100g: Math.min(1000, Math.round((kcal / grams) * 100)),
    protein_100g: per100g(protein),
    carbs_100g: per100g(carbs),
    fat_100g: per100g(fat),
  };
}
