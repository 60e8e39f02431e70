import { appSchema, associations, Database, Model, tableSchema } from "@nozbe/watermelondb";
import type { DatabaseAdapter, DirtyRaw } from "@nozbe/watermelondb";
import { field, text } from "@nozbe/watermelondb/decorators";
import { schemaMigrations } from "@nozbe/watermelondb/Schema/migrations";
import { setGenerator } from "@nozbe/watermelondb/utils/common/randomId";
import { gramsOf, type Totals, totalsOf } from "./totals";

export const schema = appSchema({
  version: 1,
  tables: [
    tableSchema({
      name: "products",
      columns: [
        { name: "name", type: "string" },
        { name: "brand", type: "string", isOptional: true },
        { name: "kcal_100g", type: "number" },
        { name: "protein_100g", type: "number", isOptional: true },
        { name: "carbs_100g", type: "number", isOptional: true },
        { name: "fat_100g", type: "number", isOptional: true },
        { name: "sugars_100g", type: "number", isOptional: true },
        { name: "saturated_fat_100g", type: "number", isOptional: true },
        { name: "fiber_100g", type: "number", isOptional: true },
        { name: "salt_100g", type: "number", isOptional: true },
        { name: "unit", type: "string" },
        { name: "barcode", type: "string", isOptional: true },
        { name: "is_favorite", type: "boolean" },
        { name: "catalog_food_id", type: "string", isOptional: true },
      ],
    }),
    tableSchema({
      name: "portions",
      columns: [
        { name: "product_id", type: "string", isIndexed: true },
        { name: "name", type: "string" },
        { name: "grams", type: "number" },
        { name: "is_default", type: "boolean" },
      ],
    }),
    tableSchema({
      name: "food_entries",
      columns: [
        { name: "product_id", type: "string" },
        { name: "portion_id", type: "string", isOptional: true },
        { name: "quantity", type: "number", isOptional: true },
        { name: "grams", type: "number" },
        { name: "date", type: "string", isIndexed: true },
        { name: "time", type: "string", isOptional: true },
        { name: "meal_type", type: "string" },
        { name: "portion_name", type: "string", isOptional: true },
        { name: "portion_grams", type: "number", isOptional: true },
        { name: "product_name", type: "string" },
        { name: "unit", type: "string" },
        { name: "kcal", type: "number" },
        { name: "protein", type: "number", isOptional: true },
        { name: "carbs", type: "number", isOptional: true },
        { name: "fat", type: "number", isOptional: true },
        { name: "sugars", type: "number", isOptional: true },
        { name: "saturated_fat", type: "number", isOptional: true },
        { name: "fiber", type: "number", isOptional: true },
        { name: "salt", type: "number", isOptional: true },
      ],
    }),
  ],
});

export const migrations = schemaMigrations({ migrations: [] });

export class Product extends Model {
  static table = "products";
  static associations = associations(["portions", { type: "has_many", foreignKey: "product_id" }]);

  @text("name") name!: string;
  @field("brand") brand!: string | null;
  @field("kcal_100g") kcal100g!: number;
  @field("protein_100g") protein100g!: number | null;
  @field("carbs_100g") carbs100g!: number | null;
  @field("fat_100g") fat100g!: number | null;
  @field("sugars_100g") sugars100g!: number | null;
  @field("saturated_fat_100g") saturatedFat100g!: number | null;
  @field("fiber_100g") fiber100g!: number | null;
  @field("salt_100g") salt100g!: number | null;
  @field("unit") unit!: string; // "g" or "ml"; the server stores an empty text as "g"
  @field("barcode") barcode!: string | null;
  @field("is_favorite") isFavorite!: boolean;
  @field("catalog_food_id") catalogFoodId!: string | null;

  /** What the server copies from the product into an entry of `grams`, and what it computes. */
  inEntry(grams: number): { productId: string; productName: string; unit: string; grams: number } & Totals {
    const copied = { productId: this.id, productName: this.name, unit: this.unit || "g" };
    return { ...copied, grams, ...totalsOf(this._raw as DirtyRaw, grams) };
  }
}

export class Portion extends Model {
  static table = "portions";
  static associations = associations(["products", { type: "belongs_to", key: "product_id" }]);

  @field("product_id") productId!: string;
  @text("name") name!: string;
  @field("grams") grams!: number;
  @field("is_default") isDefault!: boolean;

  /** The weight of so many of this portion. */
  gramsOf(quantity: number): number {
    return gramsOf(this.grams, quantity);
  }

  /** What the server copies from the portion into an entry of so many of it. */
  inEntry(quantity: number): { portionId: string; quantity: number; portionName: string; portionGrams: number } {
    return { portionId: this.id, quantity, portionName: this.name, portionGrams: this.grams };
  }
}

export class FoodEntry extends Model {
  static table = "food_entries";
  static associations = associations(
    ["products", { type: "belongs_to", key: "product_id" }],
    ["portions", { type: "belongs_to", key: "portion_id" }],
  );

  @field("product_id") productId!: string;
  @field("portion_id") portionId!: string | null;
  @field("quantity") quantity!: number | null;
  @field("grams") grams!: number;
  @field("date") date!: string;
  @field("time") time!: string | null;
  @field("meal_type") mealType!: string;
  // The rest is the server's. Until a sync brings it, it is what the app puts there, with `inEntry()`.
  @field("portion_name") portionName!: string | null;
  @field("portion_grams") portionGrams!: number | null;
  @field("product_name") productName!: string;
  @field("unit") unit!: string;
  @field("kcal") kcal!: number;
  @field("protein") protein!: number | null;
  @field("carbs") carbs!: number | null;
  @field("fat") fat!: number | null;
  @field("sugars") sugars!: number | null;
  @field("saturated_fat") saturated_fat!: number | null; // named like the column, so that `inEntry()` can be assigned
  @field("fiber") fiber!: number | null;
  @field("salt") salt!: number | null;
}

export const modelClasses = [Product, Portion, FoodEntry];

/** Open the database. New rows get their ids from `randomUUID`, because the library's own ids are no UUIDs. */
export function openDatabase(adapter: DatabaseAdapter, randomUUID: () => string): Database {
  setGenerator(randomUUID);
  return new Database({ adapter, modelClasses });
}
