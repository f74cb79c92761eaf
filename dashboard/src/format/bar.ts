/** The geometry of a bar, in percent of its width, from what an operation says. */

import { type Look, lookOf, percentOf } from "./operation.ts";
import type { Row } from "./row.ts";

/** How a bar is drawn: the look of its operation, or `open` where the remaining work is unknown. */
export type BarKind = Look | "open";

/** Places on a bar, in percent of its width. */
export interface BarShape {
  readonly kind: BarKind;
  /** End of what is done; undefined draws no fill. */
  readonly fill: number | undefined;
  /** Begin of the tail, which reaches to 100: the earliest end of the operation. */
  readonly tail: number | undefined;
  /** The likeliest end, in the tail. */
  readonly likely: number | undefined;
  /** Ends of steps: past ones where they were, planned ones where they are expected. */
  readonly ticks: readonly number[];
}

/** Ticks beyond which none are drawn. */
const MAX_TICKS = 12;

/** The shape of an operation's bar. */
export function barOf(operation: Row): BarShape {
  const look = lookOf(operation);
  const percent = operation.indeterminate === true ? undefined : operation.progress;
  if (look === "complete") return { kind: look, fill: 100, tail: undefined, likely: undefined, ticks: [] };
  if (look === "queued") return { kind: look, fill: undefined, tail: undefined, likely: undefined, ticks: [] };
  if (percent === undefined) {
    const isOpen = look === "running" || look === "stalled" || look === "away";
    const fill = isOpen ? 100 : undefined;
    return { kind: look === "running" ? "open" : look, fill, tail: undefined, likely: undefined, ticks: [] };
  }
  const fill = Math.min(100, Math.max(0, percent));
  const [tail, likely] = look === "running" ? tailOf(operation, fill) : [undefined, undefined];
  const ticks = look === "away" || look === "stalled" ? [] : ticksOf(operation, fill);
  return { kind: look, fill, tail, likely, ticks };
}

/** The stretch behind the fill stands for the time up to the latest end. */
function tailOf(operation: Row, fill: number): readonly [number | undefined, number | undefined] {
  const estimate = operation.estimate;
  const high = estimate?.remaining_high_s;
  if (estimate === undefined || estimate.stalled || high === undefined || !(high > 0)) return [undefined, undefined];
  const place = (seconds: number) => fill + (100 - fill) * Math.min(1, Math.max(0, seconds / high));
  const low = estimate.remaining_low_s;
  const middle = estimate.remaining_s;
  return [low === undefined ? undefined : place(low), middle === undefined ? undefined : place(middle)];
}

/** Ends of steps where they were, and those to come evenly spread; a planned one that the fill has passed is hidden. */
function ticksOf(row: Row, fill: number): readonly number[] {
  const ended = row.step_ends ?? [];
  const steps = row.total_steps ?? 0;
  const planned = Array.from({ length: Math.max(0, steps - 1) }, (_, index) => ((index + 1) * 100) / steps);
  const coming = planned.slice(ended.length).filter((place) => place > fill);
  const ticks = [...ended.filter((place) => place > 0 && place < 100), ...coming];
  return Math.max(ticks.length, steps - 1) > MAX_TICKS ? [] : ticks;
}

/** A place as an SVG attribute, rounded to what a screen can show. */
export function percentAttribute(place: number): string {
  return `${Math.round(place * 10) / 10}%`;
}

/** What a screen reader says for a bar: `62%, parse, 4 to 6 min left`. */
export function barText(operation: Row, message: string, remaining: string): string {
  const percent = percentOf(operation);
  return [percent === undefined ? "" : `${percent}%`, message, remaining].filter(Boolean).join(", ");
}
