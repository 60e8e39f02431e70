declare const process: { env: { COUNTONME_URL: string } };

export const origin = new URL(process.env.COUNTONME_URL).origin;

export function check(claim: unknown, what: string): asserts claim {
  if (!claim) throw new Error(what);
}
