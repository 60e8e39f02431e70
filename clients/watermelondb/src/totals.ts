/** What the server computes. An app shows these values until a sync brings the server's. */

/** The nutrients of a label, in grams: columns of an entry. A product has them with `_100g` at the end. */
export const NUTRIENTS = ["protein", "carbs", "fat", "sugars", "saturated_fat", "fiber", "salt"] as const;
const TOTALS = ["kcal", ...NUTRIENTS] as const;

type Total = (typeof TOTALS)[number];
export type Totals = { kcal: number } & { [total in Total]: number | null };
export type Values = { [name: string]: unknown };

/** Return kcal and nutrients in `grams` of a product. The product has the columns of its table. */
export function totalsOf(product: Values, grams: number): Totals {
  return mapped((total) => {
    const per100g = (product[`${total}_100g`] ?? null) as number | null;
    if (per100g === null) return null;
    const hundredths = total === "kcal" ? 100 * Math.round(per100g) : inHundredths(per100g);
    return scaled(hundredths, inHundredths(grams), 10_000);
  });
}

/** Return the weight of portions. */
export function gramsOf(portionGrams: number, quantity: number): number {
  return scaled(inHundredths(portionGrams), inHundredths(quantity), 100);
}

/**
 * Return the new weight of an entry, and its totals. The server's can differ a little: it knows the exact values.
 */
export function rescaled(entry: { [name in Total | "grams"]?: unknown }, grams: number): { grams: number } & Totals {
  const totals = mapped((total) => {
    const amount = (entry[total] ?? null) as number | null;
    return amount === null ? null : inHundredths((amount * grams) / (entry.grams as number)) / 100;
  });
  return { grams, ...totals };
}

function mapped(amountOf: (total: Total) => number | null): Totals {
  return Object.fromEntries(TOTALS.map((total) => [total, amountOf(total)])) as Totals;
}

/** Multiply and divide hundredths, and round half-up. It is exact, because all numbers are whole and below 2 ** 53. */
function scaled(one: number, other: number, divisor: number): number {
  return Math.floor((one * other + divisor / 2) / divisor) / 100;
}

/** Round half-up, by the digits that JSON shows: 1.005 has 101 hundredths, though 1.005 * 100 is less than 100.5. */
function inHundredths(value: number): number {
  const [digits, exponent = "0"] = String(value).split("e");
  return Math.round(Number(`${digits}e${Number(exponent) + 2}`));
}
