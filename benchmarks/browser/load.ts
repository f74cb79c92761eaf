/** 1,000 running operations and 10,000 events/s at the hub: how busy is the page? */
import { chromium } from "@playwright/test";
import { CHROMIUM } from "../../tests/browser/executables.ts";
import { Hub } from "../../tests/browser/processes.ts";
import { cpuSeconds } from "./hub_costs.ts";
import { Publisher } from "./publisher.ts";
import { traced } from "./trace.ts";

const MAX_BUSY = 0.5;
const WARM_UP_MS = 5_000;

/** Trace the list, a running operation and the events, each for a time in seconds. */
export async function load(seconds: number): Promise<boolean> {
  const hub = await Hub.start();
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  let isGood = true;
  try {
    for (const [title, path] of [
      ["list", ""],
      ["operation", "operation?id=load-7-0"],
      ["events", "events"],
      ["wall", "wall"],
    ] as const) {
      const publisher = new Publisher(hub, { running: 1000, rate: 10_000, updates: 3_000 });
      const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
      await page.goto(new URL(path, hub.url).href);
      await page.waitForTimeout(WARM_UP_MS);
      const before = cpuSeconds(hub.pid);
      const thread = await traced(browser, page, seconds * 1000);
      const hubBusy = (cpuSeconds(hub.pid) - before) / seconds;
      const { events, seconds: took } = await publisher.stop();
      const passes = thread.busy < MAX_BUSY && thread.over50 === 0;
      isGood &&= passes;
      console.log(
        `${title}: main thread ${(100 * thread.busy).toFixed(1)} % busy, longest tasks ` +
          `${thread.longest.map((one) => one.toFixed(1)).join(", ")} ms, ${thread.over50} over 50 ms; ` +
          `${Math.round(events / took)} events/s, hub ${(100 * hubBusy).toFixed(0)} % busy${passes ? "" : "  ABOVE ITS LIMIT"}`,
      );
      await page.close();
    }
  } finally {
    await browser.close();
    await hub.stop();
  }
  return isGood;
}
