/** What a page keeps: its heap after collection, its nodes and its listeners, over hours of traffic and many pages. */
import { setTimeout as pause } from "node:timers/promises";
import { Hub } from "../../tests/browser/processes.ts";
import { Chromium } from "./chromium.ts";
import { Publisher } from "./publisher.ts";

const MAX_GROWTH = 0.1;
const MINUTE_MS = 60_000;
/** From this minute on, nothing may grow. */
const FIRST_MINUTE = 5;
/** Runs of jobs per hour of traffic, and the events of each. */
const RUNS_PER_HOUR = 1_200;
const EVENTS_PER_RUN = 30;

interface Kept {
  readonly heapMB: number;
  readonly nodes: number;
  readonly listeners: number;
}

/** What is left in a page after a collection. */
async function kept(browser: Chromium, page: string): Promise<Kept> {
  return await browser.attached(page, async (session) => {
    await browser.send("Performance.enable", {}, session);
    await browser.send("HeapProfiler.collectGarbage", {}, session);
    type Answer = { metrics: { name: string; value: number }[] };
    const { metrics } = await browser.send<Answer>("Performance.getMetrics", {}, session);
    const of = (wanted: string) => metrics.find(({ name }) => name === wanted)?.value ?? Number.NaN;
    return { heapMB: of("JSHeapUsedSize") / 1e6, nodes: of("Nodes"), listeners: of("JSEventListeners") };
  });
}

function shown({ heapMB, nodes, listeners }: Kept): string {
  return `${heapMB.toFixed(2)} MB, ${nodes} nodes, ${listeners} listeners`;
}

/** Whether the later half of the samples has more of something than the earlier one: single samples vary. */
function hasGrown(samples: readonly Kept[]): boolean {
  const half = Math.ceil(samples.length / 2);
  const [earlier, later] = [samples.slice(0, half), samples.slice(-half)];
  return (["heapMB", "nodes", "listeners"] as const).some((part) => {
    const median = (some: readonly Kept[]) => some.map((one) => one[part]).sort((a, b) => a - b)[some.length >> 1] ?? 0;
    return median(later) > median(earlier) * (1 + MAX_GROWTH);
  });
}

/** Hours of traffic within some minutes, in visible and in hidden tabs of the list and of the events. */
export async function memory(minutes: number, hours: number): Promise<boolean> {
  const hub = await Hub.start();
  const browser = await Chromium.launch();
  const rate = (hours * RUNS_PER_HOUR * EVENTS_PER_RUN) / (minutes * 60);
  const publisher = new Publisher(hub, { running: 60, rate, updates: 23, logs: 5 });
  const pages: { name: string; page: string; samples: Kept[] }[] = [];
  for (const [name, path] of Object.entries({ list: "", events: "events" })) {
    const url = new URL(path, hub.url).href;
    const hidden = await browser.open(url, true);
    const visible = await browser.open(url);
    pages.push({ name: `${name}, hidden`, page: hidden, samples: [] });
    pages.push({ name: `${name}, visible`, page: visible, samples: [] });
  }
  for (let minute = 1; minute <= minutes; minute += 1) {
    await pause(MINUTE_MS);
    for (const { name, page, samples } of pages) {
      const now = await kept(browser, page);
      console.log(`minute ${minute}, ${name}: ${shown(now)}`);
      if (minute >= FIRST_MINUTE) samples.push(now);
    }
  }
  const visibilities = await Promise.all(pages.map(({ page }) => browser.evaluate(page, "document.visibilityState")));
  const { events } = await publisher.stop();
  console.log(`${events} events; tabs: ${visibilities.join(", ")}`);
  await browser.close();
  await hub.stop();
  return pages.every(({ samples }) => samples.length > 1 && !hasGrown(samples));
}

const SWITCH = `(name) => {
  const links = [...document.querySelectorAll("nav[aria-label=Pages] a")];
  links.find((link) => link.textContent.includes(name)).click();
  return new Promise((resolve) => {
    const poll = () => document.querySelector("main").childElementCount > 0
      ? requestAnimationFrame(() => setTimeout(resolve)) : setTimeout(poll, 10);
    requestAnimationFrame(poll);
  });
}`;

/** The same after switching pages many times, with traffic. */
export async function pages(switches: number): Promise<boolean> {
  const hub = await Hub.start();
  const browser = await Chromium.launch();
  const publisher = new Publisher(hub, { running: 60, rate: 100, updates: 23, logs: 5 });
  const page = await browser.open(hub.url);
  await browser.until(page, "document.querySelector('main [role=progressbar]') !== null");
  const names = ["Names", "Events", "System", "Operations"];
  const part = Math.max(names.length, Math.floor(switches / 20 / names.length) * names.length);
  const samples: Kept[] = [];
  for (let number = 0; number < switches; number += part) {
    const round = names.map((name) => `await go(${JSON.stringify(name)});`).join(" ");
    const loop = `for (let round = 0; round < ${part / names.length}; round += 1) { ${round} }`;
    await browser.evaluate(page, `(async () => { const go = ${SWITCH}; ${loop} })()`);
    const now = await kept(browser, page);
    console.log(`after ${number + part} pages: ${shown(now)}`);
    if (number >= switches / 10) samples.push(now);
  }
  await publisher.stop();
  await browser.close();
  await hub.stop();
  return samples.length > 1 && !hasGrown(samples);
}
