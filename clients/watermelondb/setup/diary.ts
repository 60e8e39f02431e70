import { randomUUID } from "expo-crypto";
import Storage from "expo-sqlite/kv-store";
import { Diary } from "../src/handwritten";
import { totalsOf } from "../src/totals";
import { openAccount } from "./account";

/** Log 71 g of bread, and sync. */
export async function logBread(url: string, today: string): Promise<Diary> {
  const diary = await Diary.open(Storage, randomUUID);
  const bread = { name: "Rye bread", kcal_100g: 259, protein_100g: 8.5, carbs_100g: 48.3, fat_100g: 3.3 };
  const product_id = await diary.put("products", bread);
  const eaten = { product_id, portion_id: null, quantity: null, grams: 71, product_name: bread.name };
  const when = { date: today, time: "07:30", meal_type: "breakfast" };
  await diary.put("food_entries", { ...eaten, ...totalsOf(bread, 71), ...when });
  await diary.sync(await openAccount(url));
  return diary;
}
