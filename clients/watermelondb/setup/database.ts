import SQLiteAdapter from "@nozbe/watermelondb/adapters/sqlite";
import { randomUUID } from "expo-crypto";
import { migrations, openDatabase, schema } from "../src/schema";

const adapter = new SQLiteAdapter({ schema, migrations, jsi: true, onSetUpError: console.error });

export const database = openDatabase(adapter, randomUUID);
