// How clients of orval send a request: to the service at COUNTONME_URL, with the token of the device.
declare const process: { env: { COUNTONME_URL: string } };

export const session = { token: "" };

export async function send<T>(url: string, options: RequestInit): Promise<T> {
  const headers = new Headers(options.headers);
  if (session.token) headers.set("Authorization", `Bearer ${session.token}`);
  const response = await fetch(new URL(url, process.env.COUNTONME_URL), { ...options, headers });
  const text = await response.text();
  return { data: text ? JSON.parse(text) : undefined, status: response.status, headers: response.headers } as T;
}
