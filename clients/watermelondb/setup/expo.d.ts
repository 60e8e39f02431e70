/** The parts of Expo that the set-up uses. Expo itself is not installed here. */
declare module "expo-crypto" {
  export function randomUUID(): string;
}

declare module "expo-secure-store" {
  export function deleteItemAsync(key: string): Promise<void>;
  export function getItemAsync(key: string): Promise<string | null>;
  export function setItemAsync(key: string, value: string): Promise<void>;
}

declare module "expo-sqlite/kv-store" {
  const storage: {
    getAllKeys(): Promise<string[]>;
    multiGet(keys: string[]): Promise<[string, string | null][]>;
    multiSet(values: [string, string][]): Promise<void>;
    multiRemove(keys: string[]): Promise<void>;
  };
  export default storage;
}
