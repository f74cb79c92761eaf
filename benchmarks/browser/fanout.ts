/** What 40 hidden or frozen dashboards cost a hub that serves ten visible ones. */
import { setTimeout as pause } from "node:timers/promises";
import { Hub } from "../../tests/browser/processes.ts";
import { Chromium } from "./chromium.ts";
import { cpuSeconds, residentMiB } from "./hub_costs.ts";
import { Publisher } from "./publisher.ts";

const VISIBLE = 10;
const HIDDEN = 40;
const MAX_EXTRA = 0.03;
const RATE = 2_000;
/** Hidden pages slow down after ten seconds, and what they ask when they open must be over. */
const SETTLE_MS = 30_000;

interface Cost {
  /** CPU time of the hub for an event, in microseconds. */
  readonly perEvent: number;
  readonly mebibytes: number;
}

/** Open windows, each with a visible tab and its share of hidden ones, of which every other is frozen. */
async function openTabs(browser: Chromium, url: string, hidden: number): Promise<void> {
  for (let number = 0; number < VISIBLE; number += 1) {
    const first = await browser.open(url, true);
    await browser.until(first, "document.querySelector('main [role=progressbar]') !== null");
    for (let behind = 0; behind < hidden / VISIBLE; behind += 1) {
      const tab = await browser.open(url);
      await browser.until(tab, "document.querySelector('main [role=progressbar]') !== null");
      await browser.activate(first);
      await browser.until(tab, "document.visibilityState === 'hidden'");
      if (behind % 2 === 1) await browser.freeze(tab);
    }
  }
}

async function cost(hidden: number, seconds: number): Promise<Cost> {
  const hub = await Hub.start();
  const browser = await Chromium.launch();
  const publisher = new Publisher(hub, { running: 200, rate: RATE, updates: 100_000 });
  try {
    await openTabs(browser, hub.url, hidden);
    await pause(SETTLE_MS);
    const [cpu, published] = [cpuSeconds(hub.pid), await hub.metric("tidings_events_accepted_total")];
    await pause(seconds * 1000);
    const events = (await hub.metric("tidings_events_accepted_total")) - published;
    return { perEvent: ((cpuSeconds(hub.pid) - cpu) / events) * 1e6, mebibytes: residentMiB(hub.pid) };
  } finally {
    await browser.close();
    await publisher.stop();
    await hub.stop();
  }
}

/** Compare in turns. */
export async function fanout(seconds: number, rounds: number): Promise<boolean> {
  const ratios: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const [alone, crowded] = [await cost(0, seconds), await cost(HIDDEN, seconds)];
    ratios.push(crowded.perEvent / alone.perEvent);
    console.log(
      `${VISIBLE} visible: ${alone.perEvent.toFixed(2)} µs/event, ${alone.mebibytes.toFixed(0)} MiB; ` +
        `and ${HIDDEN} hidden: ${crowded.perEvent.toFixed(2)} µs/event, ${crowded.mebibytes.toFixed(0)} MiB`,
    );
  }
  const median = ratios.sort((one, other) => one - other)[Math.floor(ratios.length / 2)] ?? Number.NaN;
  console.log(`median ratio ${median.toFixed(3)}`);
  return median <= 1 + MAX_EXTRA;
}
