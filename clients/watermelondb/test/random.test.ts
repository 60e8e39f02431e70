import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Account, Rejected } from "../src/server";
import { agree, complaints, Handwritten, type Phone, Watermelon } from "./phones";
import { calm, everything, LOST, lose, next, purge, register, rest, type Row, type Table, TABLES } from "./service";

const STEPS = Number(process.env.STEPS ?? 200);
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32));
const DAYS = ["2026-01-05", "2026-01-06"];
const MEALS = ["breakfast", "lunch", "dinner", "snacks"];

type Install = Phone & { account: Account };

/** Numbers that are the same for the same seed (mulberry32). */
class Chance {
  constructor(private state: number) {}

  below(limit: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % limit;
  }

  of<T>(things: T[]): T {
    return things[this.below(things.length)];
  }

  /** From 0.01 to `limit`, in hundredths. */
  amount(limit: number): number {
    return (1 + this.below(limit * 100)) / 100;
  }

  uuid(): string {
    const hex = Array.from({ length: 32 }, () => this.below(16).toString(16)).join("");
    return hex.replace(/(.{8})(.{4}).(.{3}).(.{3})(.{12})/, "$1-$2-4$3-a$4-$5");
  }
}

/** Two installs and REST that write to one diary in any order, and what must be there in the end. */
class Run {
  created: Record<Table, Map<string, Row>> = { products: new Map(), portions: new Map(), food_entries: new Map() };
  deleted = new Set<string>();

  constructor(
    private chance: Chance,
    private account: Account,
    private phones: Install[],
  ) {}

  async step(): Promise<void> {
    const phone = this.chance.of(this.phones);
    const steps = [
      ...Array(6).fill(() => this.write(phone)),
      ...Array(4).fill(() => this.sync(phone)),
      () => this.writeByRest(),
      () => this.syncWhile("GET", phone),
      () => this.syncWhile("POST", phone),
      () => this.loseAnAnswer("GET", phone),
      () => this.loseAnAnswer("POST", phone),
    ];
    await this.chance.of(steps)();
  }

  // --- on a phone -------------------------------------------------------------------------------------

  async write(phone: Phone): Promise<void> {
    const table = this.chance.of(TABLES);
    const rows = await this.rowsOf(phone);
    const known = this.chance.of([undefined, ...rows[table]]);
    if (known && this.chance.below(4) === 0) return this.delete(phone, table, known.id);
    const product = this.chance.of([undefined, ...rows.products]);
    const values = table === "products" ? this.product() : product && this.ofProduct(table, product, rows.portions, known);
    if (!values) return;
    const id = known?.id ?? this.noted(table, { ...values, id: this.chance.uuid() }).id;
    await phone.put(table, { id, ...(known ? this.some(table, values) : values) });
  }

  async delete(phone: Phone, table: Table, id: string): Promise<void> {
    this.deleted.add(id);
    await phone.delete(table, id);
  }

  async rowsOf(phone: Phone) {
    const rows = await phone.everything();
    // The ids that the server makes are not the seed's: they must not decide.
    rows.portions.sort((one, other) => (keyOf(one) < keyOf(other) ? -1 : 1));
    return rows;
  }

  product(): Partial<Row> {
    const nutrients = ["protein_100g", "carbs_100g", "fat_100g", "salt_100g"].map((name) => [
      name,
      this.chance.below(3) ? this.chance.amount(33) : null,
    ]);
    return { name: this.name("Product"), kcal_100g: this.chance.below(901), ...Object.fromEntries(nutrients) };
  }

  ofProduct(table: Table, product: Row, portions: Row[], known?: Row): Partial<Row> | undefined {
    if (table === "portions") {
      const values = { name: this.name("Portion"), grams: this.chance.amount(500), is_default: !this.chance.below(2) };
      return known ? values : { ...values, product_id: product.id };
    }
    const own = portions.filter((portion) => portion.product_id === product.id);
    const portion = this.chance.of([undefined, ...own]);
    const quantity = portion ? this.chance.amount(10) : null;
    const grams = this.chance.amount(300);
    const eaten = { product_id: product.id, portion_id: portion?.id ?? null, quantity, grams };
    return { ...eaten, date: this.chance.of(DAYS), meal_type: this.chance.of(MEALS) };
  }

  /** Some of the columns; of an entry, what was eaten or when. */
  some(table: Table, values: Partial<Row>): Partial<Row> {
    const { date, meal_type, ...eaten } = values;
    if (table === "food_entries") return this.chance.of([eaten, { date }, { meal_type }, values]);
    const columns = Object.keys(values);
    const kept = columns.filter(() => this.chance.below(2));
    return Object.fromEntries([this.chance.of(columns), ...kept].map((column) => [column, values[column]]));
  }

