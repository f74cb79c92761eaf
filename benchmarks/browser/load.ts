/** 1,000 running operations and 10,000 events/s at the hub: how busy is the page? */
import { setTimeout as pause } from "node:timers/promises";
import { Hub } from "../../tests/browser/processes.ts";
import { Chromium } from "./chromium.ts";
import { cpuSeconds } from "./hub_costs.ts";
import { Publisher } from "./publisher.ts";
import { measured, profiled } from "./trace.ts";

const MAX_BUSY = 0.5;
const WARM_UP_MS = 5_000;

/** The pages, and what each shows when its events arrive. */
const PAGES = {
  list: ["", "document.querySelectorAll('main [role=progressbar]').length > 5"],
  operation: ["operation?id=load-7-0", "document.querySelector('main [role=progressbar]') !== null"],
  events: ["events", "document.querySelectorAll('main [role=row], main li').length > 5"],
  wall: ["wall", "document.querySelector('main [role=progressbar]') !== null"],
} as const;

export interface LoadOptions {
  readonly seconds: number;
  /** Events per second. */
  readonly rate: number;
  readonly isProfiled: boolean;
  /** Names of pages; all where it is empty. */
  readonly only: readonly string[];
}

/** Measure the list, a running operation, the events and the wall, one after the other. */
export async function load({ seconds, rate, isProfiled, only }: LoadOptions): Promise<boolean> {
  let isGood = true;
  for (const [title, [path, condition]] of Object.entries(PAGES)) {
    if (only.length > 0 && !only.includes(title)) continue;
    const hub = await Hub.start();
    const publisher = new Publisher(hub, { running: 1000, rate, updates: 3_000 });
    const browser = await Chromium.launch();
    try {
      const page = await browser.open(new URL(path, hub.url).href);
      await browser.until(page, condition);
      await pause(WARM_UP_MS);
      if (isProfiled) console.log(await profiled(browser, page, seconds * 1000));
      const before = cpuSeconds(hub.pid);
      const began = performance.now();
      const thread = await measured(browser, seconds * 1000);
      const hubBusy = (1000 * (cpuSeconds(hub.pid) - before)) / (performance.now() - began);
      const { events, seconds: took } = await publisher.stop();
      const passes = thread.busy < MAX_BUSY && thread.over50 === 0;
      isGood &&= passes;
      console.log(
        `${title}: main thread ${(100 * thread.busy).toFixed(1)} % busy; longest tasks ` +
          `${thread.longest.map((one) => one.toFixed(1)).join(", ")} ms of CPU, ${thread.over50} over 50 ms ` +
          `(${thread.wallOver50} with preemption); ${Math.round(events / took)} events/s, ` +
          `hub ${(100 * hubBusy).toFixed(0)} % busy${passes ? "" : "  ABOVE ITS LIMIT"}`,
      );
    } finally {
      await browser.close();
      await hub.stop();
    }
  }
  return isGood;
}
