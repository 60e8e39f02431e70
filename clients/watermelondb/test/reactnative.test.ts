/** The published code as React Native runs it: compiled with its Babel preset, and without `crypto`. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { before, describe, it } from "node:test";
import type { Storage } from "../src/handwritten";
import { DAY } from "./food";
import { everything, register, url } from "./service";

const { transformFileSync } = require("@babel/core"); // it has no types
const ROOT = resolve(__dirname, "../..");
const COMPILED = resolve(__dirname, "../react-native");
const SQLITE = "database.ts"; // it needs a phone

/** What stands in for Expo. */
const EXPO = {
  "expo-crypto": `exports.randomUUID = require("node:crypto").randomUUID;`,
  "expo-secure-store": `
    const values = new Map();
    exports.getItemAsync = async (key) => values.get(key) ?? null;
    exports.setItemAsync = async (key, value) => void values.set(key, value);
    exports.deleteItemAsync = async (key) => void values.delete(key);`,
  "expo-sqlite/kv-store": `
    const { InMemory } = require(${JSON.stringify(join(__dirname, "phones"))});
    module.exports = new InMemory();`,
};

function load<Module>(name: string): Module {
  return require(join(COMPILED, name));
}

function write(path: string, code: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, code);
}

function compile(folder: string): void {
  for (const file of readdirSync(join(ROOT, folder)).filter((name) => !name.endsWith(".d.ts") && name !== SQLITE)) {
    const compiled = transformFileSync(join(ROOT, folder, file), {
      presets: [["@react-native/babel-preset", { enableBabelRuntime: false }]],
      plugins: [["@babel/plugin-proposal-decorators", { legacy: true }]],
      configFile: false,
      caller: { name: "metro", bundler: "metro", platform: "ios" },
    });
    write(join(COMPILED, folder, `${basename(file, ".ts")}.js`), compiled.code);
  }
}

describe("In React Native, the published code", () => {
  before(() => {
    compile("src");
    compile("setup");
    for (const [name, code] of Object.entries(EXPO)) write(join(COMPILED, "node_modules", `${name}.js`), code);
    assert.ok(Reflect.deleteProperty(globalThis, "crypto"));
  });

  it("syncs with WatermelonDB", async () => {
    const { sync } = load<typeof import("../src/sync")>("src/sync");
    const { giveNewIds } = load<typeof import("../src/recovery")>("src/recovery");
    const { database } = load<typeof import("../setup/database.web")>("setup/database.web");
    const { openAccount, registerAgain } = load<typeof import("../setup/account")>("setup/account");
    const { logBread, weighAgain } = load<typeof import("../setup/log")>("setup/log");
    const { kcal } = await weighAgain(database, await logBread(database, DAY), 100);
    (database.adapter as any).underlyingAdapter._driver.loki.autosaveDisable(); // its timer would keep the tests running
    await giveNewIds(database);

    const account = await openAccount(url);
    assert.deepEqual(await sync(database, account), []);

    assert.deepEqual(await openAccount(url), account);
    await assert.rejects(registerAgain(url), { status: 409 });
    const { products, food_entries } = await everything(account);
    assert.deepEqual([products[0].name, products[0].protein_100g], ["Rye bread", 8.5]);
    assert.deepEqual([food_entries[0].kcal, food_entries[0].time], [kcal, "07:30:00.000"]);
    assert.deepEqual([food_entries[0].grams, food_entries[0].portion_id], [100, null]);
  });

  it("syncs without a library", async () => {
    const { forgetDevice, openAccount } = load<typeof import("../setup/account")>("setup/account");
    const { logBread } = load<typeof import("../setup/diary")>("setup/diary");
    await forgetDevice();

    const diary = await logBread(url, DAY);

    assert.deepEqual((await everything(await openAccount(url))).food_entries.map(({ kcal }) => kcal), [183.89]);
    assert.equal(diary.rows.food_entries.size, 1);
  });

  it("logs food before the first contact with the server", async () => {
    const { forgetDevice } = load<typeof import("../setup/account")>("setup/account");
    const { logBread } = load<typeof import("../setup/diary")>("setup/diary");
    const storage: Storage = load("node_modules/expo-sqlite/kv-store");
    const { length } = await storage.getAllKeys();
    await forgetDevice();

    await assert.rejects(logBread("http://127.0.0.1:9/v1", DAY), /fetch failed/);

    assert.equal((await storage.getAllKeys()).length, length + 2);
  });

  it("registers one device, also if two screens open the account at once", async () => {
    const { forgetDevice, openAccount, storedDevice } = load<typeof import("../setup/account")>("setup/account");
    await forgetDevice();

    const [one, other] = await Promise.all([openAccount(url), openAccount(url)]);

    assert.deepEqual(one, other);
    assert.equal((await storedDevice())?.token, one.token);
    assert.notDeepEqual(await forgetDevice().then(() => openAccount(url)), one);
  });

  it("says what the server refused", async () => {
    const { request, ServerError } = load<typeof import("../src/server")>("src/server");

    const error = await request({ ...(await register()), token: "wrong" }, "GET", "/products").catch((error) => error);

    assert.ok(error instanceof ServerError);
    assert.deepEqual([error.status, error.message], [401, "401 Invalid or expired token"]);
  });
});