  name(kind: string): string {
    return `${kind} ${this.chance.below(1_000_000)}`;
  }

  noted(table: Table, row: Row): Row {
    this.created[table].set(row.id, row);
    return row;
  }

  // --- sync ---------------------------------------------------------------------------------------------

  async sync(phone: Phone): Promise<void> {
    await this.giveUp(phone, await phone.sync());
  }

  /** Other things happen while the phone waits for an answer: it writes, and the other one syncs. */
  async syncWhile(method: "GET" | "POST", phone: Phone): Promise<void> {
    const others = this.phones.filter((one) => one !== phone);
    next(method, async () => {
      await this.write(phone);
      if (this.chance.below(2)) await this.sync(others[0]);
    });
    await this.sync(phone);
    calm();
  }

  async loseAnAnswer(method: "GET" | "POST", phone: Phone): Promise<void> {
    next(method, lose);
    await phone.sync().catch((error) => assert.equal(error, LOST));
    calm();
  }

  /** What was written for a product that is gone, tombstone and all, is refused: the user lets go of it. */
  async giveUp(phone: Phone, rejected: Rejected[]): Promise<void> {
    const rows = await phone.everything();
    for (const { table, id, errors } of rejected) {
      assert.deepEqual(errors.map(({ type }) => type), ["does_not_exist"]);
      if (rows[table as Table].some((row) => row.id === id)) await this.delete(phone, table as Table, id);
    }
  }

  // --- REST ---------------------------------------------------------------------------------------------

  async writeByRest(): Promise<void> {
    const { products, food_entries } = await everything(this.account);
    const product = this.chance.of([undefined, ...products]);
    const entry = this.chance.of([undefined, ...food_entries]);
    const [id, grams, date] = [this.chance.uuid(), this.chance.amount(300), this.chance.of(DAYS)];
    const steps: (() => Promise<unknown>)[] = [
      () => rest(this.account, "POST", "/products", this.noted("products", { ...this.product(), id })),
    ];
    if (product) {
      const logged = { id, product_id: product.id, grams, date };
      steps.push(() => rest(this.account, "POST", "/food-entries", this.noted("food_entries", logged)));
      steps.push(() => rest(this.account, "PATCH", `/products/${product.id}`, this.some("products", this.product())));
      steps.push(() => this.deleteByRest(`/products/${product.id}`));
    }
    if (entry) {
      steps.push(() => rest(this.account, "PATCH", `/food-entries/${entry.id}`, this.chance.of<object>([{ grams }, { date }])));
      steps.push(() => this.deleteByRest(`/food-entries/${entry.id}`));
    }
    await this.chance.of(steps)();
  }

  async deleteByRest(path: string): Promise<void> {
    this.deleted.add(path.split("/")[2]);
    await rest(this.account, "DELETE", path);
  }

  // --- the end ------------------------------------------------------------------------------------------

  /** All agree, nothing that was created is missing, nothing that was deleted is back, each product has one default. */
  async end(): Promise<void> {
    for (const phone of [...this.phones, ...this.phones, ...this.phones]) await this.sync(phone);
    const stored = await agree(...this.phones);
    for (const table of TABLES) {
      const there = new Set(stored[table].map(({ id }) => id));
      for (const [id, { product_id }] of this.created[table]) {
        const isGone = this.deleted.has(id) || (table === "portions" && this.deleted.has(product_id));
        assert.equal(there.has(id), !isGone, `${table} ${id}`);
      }
    }
    for (const product of stored.products) {
      const defaults = stored.portions.filter((one) => one.product_id === product.id && one.is_default);
      assert.equal(defaults.length, 1);
    }
  }
}

const keyOf = ({ product_id, name, id }: Row) => `${product_id} ${name} ${id}`;

describe(`A random run of ${STEPS} steps`, () => {
  for (const [First, Second, seed] of [
    [Watermelon, Watermelon, SEED],
    [Watermelon, Handwritten, SEED + 1],
  ] as const) {
    it(`ends in agreement of ${First.name}, ${Second.name} and REST`, async (test) => {
      test.diagnostic(`SEED=${SEED}`);
      const account = await register();
      const run = new Run(new Chance(seed), account, [new First(account), new Second(account)]);
      try {
        for (let step = 1; step <= STEPS; step++) {
          await run.step();
          if (step % 50 === 0) await purge();
        }
        await run.end();
        assert.deepEqual(complaints.splice(0), []);
      } catch (error) {
        throw new Error(`To see this again: SEED=${SEED} make test-clients`, { cause: error });
      }
    });
  }
});
