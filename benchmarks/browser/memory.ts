/** What a page keeps: its heap after collection, its nodes and its listeners, over hours of traffic and many pages. */
import type { CDPSession, Page } from "puppeteer-core";
import { Hub } from "../../tests/browser/processes.ts";
import { Tabs } from "../../tests/browser/tabs.ts";
import { Publisher } from "./publisher.ts";

const MAX_GROWTH = 0.1;
const MINUTE_MS = 60_000;

interface Kept {
  readonly heapMB: number;
  readonly nodes: number;
  readonly listeners: number;
}

async function kept(page: Page, session: CDPSession): Promise<Kept> {
  await session.send("HeapProfiler.collectGarbage");
  const { JSHeapUsedSize = 0, Nodes = 0, JSEventListeners = 0 } = await page.metrics();
  return { heapMB: JSHeapUsedSize / 1e6, nodes: Nodes, listeners: JSEventListeners };
}

function shown({ heapMB, nodes, listeners }: Kept): string {
  return `${heapMB.toFixed(2)} MB, ${nodes} nodes, ${listeners} listeners`;
}

function hasGrown(first: Kept, last: Kept): boolean {
  return (["heapMB", "nodes", "listeners"] as const).some((part) => last[part] > first[part] * (1 + MAX_GROWTH));
}

/** Eight hours of traffic (9,600 runs with 30 events each) within some minutes, in a visible and a hidden tab. */
export async function memory(minutes: number): Promise<boolean> {
  const hub = await Hub.start();
  const tabs = await Tabs.launch();
  const rate = (9_600 * 30) / (minutes * 60);
  const publisher = new Publisher(hub, { running: 60, rate, updates: 23, logs: 5 });
  const [hidden, visible] = [await tabs.open(hub.url), await tabs.open(hub.url)];
  const watched = await Promise.all(
    Object.entries({ hidden, visible }).map(async ([name, page]) => ({
      name,
      page,
      session: await page.createCDPSession(),
    })),
  );
  const atFive = new Map<string, Kept>();
  let isGood = true;
  for (let minute = 1; minute <= minutes; minute += 1) {
    await new Promise((resolve) => setTimeout(resolve, MINUTE_MS));
    for (const { name, page, session } of watched) {
      const now = await kept(page, session);
      console.log(`minute ${minute}, ${name}: ${shown(now)}`);
      if (minute === Math.min(5, minutes)) atFive.set(name, now);
      const first = atFive.get(name);
      if (minute === minutes && first !== undefined) isGood &&= !hasGrown(first, now);
    }
  }
  const { events } = await publisher.stop();
  console.log(`${events} events`);
  await tabs.close();
  await hub.stop();
  return isGood;
}

/** The same after switching pages many times, with traffic. */
export async function pages(switches: number): Promise<boolean> {
  const hub = await Hub.start();
  const tabs = await Tabs.launch();
  const publisher = new Publisher(hub, { running: 60, rate: 100, updates: 23, logs: 5 });
  const page = await tabs.open(hub.url);
  const session = await page.createCDPSession();
  const names = ["Names", "Events", "System", "Operations"];
  let first: Kept | undefined;
  let last: Kept | undefined;
  for (let number = 0; number <= switches; number += 1) {
    if (number % Math.max(1, Math.floor(switches / 10)) === 0) {
      last = await kept(page, session);
      if (number >= switches / 10) first ??= last;
      console.log(`after ${number} pages: ${shown(last)}`);
    }
    await page.evaluate(
      (name) => {
        const links = [...document.querySelectorAll<HTMLAnchorElement>("nav[aria-label=Pages] a")];
        links.find((link) => link.textContent?.includes(name))?.click();
      },
      names[number % names.length] ?? "",
    );
    await page.waitForFunction(() => document.querySelector("main")?.childElementCount !== 0);
  }
  await publisher.stop();
  await tabs.close();
  await hub.stop();
  return first !== undefined && last !== undefined && !hasGrown(first, last);
}
