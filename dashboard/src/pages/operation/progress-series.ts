/** The curves of a progress chart: percent over the seconds since an attempt began. */

import { formatPreciseSpan } from "../../format/span.ts";
import { toMillis } from "../../format/time.ts";
import { attemptsOf, type BandPoint, type OperationDetail } from "./detail.ts";

/** A place on a curve. */
export interface ProgressPoint {
  readonly seconds: number;
  readonly percent: number;
}

/** Progress that was seen: of which attempt, when (milliseconds since 1970 by the hub's clock), and how much. */
export interface Observation {
  readonly attempt: number;
  readonly at: number;
  readonly percent: number;
}

/** Points of one attempt that a page keeps; beyond them every second one goes. */
const MAX_POINTS = 600;
/** Seconds between two points: what comes sooner replaces the one before. */
const MIN_STEP_S = 1;

/** What a page saw of an operation's progress, in bounded memory. */
export class ProgressHistory {
  readonly #attempts = new Map<number, Observation[]>();
  #version = 0;

  /** Changes with every change. */
  get version(): number {
    return this.#version;
  }

  add(seen: Observation): void {
    if (!Number.isFinite(seen.at) || !(seen.percent >= 0 && seen.percent <= 100)) return;
    let points = this.#attempts.get(seen.attempt);
    if (points === undefined) {
      points = [];
      this.#attempts.set(seen.attempt, points);
    }
    // What the hub still has is read after the present was seen, and belongs before it.
    const place = points.findLastIndex(({ at }) => at <= seen.at) + 1;
    const [before, after] = [points[place - 1], points[place]];
    if (seen.percent < (before?.percent ?? 0) || seen.percent > (after?.percent ?? 100)) return;
    const isClose = before !== undefined && place > 1 && seen.at - before.at < MIN_STEP_S * 1_000;
    points.splice(isClose ? place - 1 : place, isClose ? 1 : 0, seen);
    if (points.length > MAX_POINTS) {
      const isKept = (_: Observation, index: number) => index % 2 === 0 || index === MAX_POINTS;
      this.#attempts.set(seen.attempt, points.filter(isKept));
    }
    this.#version++;
  }

  of(attempt: number): readonly Observation[] {
    return this.#attempts.get(attempt) ?? [];
  }
}

/** The curve of an attempt: what is known of its steps, and what was seen. Empty without progress. */
export function curveOf(
  detail: OperationDetail,
  attempt: number,
  history: ProgressHistory,
  now: number,
): readonly ProgressPoint[] {
  const known = attemptsOf(detail).find((each) => each.attempt === attempt);
  const isCurrent = attempt === detail.attempt;
  const begin = toMillis((isCurrent ? detail.started_at : undefined) ?? known?.started_at);
  if (begin === undefined) return [];
  const points: { seconds: number; percent: number }[] = [];
  const add = (at: number | undefined, percent: number | undefined) => {
    if (at !== undefined && percent !== undefined) points.push({ seconds: Math.max(0, (at - begin) / 1_000), percent });
  };
  for (const seen of history.of(attempt)) add(seen.at, seen.percent);
  if (isCurrent) {
    for (const step of detail.steps) add(toMillis(step.ended_at), step.ended_progress);
    const reached = detail.indeterminate === true || detail.progress_of === "children" ? undefined : detail.progress;
    add(toMillis(detail.advanced_at), reached);
    const isLive = detail.state === "running" || detail.state === "queued";
    add(isLive ? now : toMillis(detail.ended_at), reached);
  }
  if (points.length === 0) return [];
  points.push({ seconds: 0, percent: 0 });
  points.sort((one, other) => one.seconds - other.seconds || one.percent - other.percent);
  // Progress never falls within an attempt; times of two clocks may cross by a little.
  let most = 0;
  return points.map(({ seconds, percent }) => {
    most = Math.max(most, percent);
    return { seconds, percent: most };
  });
}

/** The columns of a chart, all over the same seconds. */
export interface ChartData {
  readonly seconds: readonly number[];
  /** Progress of four of five good runs lies between these two. Empty without a band. */
  readonly fast: readonly number[];
  readonly slow: readonly number[];
  readonly likely: readonly (number | null)[];
  /** Earlier attempts, oldest first; null beyond their ends. */
  readonly earlier: readonly (readonly (number | null)[])[];
  readonly current: readonly (number | null)[];
}

/** Earlier attempts that are drawn. */
const MAX_EARLIER = 5;

/** What a chart draws; undefined while nothing is known. */
export function chartData(detail: OperationDetail, history: ProgressHistory, now: number): ChartData | undefined {
  const current = curveOf(detail, detail.attempt, history, now);
  const band = detail.usual?.band ?? [];
  const earlier = attemptsOf(detail)
    .filter(({ attempt }) => attempt < detail.attempt)
    .slice(-MAX_EARLIER)
    .map(({ attempt }) => curveOf(detail, attempt, history, now))
    .filter((curve) => curve.length > 2);
  if (current.length === 0 && earlier.length === 0) return undefined;
  const bands = bandCurves(band);
  const places = new Set<number>([0]);
  for (const curve of [current, ...earlier, ...Object.values(bands)]) {
    for (const { seconds } of curve) places.add(seconds);
  }
  const seconds = [...places].sort((one, other) => one - other);
  const through = (curve: readonly ProgressPoint[]) => seconds.map((at) => valueAt(curve, at));
  const upToEnd = (curve: readonly ProgressPoint[]) => {
    const end = curve.at(-1)?.seconds ?? -1;
    return seconds.map((at) => (at > end ? null : valueAt(curve, at)));
  };
  const hasBand = band.length > 0;
  return {
    seconds,
    fast: hasBand ? through(bands.fast) : [],
    slow: hasBand ? through(bands.slow) : [],
    likely: hasBand ? upToEnd(bands.likely) : [],
    earlier: earlier.map(upToEnd),
    current: upToEnd(current),
  };
}

function bandCurves(band: readonly BandPoint[]) {
  const origin: ProgressPoint = { seconds: 0, percent: 0 };
  const curve = (time: (point: BandPoint) => number) => [
    origin,
    ...band.map((point) => ({ seconds: time(point), percent: point.progress })),
  ];
  if (band.length === 0) return { fast: [], slow: [], likely: [] };
  return {
    fast: curve((point) => point.low_s),
    slow: curve((point) => point.high_s),
    likely: curve((point) => point.likely_s),
  };
}

/** The value of a curve at a place: between its points on a straight line, beyond its end as at its end. */
export function valueAt(curve: readonly ProgressPoint[], seconds: number): number {
  let low = 0;
  let high = curve.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((curve[middle]?.seconds ?? 0) <= seconds) low = middle + 1;
    else high = middle;
  }
  const before = curve[low - 1];
  const after = curve[low];
  if (before === undefined) return after === undefined ? 0 : Math.min(after.percent, 0);
  if (after === undefined || after.seconds === before.seconds) return before.percent;
  const share = (seconds - before.seconds) / (after.seconds - before.seconds);
  return before.percent + share * (after.percent - before.percent);
}

/** A mark of the time axis. Marks of half a minute or half an hour must not look like their neighbours. */
export function axisMark(seconds: number): string {
  if (seconds === 0) return "0";
  return seconds < 60 ? `${seconds} s` : formatPreciseSpan(seconds);
}

/** Which runs the band shows: four of five, as soon as there are five. */
export function bandWords({ usual }: Pick<OperationDetail, "usual">): string {
  const good = usual === undefined ? 0 : usual.runs - usual.failed;
  if (good >= 5) return "4 of 5 good runs";
  return good > 1 ? "good runs before" : "the good run before";
}
