// Enums of `openapi-typescript --enum`: this file only has to compile.
import { ExperimentalStrategyEnum, type components } from "./build/schema-with-enums";

export const strategy: components["schemas"]["Pull"]["experimentalStrategy"] = ExperimentalStrategyEnum.replacement;
