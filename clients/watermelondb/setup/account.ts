import { randomUUID } from "expo-crypto";
import { getItemAsync, setItemAsync } from "expo-secure-store";
import { type Account, request } from "../src/server";

const KEY = "countonme.device";

/** Return the account of this phone. The first call registers a device. */
export async function openAccount(url: string): Promise<Account> {
  const stored = await getItemAsync(KEY);
  const { token } = stored ? JSON.parse(stored) : await register(url, randomUUID());
  return { url, token };
}

/** Register the device again after a 401. The error 409 means that the server knows it: see "Tokens". */
export async function registerAgain(url: string): Promise<Account> {
  const { device_id } = JSON.parse((await getItemAsync(KEY))!);
  const { token } = await register(url, device_id);
  return { url, token };
}

/** Store the id and the token together, so that a crash can't separate them. */
async function register(url: string, device_id: string): Promise<{ token: string }> {
  const { token } = await request({ url, token: "" }, "POST", "/auth/register", { device_id });
  await setItemAsync(KEY, JSON.stringify({ device_id, token }));
  return { token };
}
