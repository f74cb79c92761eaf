/** What pages must survive: floods of large events, very many tabs, a tab that is frozen, and the back-forward cache. */
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { Folder, Hub } from "../../tests/browser/processes.ts";
import { Chromium } from "./chromium.ts";
import { residentMiB } from "./hub_costs.ts";
import { type Load, Publisher } from "./publisher.ts";

const MAX_HEAP_MIB = 200;
const MAX_HUB_MIB = 400;
const TABS = 200;
const IS_LIVE = "document.querySelector('header')?.textContent.includes('Live')";
const HAS_BAR = "document.querySelector('main [role=progressbar]') !== null";

interface Stage {
  readonly hub: Hub;
  readonly browser: Chromium;
}

async function withLoad(load: Load, attack: (stage: Stage) => Promise<string>): Promise<boolean> {
  // A log in memory would be a gigabyte of the hub's memory.
  const folder = new Folder();
  const hub = await Hub.start({ data: folder.path });
  const publisher = new Publisher(hub, load);
  const browser = await Chromium.launch();
  const began = performance.now();
  const accepted = async () => await hub.metric("tidings_events_accepted_total");
  try {
    const before = await accepted();
    const found = await attack({ hub, browser });
    const rate = (1000 * ((await accepted()) - before)) / (performance.now() - began);
    const hubMiB = residentMiB(hub.pid);
    console.log(`${found}; ${Math.round(rate)} events/s, hub ${hubMiB.toFixed(0)} MiB`);
    return hubMiB < MAX_HUB_MIB;
  } catch (error) {
    console.log(`FAILED: ${String(error)}`);
    return false;
  } finally {
    await browser.close();
    await publisher.stop();
    await hub.stop();
    folder.remove();
  }
}

async function heapMiB(browser: Chromium, page: string): Promise<number> {
  const used = await browser.attached(page, async (session) => {
    await browser.send("HeapProfiler.collectGarbage", {}, session);
    return await browser.send<{ usedSize: number }>("Runtime.getHeapUsage", {}, session);
  });
  const mebibytes = used.usedSize / 2 ** 20;
  if (mebibytes > MAX_HEAP_MIB) throw new Error(`the heap of the page has ${mebibytes.toFixed(0)} MiB`);
  return mebibytes;
}

/** Large payloads at a high rate, on the page that shows all events. */
async function flood({ hub, browser }: Stage, seconds: number): Promise<string> {
  const page = await browser.open(new URL("events", hub.url).href);
  await browser.until(page, IS_LIVE);
  await pause(seconds * 1000);
  const heap = await heapMiB(browser, page);
  await browser.until(page, "document.querySelectorAll('main [role=row]').length > 5");
  return `events of 64 KB: heap ${heap.toFixed(0)} MiB`;
}

async function manyTabs({ hub, browser }: Stage): Promise<string> {
  const pages: string[] = [];
  while (pages.length < TABS) {
    const page = await browser.open(hub.url);
    await browser.until(page, HAS_BAR);
    pages.push(page);
  }
  await browser.activate(pages[0] ?? "");
  await browser.until(pages[0] ?? "", `document.visibilityState === "visible" && ${IS_LIVE}`);
  const processes = (await browser.renderers()).map((pid) => proportionalMiB(pid));
  const total = processes.reduce((sum, one) => sum + one, 0);
  return `${TABS} tabs: ${processes.length} processes, ${total.toFixed(0)} MiB`;
}

function proportionalMiB(pid: number): number {
  return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1] ?? Number.NaN) / 1024;
}

/** A tab that is frozen for a while, as Chromium does to save power, and then looked at again. */
async function frozen({ hub, browser }: Stage, seconds: number): Promise<string> {
  const page = await browser.open(hub.url);
  await browser.until(page, HAS_BAR);
  const other = await browser.open("about:blank");
  await browser.freeze(page);
  await pause(seconds * 1000);
  await browser.activate(page);
  const began = performance.now();
  await browser.until(page, `document.visibilityState === "visible" && ${IS_LIVE} && ${HAS_BAR}`);
  const took = performance.now() - began;
  await browser.send("Target.closeTarget", { targetId: other });
  const heap = await heapMiB(browser, page);
  return `frozen for ${seconds} s: live after ${took.toFixed(0)} ms, heap ${heap.toFixed(0)} MiB`;
}

/** A page that is left for another one, and comes back. */
async function backAndForward({ hub, browser }: Stage): Promise<string> {
  const page = await browser.open(hub.url);
  await browser.until(page, HAS_BAR);
  await browser.evaluate(page, "addEventListener('pageshow', ({ persisted }) => { window.isRestored = persisted; })");
  for (let turn = 0; turn < 5; turn += 1) {
    await browser.evaluate(page, "void location.assign('v1/whoami')");
    await browser.until(page, "document.querySelector('main') === null");
    await pause(2_000);
    await browser.evaluate(page, "void history.back()");
    await browser.until(page, `${IS_LIVE} && ${HAS_BAR}`);
  }
  const restored = await browser.evaluate<boolean>(page, "window.isRestored === true");
  return `back from another page five times, ${restored ? "from" : "without"} the cache`;
}

const traffic = { running: 100, rate: 500 };

/** Flood the page of events with events of 64 KB. */
export async function payloads(seconds: number): Promise<boolean> {
  return await withLoad({ ...traffic, rate: 1_000, padding: 64_000 }, (stage) => flood(stage, seconds));
}

/** Run all attacks, each against a hub and a browser of its own. */
export async function attacks(seconds: number): Promise<boolean> {
  const done = [
    await payloads(seconds),
    await withLoad(traffic, (stage) => frozen(stage, 3 * seconds)),
    await withLoad(traffic, backAndForward),
    await withLoad({ ...traffic, rate: 50 }, manyTabs),
  ];
  return done.every(Boolean);
}
