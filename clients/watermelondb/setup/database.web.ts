import LokiJSAdapter from "@nozbe/watermelondb/adapters/lokijs";
import { randomUUID } from "expo-crypto";
import { migrations, openDatabase, schema } from "../src/schema";

const adapter = new LokiJSAdapter({ schema, migrations, useWebWorker: false, useIncrementalIndexedDB: true });

export const database = openDatabase(adapter, randomUUID);
