import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineConfig } from "@playwright/test";
import { CHROMIUM } from "./executables.ts";

export default defineConfig({
  testDir: ".",
  outputDir: join(tmpdir(), `tidings-browser-${process.pid}`),
  reporter: process.env["CI"] ? [["list", { printSteps: false }]] : "line",
  forbidOnly: true,
  fullyParallel: true,
  workers: 2,
  // Two tests of the link depend on Chromium's emulated network, which a crowded machine delays; see the reporter's
  // "flaky" lines, which are to be worked off.
  retries: process.env["CI"] ? 2 : 0,
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
