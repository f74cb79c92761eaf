/** How busy the main thread of a page is, from a trace of Chromium. */
import type { Browser, Page } from "@playwright/test";

/** A summary of a page's main thread over a time. */
export interface MainThread {
  /** Share of the time in which a task ran, 0 to 1. */
  readonly busy: number;
  /** The longest tasks in milliseconds, the longest first. */
  readonly longest: readonly number[];
  /** Number of tasks over 50 ms. */
  readonly over50: number;
}

interface TraceEvent {
  readonly ph: string;
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur?: number;
  readonly args?: { readonly name?: string };
}

const CATEGORIES = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"];

/** Trace a page for a time in milliseconds. */
export async function traced(browser: Browser, page: Page, milliseconds: number): Promise<MainThread> {
  await browser.startTracing(page, { categories: CATEGORIES });
  await page.waitForTimeout(milliseconds);
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString()) as { traceEvents: TraceEvent[] };
  const mains = new Set(
    traceEvents
      .filter(({ name, args }) => name === "thread_name" && args?.name === "CrRendererMain")
      .map(({ pid, tid }) => `${pid} ${tid}`),
  );
  const threads = new Map<string, TraceEvent[]>();
  for (const event of traceEvents) {
    const thread = `${event.pid} ${event.tid}`;
    if (event.ph !== "X" || event.dur === undefined || !mains.has(thread) || !/RunTask$/.test(event.name)) continue;
    const tasks = threads.get(thread) ?? [];
    tasks.push(event);
    threads.set(thread, tasks);
  }
  // The page is the renderer that works most.
  const summaries = [...threads.values()].map((tasks) => summary(tasks));
  const [busiest] = summaries.sort((one, other) => other.busy - one.busy);
  if (busiest === undefined) throw new Error("the trace has no tasks of a page");
  return busiest;
}

function summary(tasks: readonly TraceEvent[]): MainThread {
  const sorted = tasks.toSorted((one, other) => one.ts - other.ts);
  let [until, busy] = [0, 0];
  for (const { ts, dur = 0 } of sorted) {
    busy += Math.max(0, ts + dur - Math.max(ts, until)); // nested tasks count once
    until = Math.max(until, ts + dur);
  }
  const first = sorted[0]?.ts ?? 0;
  const durations = tasks.map(({ dur = 0 }) => dur / 1000).sort((one, other) => other - one);
  return {
    busy: busy / Math.max(1, until - first),
    longest: durations.slice(0, 5),
    over50: durations.filter((duration) => duration > 50).length,
  };
}
