import { fileURLToPath } from "node:url";
import { defineConfig } from "@playwright/test";
import { CHROMIUM } from "./executables.ts";

export default defineConfig({
  testDir: ".",
  outputDir: fileURLToPath(new URL(`../../node_modules/.browser-results/${process.pid}`, import.meta.url)),
  reporter: process.env["CI"] ? [["list", { printSteps: false }]] : "line",
  forbidOnly: true,
  fullyParallel: true,
  workers: 2,
  // Tests await states and never the clock, so these bounds only end what hangs: the machine may be ten times as busy.
  timeout: 120_000,
  expect: { timeout: 40_000 },
  use: {
    viewport: { width: 1440, height: 900 },
    timezoneId: "Europe/Berlin",
    locale: "en-GB",
    launchOptions: {
      executablePath: CHROMIUM,
      args: ["--no-sandbox", "--disable-quic", "--disable-background-networking"],
    },
  },
});
