/** How busy the main thread of a page is: its CPU time from the system, its tasks from a trace of Chromium. */
import { setTimeout as pause } from "node:timers/promises";
import { type Chromium, mainThreadSeconds } from "./chromium.ts";

/** A summary of a page's main thread over a time. */
export interface MainThread {
  /** CPU time over wall time, 0 to 1. Time in which other programs had the core does not count. */
  readonly busy: number;
  /** CPU times of the longest tasks in milliseconds, the longest first. */
  readonly longest: readonly number[];
  /** Number of tasks that took over 50 ms of CPU time. */
  readonly over50: number;
  /** Number of tasks that took over 50 ms from their start to their end, with the time that other programs had. */
  readonly wallOver50: number;
}

interface TraceEvent {
  readonly ph: string;
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  /** Wall time and CPU time in microseconds. */
  readonly dur?: number;
  readonly tdur?: number;
}

const TRACE = { includedCategories: ["toplevel"], recordMode: "recordUntilFull", traceBufferSizeInKb: 400_000 };

/** Measure the busiest page of a browser for a time in milliseconds. */
export async function measured(browser: Chromium, milliseconds: number): Promise<MainThread> {
  const trace = browser.collect<{ value: TraceEvent[] }>("Tracing.dataCollected");
  const complete = browser.next<{ dataLossOccurred: boolean }>("Tracing.tracingComplete");
  await browser.send("Tracing.start", { transferMode: "ReportEvents", traceConfig: TRACE });
  const before = new Map((await browser.renderers()).map((pid) => [pid, mainThreadSeconds(pid)]));
  const began = performance.now();
  await pause(milliseconds);
  const seconds = (performance.now() - began) / 1000;
  const times = [...before].map(([pid, time]) => ({ pid, busy: (mainThreadSeconds(pid) - time) / seconds }));
  await browser.send("Tracing.end");
  const { dataLossOccurred } = await complete;
  if (dataLossOccurred) throw new Error("the trace is not complete");

  const [busiest] = times.sort((one, other) => other.busy - one.busy);
  if (busiest === undefined) throw new Error("the browser has no page");
  const tasks = trace
    .stop()
    .flatMap(({ value }) => value)
    .filter(({ ph, name, pid, tid }) => ph === "X" && /RunTask$/.test(name) && pid === busiest.pid && tid === pid);
  if (tasks.length === 0) throw new Error("the trace has no tasks of the page");
  const longest = tasks.map(({ tdur = Number.NaN }) => tdur / 1000).sort((one, other) => other - one);
  return {
    busy: busiest.busy,
    longest: longest.slice(0, 5),
    over50: longest.filter((duration) => duration > 50).length,
    wallOver50: tasks.filter(({ dur = 0 }) => dur > 50_000).length,
  };
}

interface Profile {
  readonly nodes: readonly { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** The functions of a page in which most time went, as lines. */
export async function profiled(browser: Chromium, targetId: string, milliseconds: number): Promise<string> {
  const { profile } = await browser.attached(targetId, async (session) => {
    await browser.send("Profiler.enable", {}, session);
    await browser.send("Profiler.start", {}, session);
    await pause(milliseconds);
    return await browser.send<{ profile: Profile }>("Profiler.stop", {}, session);
  });
  const names = new Map(
    profile.nodes.map(({ id, callFrame: { functionName, lineNumber, url } }) => [
      id,
      `${functionName || "(anonymous)"}${url === "" ? "" : `:${lineNumber + 1}`}`,
    ]),
  );
  const times = new Map<string, number>();
  let total = 0;
  for (const [index, id] of profile.samples.entries()) {
    const [name, time] = [names.get(id) ?? "", profile.timeDeltas[index] ?? 0];
    times.set(name, (times.get(name) ?? 0) + time);
    total += time;
  }
  const sorted = [...times].sort(([, one], [, other]) => other - one).slice(0, 30);
  return sorted.map(([name, time]) => `${((100 * time) / total).toFixed(1).padStart(6)} %  ${name}`).join("\n");
}
