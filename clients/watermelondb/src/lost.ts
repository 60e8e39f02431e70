/** Entries whose product or portion nobody has any more: after a restore, or under a new device. */
import { NUTRIENTS, type Values } from "./totals";

/** Return a product for each entry whose product is unknown, made from what the entry says. */
export function standInsFor(entries: Values[], known: { has(id: any): boolean }): (Values & { id: string })[] {
  const orphans = entries.filter((entry) => !known.has(entry.product_id));
  return [...new Map(orphans.map((entry) => [entry.product_id, productOf(entry)])).values()];
}

function productOf(entry: any): Values & { id: string } {
  const per100g = (amount: number) => (amount / entry.grams) * 100;
  const nutrients = NUTRIENTS.map((name) => {
    const amount = entry[name] ?? null;
    return [`${name}_100g`, amount === null ? null : Math.min(100, per100g(amount))];
  });
  return {
    id: entry.product_id,
    name: entry.product_name,
    unit: entry.unit,
    kcal_100g: Math.min(1000, Math.round(per100g(entry.kcal))),
    ...Object.fromEntries(nutrients),
  };
}
