import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bread, breakfast, QUARK, weighed } from "./food";
import { agree, Handwritten, InMemory } from "./phones";
import { backUp, purge, register, rest, restore, watched } from "./service";

const KILLED = new Error("the app was killed");

/** A phone's storage. The app is killed after so many writes, and nothing more is written then. */
class Fragile extends InMemory {
  writesLeft = Infinity;

  protected override async write(write: () => void): Promise<void> {
    if (this.writesLeft-- <= 0) throw KILLED;
    write();
  }
}

class Killable extends Handwritten {
  constructor(account: Handwritten["account"], public override storage = new Fragile()) {
    super(account, storage);
  }

  /** Do something. Kill the app after each number of writes, start it again, and do the same, until it succeeds. */
  async killedAtEachWrite(act: () => Promise<unknown>): Promise<number> {
    for (let writes = 0; ; writes++) {
      this.storage.writesLeft = writes;
      try {
        await act();
        return writes;
      } catch (error) {
        assert.equal(error, KILLED);
        this.restart();
      } finally {
        this.storage.writesLeft = Infinity;
      }
    }
  }
}

describe("The client without a library", () => {
  it("has after a restart what it had before, and is as much in sync", async () => {
    const account = await register();
    const phone = new Killable(account);
    const of = await bread(phone);
    const eaten = await breakfast(phone, of);
    await agree(phone);
    const unsent = await weighed(phone, of.product_id);
    await phone.put("products", { id: of.product_id, name: "Bread" });
    await phone.delete("food_entries", eaten);
    const before = await phone.everything();

    phone.restart();

    assert.deepEqual(await phone.everything(), before);
    assert.equal(await phone.isSynced(), false);
    const stored = await agree(phone, new Handwritten(account));
    assert.deepEqual([stored.food_entries.map(({ id }) => id), stored.products[0].name], [[unsent], "Bread"]);
  });

  it("pulls the whole of a table that a new version of the app knows", async () => {
    const account = await register();
    const [phone, other] = [new Handwritten(account), new Handwritten(account)];
    await breakfast(other, await bread(other));
    await agree(other, phone);
    const { values } = phone.storage as InMemory;
    const state = JSON.parse(values.get("countonme/state")!);
    values.set("countonme/state", JSON.stringify({ ...state, tables: ["products", "portions"] }));
    for (const key of values.keys()) if (key.includes("/food_entries/")) values.delete(key);
    phone.restart();
    assert.deepEqual((await phone.everything()).food_entries, []);

    const [{ body }] = await watched(() => phone.sync());

    assert.deepEqual([body.changes.products.updated.length, body.changes.food_entries.updated.length], [0, 1]);
    assert.deepEqual(await phone.everything(), await other.everything());
  });

  it("loses nothing if it is killed during a sync, whichever write was the last", async () => {
    const account = await register();
    const [phone, other] = [new Killable(account), new Handwritten(account)];
    const of = await bread(other);
    const eaten = await breakfast(other, of);
    await agree(phone, other);
    await phone.delete("food_entries", eaten);
    await phone.put("products", { id: of.product_id, name: "Bread" });
    const unsent = await weighed(phone, of.product_id);
    await other.put("products", { id: of.product_id, kcal_100g: 200 });
    const late = await weighed(other, of.product_id);
    await other.delete("portions", of.portion_id);
    await other.sync();

    assert.ok((await phone.killedAtEachWrite(() => phone.sync())) > 3);

    const stored = await agree(phone, other);
    assert.deepEqual(stored.food_entries.map(({ id }) => id), [unsent, late].sort());
    assert.deepEqual([stored.products[0].name, stored.products[0].kcal_100g], ["Bread", 200]);
  });

  it("gives back to a restored server what that has lost, and brings nothing back that is purged, also then", async () => {
    const account = await register();
    const [phone, other] = [new Killable(account), new Handwritten(account)];
    const of = await bread(other);
    const eaten = await breakfast(other, of);
    const gone = await other.put("products", QUARK);
    await agree(phone, other);
    await other.delete("products", gone);
    await other.sync();
    await purge();
    assert.ok((await phone.killedAtEachWrite(() => phone.sync())) > 1);
    await backUp();
    const lost = await breakfast(phone, await bread(phone, { name: "Lost bread" }));
    await agree(phone);
    await restore();

    assert.ok((await phone.killedAtEachWrite(() => phone.sync())) > 3);

    const stored = await agree(phone, other);
    assert.deepEqual(stored.food_entries.map(({ id }) => id), [eaten, lost].sort());
    assert.deepEqual(stored.products.map(({ name }) => name).sort(), ["Lost bread", "Rye bread"]);
  });

  it("has all rows once when it starts again as a new device, wherever it was killed", async () => {
    const account = await register();
    const phone = new Killable(account);
    await breakfast(phone, await bread(phone));
    await agree(phone);
    await rest(account, "DELETE", "/devices/me");
    const { kcal, ...before } = (await phone.everything()).food_entries[0];

    assert.ok((await phone.killedAtEachWrite(() => phone.giveNewIds())) > 3);

    phone.account = await register();
    phone.restart();
    const stored = await agree(phone);
    assert.deepEqual([stored.products.length, stored.food_entries.length], [1, 1]);
    assert.deepEqual([stored.food_entries[0].kcal, stored.food_entries[0].quantity], [kcal, before.quantity]);
    assert.equal((await phone.storage.getAllKeys()).filter((key) => !/^countonme\/(state|\d+\/)/.test(key)).length, 0);
  });
});
