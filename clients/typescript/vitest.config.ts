import { defineConfig } from "vitest/config";

/** Tests await states and never the clock, so these bounds only end what hangs: the machine may be ten times as busy. */
export default defineConfig({ test: { hookTimeout: 60_000, testTimeout: 60_000 } });
