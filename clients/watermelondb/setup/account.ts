import { randomUUID } from "expo-crypto";
import { deleteItemAsync, getItemAsync, setItemAsync } from "expo-secure-store";
import { type Account, request } from "../src/server";

const KEY = "countonme.device";

export type Device = { device_id: string; token: string };

let opening: Promise<Account> | undefined;

/** Return the account of this phone. The first call registers a device, and a second call meanwhile waits for it. */
export function openAccount(url: string): Promise<Account> {
  opening ??= open(url).finally(() => (opening = undefined));
  return opening;
}

async function open(url: string): Promise<Account> {
  const device = await storedDevice();
  return device ? { url, token: device.token } : register(url, randomUUID());
}

/** Register the device again after a 401. The error 409 means that the server knows it: see "Tokens". */
export async function registerAgain(url: string): Promise<Account> {
  const device = await storedDevice();
  return register(url, device!.device_id);
}

async function register(url: string, device_id: string): Promise<Account> {
  const { token } = await request({ url, token: "" }, "POST", "/auth/register", { device_id });
  await storeDevice({ device_id, token });
  return { url, token };
}

export async function storedDevice(): Promise<Device | null> {
  const stored = await getItemAsync(KEY);
  return stored && JSON.parse(stored);
}

/** Store the id and the token together, so that a crash can't separate them. */
export async function storeDevice(device: Device): Promise<void> {
  await setItemAsync(KEY, JSON.stringify(device));
}

/** The next `openAccount()` then registers a new device. */
export async function forgetDevice(): Promise<void> {
  await deleteItemAsync(KEY);
}
