/** What the last runs of a name say together: "slower by a third", "failed twice in a row". Pure. */

import { medianOf, type Run } from "./strip.ts";

/** A trend in words, and how grave it is. */
export interface Trend {
  readonly text: string;
  /** `slower` is what the filter "Slower than usual" finds. */
  readonly kind: "none" | "steady" | "slower" | "faster" | "varies" | "failing" | "stalled" | "away";
}

const NONE: Trend = { text: "", kind: "none" };
/** Completed runs below which nothing is said. */
const MIN_COMPLETE = 5;
/** Newest runs that are compared with those before. */
const RECENT = 3;
/** Runs in which each has to be slower than the one before, to say "with every run". */
const MIN_CLIMB = 6;
/** Differences that are still called steady. */
const STEADY = 0.18;
/** One in four runs is this many times as long as one in four others. */
const VARIES = 1.6;

/**
 * Describe the trend of a name.
 *
 * @param runs - The runs, the newest last, live ones included.
 */
export function describeTrend(runs: readonly Run[]): Trend {
  const newest = runs.at(-1);
  if (newest === undefined) return NONE;
  if (newest.state === "away") return { text: "producer away", kind: "away" };
  if (newest.state === "stalled") return { text: "running, stalled", kind: "stalled" };
  const failures = failuresInARow(runs);
  if (failures >= 2) return { text: `failed ${times(failures)} in a row`, kind: "failing" };
  const durations = runs.filter((run) => run.state === "complete").map((run) => run.duration_s);
  return describeDurations(durations.filter((seconds) => seconds !== undefined && seconds > 0) as number[]);
}

function describeDurations(durations: readonly number[]): Trend {
  if (durations.length < MIN_COMPLETE) return NONE;
  const earlier = medianOf(durations.slice(0, -RECENT)) ?? 0;
  const recent = medianOf(durations.slice(-RECENT)) ?? 0;
  const change = recent / earlier - 1;
  if (climbs(durations)) return { text: "slower with every run", kind: "slower" };
  if (spreadOf(durations.slice(0, -RECENT)) > VARIES) return { text: "varies a lot", kind: "varies" };
  if (change > STEADY) return { text: describeSlower(change), kind: "slower" };
  const saved = 1 - recent / earlier;
  if (saved > STEADY) return { text: `faster by ${fraction(saved)}`, kind: "faster" };
  return { text: "steady", kind: "steady" };
}

function failuresInARow(runs: readonly Run[]): number {
  let count = 0;
  for (let index = runs.length - 1; index >= 0; index--) {
    const state = runs[index]?.state;
    if (state === "failed") count++;
    else if (state === "complete" || state === "cancelled") break;
  }
  return count;
}

/** Whether the newest runs each took longer than the one before, and clearly longer in all. */
function climbs(durations: readonly number[]): boolean {
  const newest = durations.slice(-MIN_CLIMB);
  if (newest.length < MIN_CLIMB) return false;
  const first = newest[0] ?? 0;
  const last = newest.at(-1) ?? 0;
  return (
    last > first * (1 + STEADY) && newest.every((seconds, index) => index === 0 || seconds > (newest[index - 1] ?? 0))
  );
}

/** Return how many times as long the upper quartile is as the lower one. */
function spreadOf(durations: readonly number[]): number {
  const sorted = [...durations].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))] ?? 0;
  const low = at(0.25);
  return sorted.length < MIN_COMPLETE || low <= 0 ? 1 : at(0.75) / low;
}

function describeSlower(change: number): string {
  if (change < 0.88) return `slower by ${fraction(change)}`;
  const factor = Math.round(change + 1);
  return factor === 2 ? "takes twice as long" : `takes ${factor} times as long`;
}

const FRACTIONS: readonly (readonly [number, string])[] = [
  [1 / 5, "a fifth"],
  [1 / 4, "a quarter"],
  [1 / 3, "a third"],
  [1 / 2, "half"],
  [2 / 3, "two thirds"],
  [3 / 4, "three quarters"],
];

/** Return the nearest simple fraction in words. */
function fraction(share: number): string {
  let best = FRACTIONS[0];
  for (const each of FRACTIONS)
    if (best === undefined || Math.abs(each[0] - share) < Math.abs(best[0] - share)) best = each;
  return best?.[1] ?? "";
}

function times(count: number): string {
  return count === 2 ? "twice" : `${count} times`;
}
