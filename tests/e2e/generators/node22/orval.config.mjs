import { env } from "node:process";

export default {
  countonme: {
    input: env.OPENAPI_DOCUMENT,
    output: {
      target: "build/orval.ts",
      client: "fetch",
      override: { mutator: { path: "orval-fetch.ts", name: "send" } },
    },
  },
};
